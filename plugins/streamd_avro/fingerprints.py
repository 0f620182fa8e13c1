"""What identifies a schema whatever its spelling: its canonical form and the hash of that."""

from __future__ import annotations

from typing import Any


def canonical_form(schema: Any) -> str:
    """The Parsing Canonical Form of a schema that `parse` has accepted."""
    # Here, and not at the top, as it costs every start of the daemon 40 ms.
    from fastavro.schema import parse_schema, to_parsing_canonical_form

    return to_parsing_canonical_form(parse_schema(schema))


def fingerprint(schema: Any) -> bytes:
    """CRC-64-AVRO as it stands in a single-object encoded record: 8 bytes, little-endian."""
    from fastavro.schema import fingerprint as fingerprint_of

    return bytes.fromhex(fingerprint_of(canonical_form(schema), "CRC-64-AVRO"))
