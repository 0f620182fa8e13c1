"""A session over all partitions: the runs of a key that overlap are one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from streamd_windows.aggregates import Cells
from streamd_windows.rows import Columns
from streamd_windows.session_state import Session
from streamd_windows.slices import NEVER, Slice, Slices

Part = tuple[Slice, Session]


class Whole(Struct, gc=False):
    """A part in the partition that owns the result, and those in others. Times are in ms."""

    start: int
    end: int
    owner: Slice
    first: Session
    others: Sequence[Part] = ()

    def parts(self) -> list[Part]:
        return [(self.owner, self.first), *self.others]

    def fired(self) -> bool:
        """Whether it has been emitted as complete, and nothing has come since."""
        return self.first.fired and all(part.fired for _, part in self.others)

    def pane(self) -> int:
        """How many results have shown it."""
        rows = self.first.rows
        return rows + sum(part.rows for _, part in self.others) if self.others else rows


def whole_session(slices: Slices, gap: int, slice_: Slice, session: Session) -> Whole:
    """The session with all that overlaps it in other partitions, and what overlaps that."""
    if len(slices) > 1:
        key = session.key
        holders = [other for other in slices.values() if key in other.body.latest]
        if len(holders) > 1:  # within one they do not overlap
            found = [(other, part) for other in holders for part in other.body.of(key)]
            return _around(session, gap, found)
    return Whole(session.start, session.last + gap, slice_, session)


def _around(session: Session, gap: int, found: list[Part]) -> Whole:
    found.sort(key=lambda part: part[1].start)
    run: list[Part] = []
    last = NEVER
    for part in found:
        if part[1].start >= last + gap:
            if any(other is session for _, other in run):
                break
            run, last = [], NEVER
        run.append(part)
        last = max(last, part[1].last)
    start = run[0][1].start
    run.sort(key=lambda part: (part[0].name, part[1].number))
    return Whole(start, last + gap, *run[0], run[1:])


def shown(columns: Columns, sessions: list[Whole]) -> list[tuple[Any, ...]]:
    """What the rows of these sessions show, which are all owned by one partition."""
    if not any(whole.others for whole in sessions):
        numbers = [whole.first.number for whole in sessions]
        return columns.results(sessions[0].owner.body.cells, numbers)
    merged: list[Cells] = []
    for number, aggregate in enumerate(columns.table.aggregates):
        cells: Cells = {}
        for at, whole in enumerate(sessions):
            held = [s.body.cells[number].get(part.number) for s, part in whole.parts()]
            parts: list[Cells] = [{at: cell} for cell in held if cell is not None]
            if parts:
                cells.update(aggregate.combine(parts))
        merged.append(cells)
    return columns.results(merged, range(len(sessions)))
