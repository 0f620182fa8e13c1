"""Events to bytes and back, by name and version of a schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamd_avro.decoding import compile_decoder
from streamd_avro.encoding import compile_encoder
from streamd_avro.registry import SchemaRegistry, Version


class AvroSerializer:
    """Strict in both directions: nothing is cut, rounded, left out or made up.

    What is compiled for a schema is kept: a version never changes.
    """

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._encoders: dict[tuple[str, Version], Callable[[Any], bytes]] = {}
        self._decoders: dict[tuple[str, Version, Version], Callable[[bytes, int], Any]] = {}

    def serialize(self, event: Any, name: str, version: Version) -> bytes:
        """The bare Avro encoding of an event (a dict or a Struct).

        Raises NotEncodable (a ValueError) with the path of what the schema does not take,
        NotRegisteredError if there is no such schema.
        """
        key = (name, version)
        encode = self._encoders.get(key)
        if encode is None:
            encode = compile_encoder(self._registry.parsed(name, version))
            self._encoders[key] = encode
        return encode(event)

    def deserialize(
        self,
        data: bytes,
        name: str,
        writer_version: Version,
        reader_version: Version | None = None,
    ) -> Any:
        """The event that `serialize` was given, as seen by `reader_version` if that is given.

        Every field of the schema is there: one that the event did not have has its default.

        Raises Malformed or Unresolvable (ValueErrors), or NotRegisteredError.
        """
        seen_as = writer_version if reader_version is None else reader_version
        key = (name, writer_version, seen_as)
        decode = self._decoders.get(key)
        if decode is None:
            writer, reader = (self._registry.parsed(name, one) for one in key[1:])
            decode = compile_decoder(writer, reader)
            self._decoders[key] = decode
        return decode(data, 0)
