"""The `event` validator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal, Protocol, Self, runtime_checkable

from streamd.api import Batch, Codec, Reject, Rejects, Size, StageContext, Step, doc
from streamd_events.checks import DEFAULT_MAX_DATA
from streamd_events.rules import EventRules
from streamd_events.verdicts import ModeConfig, Verdicts

TypedDecode = Callable[[Sequence[bytes | None]], tuple[list[Any], set[int]]]


@runtime_checkable
class TypedCodec(Protocol):
    """A codec that can decode straight into a msgspec type."""

    def typed_decoder(self, target: Any) -> TypedDecode:
        """A function that returns one value per record, and the rows that it gives up on.

        It gives up on every record that `target` does not hold in full.
        """
        ...


class EventValidator:
    """Check events: an envelope of id, timestamp and payload, and the payload's fields."""

    class Config(ModeConfig, frozen=True, kw_only=True):
        ipv6: Annotated[bool, doc("Take IPv6 addresses in `ip_address` too.")] = False
        max_data: Annotated[Size, doc("Largest `data`, as compact JSON in UTF-8.")] = (
            DEFAULT_MAX_DATA
        )
        unknown_fields: Annotated[
            Literal["keep", "reject"],
            doc("Fields that the event does not know: `keep` them as they are, or `reject` it."),
        ] = "keep"

    def __init__(self, config: Config, context: StageContext) -> None:
        self._verdicts = Verdicts(config, context)
        self._rules = EventRules(
            ipv6=config.ipv6, max_data=config.max_data, closed=config.unknown_fields == "reject"
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        """Events stay as they are."""
        if not self._verdicts.active:
            return [batch]
        return self._verdicts.apply(batch, self._rules.judge(batch.values))

    def typed(self, codec: Codec) -> Step | None:
        """With a codec that can: decoding and checking in one pass.

        Events come out as `Event` where that type holds them in full, else as dicts.
        """
        if not self._verdicts.active or not isinstance(codec, TypedCodec):
            return None
        decode = codec.typed_decoder(self._rules.type)
        return _DecodeAndCheck(self, self._rules, self._verdicts, codec, decode)


class _DecodeAndCheck:
    def __init__(
        self,
        validator: EventValidator,
        rules: EventRules,
        verdicts: Verdicts,
        codec: Codec,
        decode: TypedDecode,
    ) -> None:
        self._validator = validator
        self._rules = rules
        self._verdicts = verdicts
        self._codec = codec
        self._decode = decode

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        if batch.decoded or batch.raws is None:
            return self._validator.process(batch)
        values, others = self._decode(batch.raws)
        if not others:
            failures = self._rules.judge_typed(range(len(values)), values)
            return self._verdicts.apply(batch.replace(values), failures)
        rows = [row for row in range(len(values)) if row not in others]
        failures = self._rules.judge_typed(rows, [values[row] for row in rows])
        undecodable = self._decode_others(batch.raws, sorted(others), values, failures)
        return self._verdicts.apply(batch.replace(values), failures, undecodable)

    def _decode_others(
        self,
        raws: Sequence[bytes | None],
        rows: Sequence[int],
        values: list[Any],
        failures: dict[int, Reject],
    ) -> dict[int, Reject]:
        """Decode and judge the rows that the type does not hold; returns the undecodable ones."""
        decoded, rejects = self._codec.decode([raws[row] for row in rows])
        undecodable = {rows[at]: reject for at, reject in rejects.items()}
        present = [at for at in range(len(rows)) if at not in rejects]
        for at, value in enumerate(decoded):
            values[rows[at]] = value
        judged = self._rules.judge([decoded[at] for at in present])
        failures.update((rows[present[at]], reject) for at, reject in judged.items())
        return undecodable
