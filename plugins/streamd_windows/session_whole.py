"""A session over all partitions: the runs of a key that overlap are one."""

from __future__ import annotations

from typing import NamedTuple

from streamd_windows.session_state import Session
from streamd_windows.slices import NEVER, Slice, Slices

Part = tuple[Slice, Session]


class Whole(NamedTuple):
    """The parts of a session; the first part's partition owns its result. Times are in ms."""

    start: int
    end: int
    parts: list[Part]


def whole_session(slices: Slices, gap: int, slice_: Slice, session: Session) -> Whole:
    """The session with all that overlaps it in other partitions, and what overlaps that."""
    if len(slices) == 1:
        return Whole(session.start, session.last + gap, [(slice_, session)])
    found = [
        (slices[name], other) for name in slices for other in slices[name].body.of(session.key)
    ]
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
    return Whole(start, last + gap, run)
