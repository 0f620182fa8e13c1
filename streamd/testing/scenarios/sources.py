"""Sources in memory: a test's records arrive on the test's clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import anyio
import anyio.lowlevel
import msgspec

from streamd.api import Batch, Reject, Settlement, StageContext
from streamd.testing.scenarios.matching import plain
from streamd.testing.scenarios.script import Arrival, Row, Rows

_ROUNDING = 1e-6


class VirtualSource:
    """Reads what the test says, when it says so. `moments` are times at which it must wake too."""

    def __init__(
        self,
        real: Any,
        arrivals: Sequence[Arrival],
        context: StageContext,
        *,
        partition: str,
        moments: Sequence[float] = (),
        ends: bool = False,
    ) -> None:
        assert context.control is not None
        self.resumes: bool = real.resumes
        self.given = 0
        self._arrivals = arrivals
        self._control = context.control
        self._partitions = {one.partition for one in arrivals} or {partition}
        self._offsets: dict[str, int] = {}
        self._moments = moments
        self._ends = ends

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    async def poll(self, max_events: int, timeout: float) -> list[Batch]:
        if not self._offsets:
            await self._control.assigned(dict.fromkeys(sorted(self._partitions)))
            self._offsets = dict.fromkeys(self._partitions, 0)
        await anyio.lowlevel.checkpoint()
        if not (due := self._due(max_events)):
            await anyio.sleep(self._until_next(timeout))
            due = self._due(max_events)
        self.given += len(due)
        partitions = dict.fromkeys(one.partition for one in due)
        return [self._batch(p, [one for one in due if one.partition == p]) for p in partitions]

    async def commit(self, positions: Mapping[str, int], tag: str) -> None:
        """Nobody resumes from here."""

    @property
    def all_given(self) -> bool:
        return self.given == len(self._arrivals)

    def exhausted(self) -> bool:
        return self._ends and bool(self._offsets) and self.all_given

    def _due(self, most: int) -> Sequence[Arrival]:
        now = anyio.current_time() + _ROUNDING
        return [one for one in self._arrivals[self.given : self.given + most] if one.at <= now]

    def _until_next(self, timeout: float) -> float:
        """Wakes at multiples of the time-out, so that steps see time pass at even moments."""
        now = anyio.current_time()
        waits = [timeout - now % timeout]
        waits += [one.at - now for one in self._arrivals[self.given : self.given + 1]]
        waits += [moment - now for moment in self._moments if moment > now + _ROUNDING]
        return min(waits)

    def _batch(self, partition: str, arrivals: Sequence[Arrival]) -> Batch:
        first = self._offsets[partition]
        self._offsets[partition] += len(arrivals)
        return Batch.of_raws(
            [one.raw for one in arrivals],
            partition=partition,
            offsets=range(first, first + len(arrivals)),
            timestamps=[one.timestamp for one in arrivals],
            keys=[one.key for one in arrivals],
            headers=[one.headers for one in arrivals],
        )


class AnsweringSource(VirtualSource):
    """Stands for one that answers for each event: notes what it is told in `answers`."""

    def __init__(self, real: Any, *args: Any, answers: Rows, **options: Any) -> None:
        super().__init__(real, *args, **options)
        self.answers_rejects: bool = real.answers_rejects
        self._answers = answers
        self._answered: dict[str, int] = {}

    def waiting(self) -> bool:
        return any(self._answered.get(p, 0) < offset for p, offset in self._offsets.items())

    def settle(self, upto: Mapping[str, int], exceptions: Sequence[Settlement]) -> None:
        self._answered.update(upto)
        self._answers += [Row(anyio.current_time(), self._answer(one)) for one in exceptions]

    def _answer(self, settlement: Settlement) -> dict[str, Any]:
        reject = settlement.reject or Reject("", "")
        raws = [one.raw for one in self._arrivals if one.partition == settlement.partition]
        return {
            "outcome": settlement.outcome,
            "partition": settlement.partition,
            "offset": settlement.offset,
            "event": _parsed(raws[settlement.offset]),
            "reason": reject.reason,
            "message": reject.message,
            "violations": plain(reject.violations),
            "dead_letter_id": settlement.dead_letter_id,
        }


def _parsed(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeError):
        return raw.decode(errors="replace")
