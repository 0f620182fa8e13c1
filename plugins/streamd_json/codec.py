"""The json codec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec

from streamd.api import Reject, StageConfig, StageContext, doc
from streamd_json import fidelity, records
from streamd_json.encoding import encode_all

TypedDecoder = Callable[[Sequence[bytes | None]], tuple[list[Any], set[int]]]


class JsonCodec:
    """JSON events, one per record."""

    content_type = "application/json"
    extension = ".json"

    class Config(StageConfig, frozen=True):
        duplicate_keys: Annotated[
            Literal["reject", "last"],
            doc(
                "What to do with an object that has a key twice: `reject` the record, or keep "
                "the `last` value and lose the others."
            ),
        ] = "reject"

    def __init__(self, config: Config, context: StageContext) -> None:  # noqa: ARG002
        self._unique = config.duplicate_keys == "reject"
        self._decode = msgspec.json.Decoder().decode

    def decode(self, raws: Sequence[bytes | None]) -> tuple[list[Any], dict[int, Reject]]:
        return _decode(self._decode, raws, whole=self._unique)

    def encode(self, values: Sequence[Any]) -> list[bytes]:
        return encode_all(values)

    def typed_decoder(self, target: Any) -> TypedDecoder:
        """A function that decodes records straight into `target`, a msgspec type.

        It returns one value per record, and the rows that it gives up on: those that are not
        valid JSON, that do not fit the type, or that the type does not hold in full (fields that
        it does not know, a null that it would omit, a key that comes twice). `decode` has the
        last word on them. The type must omit its defaults when it is encoded.
        """
        decode = msgspec.json.Decoder(target).decode

        def decode_typed(raws: Sequence[bytes | None]) -> tuple[list[Any], set[int]]:
            values, rejects = _decode(decode, raws, whole=True)
            return values, set(rejects)

        return decode_typed


def _decode(
    decode: Callable[[Any], Any], raws: Sequence[bytes | None], *, whole: bool
) -> tuple[list[Any], dict[int, Reject]]:
    """One value per record, and why records are refused; `whole` refuses what values lack."""
    values, errors = records.decode_each(decode, raws)
    rejects = {row: records.reject_record(raws[row], error) for row, error in errors.items()}
    rows: Sequence[int] = range(len(raws))
    texts: list[Any] = list(raws)
    decoded = list(values)
    if errors:
        rows = [row for row in rows if row not in errors]
        texts = [raws[row] for row in rows]
        decoded = [values[row] for row in rows]
    for at in fidelity.large(texts):
        if fidelity.nested_too_deep(texts[at], decoded[at]):
            rejects[rows[at]] = records.too_deep()
            texts[at], decoded[at] = b"null", None  # encoding it might run out of stack
        elif fidelity.has_long_number(texts[at]):
            rejects[rows[at]] = records.too_many_digits()
    if whole:
        for at in fidelity.incomplete(texts, decoded):
            rejects.setdefault(rows[at], records.duplicate_keys())
    for row in rejects:
        values[row] = None
    return values, rejects
