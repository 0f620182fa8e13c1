"""Encoding a batch where some rows may be refused."""

from __future__ import annotations

from typing import NamedTuple

from streamd.api import Batch, Codec, ConfigError, Reject, Rejected, StageContext


class Encoded(NamedTuple):
    """Records of the rows that could be encoded: what is left of the batch, a record for each
    of its rows, and why the others (by their number in the whole batch) were refused."""

    batch: Batch
    records: list[bytes]
    rejects: dict[int, Reject]

    def raise_rejects(self) -> None:
        """To be called when all the records are stored. Raises Rejected."""
        if self.rejects:
            raise Rejected(self.rejects)


def codec_of(context: StageContext) -> Codec:
    """Raises ConfigError if the stage has none."""
    if context.codec is None:
        raise ConfigError("the sink needs a codec", path="codec")
    return context.codec


def encode(codec: Codec, batch: Batch) -> Encoded:
    """Every record that can be had of the batch."""
    try:
        return Encoded(batch, codec.encode(batch.values), {})
    except Rejected as error:
        good = batch.without(error.rows)
        return Encoded(good, codec.encode(good.values), error.rows)


def encode_lines(codec: Codec, batch: Batch) -> Encoded:
    """The same, of records that are to become lines: one with a line break in it is refused."""
    encoded = encode(codec, batch)
    if b"\n" not in b"".join(encoded.records):
        return encoded
    at = [row for row in range(len(batch)) if row not in encoded.rejects]
    broken = [i for i, record in enumerate(encoded.records) if b"\n" in record]
    reject = Reject("line_break", "the record holds a line break and would become several lines")
    return Encoded(
        encoded.batch.without(broken),
        [record for record in encoded.records if b"\n" not in record],
        {**encoded.rejects, **{at[i]: reject for i in broken}},
    )
