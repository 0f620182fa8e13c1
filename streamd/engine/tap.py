"""Taps: a look at events as they leave a stage, without holding them up.

A tap works where the events are, on the pipeline's own task. What it shows is text at once, so
that no later stage can change it, and waits in a bounded buffer. What there is no time or no room
for passes by and is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

from streamd.api import Batch, Codec, Condition, Failure
from streamd.engine.plain import plain
from streamd.engine.sight import Sight
from streamd.engine.signal import Signal
from streamd.engine.tap_limits import Budget, Thinning

_MOST_BYTES = 1024 * 1024  # of text that waits to be fetched
_MOST_ROWS = 64  # between two looks at the clock


class Outlet:
    """Where events leave a stage. `leaving` and `refusing` are empty as long as nobody looks:
    ask them once per batch before calling anything."""

    __slots__ = ("__weakref__", "leaving", "pipeline", "refusing", "stage")

    def __init__(self, pipeline: str, stage: str) -> None:
        self.pipeline = pipeline
        self.stage = stage
        self.leaving: tuple[Tap, ...] = ()
        self.refusing: tuple[Tap, ...] = ()

    def leaves(self, stream: str, batch: Batch, codec: Codec | None = None) -> None:
        """A batch goes on to a stream, "" where there is none. `codec` decodes it, if it is not."""
        for tap in self.leaving:
            tap.see(Sight(self.pipeline, self.stage, batch, stream=stream, codec=codec))

    def refuses(self, failure: Failure) -> None:
        """The rows of a failure go no further: dropped, dead letters, or back to the client."""
        for tap in self.refusing:
            tap.see(Sight(self.pipeline, self.stage, failure.batch, failure=failure))


class Outlets:
    """The outlets of a pipeline's stages: the same for a name through reloads and restarts."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[str, str], Outlet] = WeakValueDictionary()

    def of(self, pipeline: str, stage: str) -> Outlet:
        """The outlet of a stage, whether or not it runs now."""
        return self._known.setdefault((pipeline, stage), Outlet(pipeline, stage))


class Tap:
    """One look at an outlet. To be entered; `ended` says why nothing more comes.

    Counted are the events that `passed_by` without being looked at, and those that the condition
    `cannot_judge`, with the reason of the last of them. `done` is set when the limit is reached.
    """

    def __init__(
        self,
        outlet: Outlet,
        budget: Budget,
        *,
        stream: str | None = None,
        rejects: bool = False,
        limit: int | None = None,
        one_in: float = 1.0,
        condition: Condition | None = None,
        random: Random | None = None,
    ) -> None:
        self.arrived = Signal()
        self.passed_by = 0
        self.cannot_judge = 0
        self.reason = ""
        self.ended = ""
        self.done = False
        self._outlet = outlet
        self._budget = budget
        self._stream = stream
        self._rejects = rejects
        self._left = limit
        self._thinning = Thinning(one_in, random or Random())
        self._condition = condition
        self._lines: list[bytes] = []
        self._size = 0

    def __enter__(self) -> Self:
        if self._rejects:
            self._outlet.refusing += (self,)
        else:
            self._outlet.leaving += (self,)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    def fetch(self) -> list[bytes]:
        """The events that are to be shown, as JSON texts; makes room for others."""
        lines, self._lines, self._size = self._lines, [], 0
        return lines

    def end(self, reason: str) -> None:
        """Nothing more is to be shown. What was not fetched yet still can be."""
        self.ended = self.ended or reason
        self._leave()
        self.arrived.set()

    def see(self, sight: Sight) -> None:
        """Take from a batch what is to be shown. Raises nothing."""
        if self._stream not in (None, sight.stream):
            return
        try:
            self._look(sight, self._thinning.rows(len(sight.batch)))
        except Exception as error:  # whoever looks on must not stop what he looks at
            self.end(f"the tap has failed: {error!r}")

    def _look(self, sight: Sight, rows: Sequence[int]) -> None:
        at, many = 0, 1
        while at < len(rows) and not self.ended:
            if self._size >= _MOST_BYTES or not self._budget.open():
                self.passed_by += len(rows) - at
                break
            started = self._budget.clock()
            self._show(sight, rows[at : at + many])
            self._budget.spent(started)
            at, many = at + many, min(2 * many, _MOST_ROWS)
        if self._lines:
            self.arrived.set()

    def _show(self, sight: Sight, rows: Sequence[int]) -> None:
        rows, values = sight.values(rows)
        met: Sequence[int] = range(len(rows))
        if self._condition is not None:
            errors: dict[int, str] = {}
            met = self._condition(values, errors)
            if errors:
                self.cannot_judge += len(errors)
                self.reason = plain(next(iter(errors.values())))
        for at in met:
            self._keep(sight.text(rows[at], values[at]))
            if self._left == 0:
                self.done = True
                self.end("the limit is reached")
                return

    def _keep(self, line: bytes) -> None:
        if self._lines and self._size + len(line) > _MOST_BYTES:
            self.passed_by += 1
            return
        self._lines.append(line)
        self._size += len(line)
        if self._left is not None:
            self._left -= 1

    def _leave(self) -> None:
        outlet = self._outlet
        outlet.leaving = tuple(tap for tap in outlet.leaving if tap is not self)
        outlet.refusing = tuple(tap for tap in outlet.refusing if tap is not self)
