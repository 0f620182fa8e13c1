"""Encoding a batch where some rows may be refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from streamd.api import Batch, Codec, ConfigError, Reject, Rejected, StageContext


class Encoded(NamedTuple):
    """What could be encoded of a batch.

    `batch` are the rows that could be, `rows` their numbers in the whole batch, `records` their
    bytes; `rejects` says of the others, by their number in the whole batch, why not.
    """

    batch: Batch
    rows: Sequence[int]
    records: list[bytes]
    rejects: dict[int, Reject]

    def raise_rejects(self) -> None:
        """To be called when all the records are stored. Raises Rejected."""
        if self.rejects:
            raise Rejected(self.rejects)


def codec_of(context: StageContext, *, lines: bool = False) -> Codec:
    """The stage's codec. `lines`: its records are to be lines of text.

    Raises ConfigError if there is none, or its records are no lines.
    """
    codec = context.codec
    if codec is None:
        raise ConfigError("the sink needs a codec", path="codec")
    if lines and "json" not in codec.content_type and not codec.content_type.startswith("text/"):
        raise ConfigError(f"records of {codec.content_type} cannot be lines of text", path="codec")
    return codec


def encode(codec: Codec, batch: Batch) -> Encoded:
    """Every record that can be had of the batch."""
    try:
        return Encoded(batch, range(len(batch)), codec.encode(batch.values), {})
    except Rejected as error:
        rows = [row for row in range(len(batch)) if row not in error.rows]
        good = batch.take(rows)
        return Encoded(good, rows, codec.encode(good.values), error.rows)


def encode_lines(codec: Codec, batch: Batch) -> Encoded:
    """The same, of records that are to become lines: one with a line break in it is refused."""
    encoded = encode(codec, batch)
    if b"\n" not in b"".join(encoded.records):
        return encoded
    whole = [i for i, record in enumerate(encoded.records) if b"\n" not in record]
    reject = Reject("line_break", "the record holds a line break and would become several lines")
    broken = set(encoded.rows) - {encoded.rows[i] for i in whole}
    return Encoded(
        encoded.batch.take(whole),
        [encoded.rows[i] for i in whole],
        [encoded.records[i] for i in whole],
        {**encoded.rejects, **dict.fromkeys(sorted(broken), reject)},
    )
