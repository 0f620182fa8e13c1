"""What came of a test against what was expected, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from streamd.settings.toml import duration_text
from streamd.testing.scenarios.matching import assign, differences, fits, nearest, shown
from streamd.testing.scenarios.running import PATIENCE, Observed
from streamd.testing.scenarios.script import Expected, Place, Rows, Script

_MOST_SHOWN = 5
_MOST_WIDE = 300


class Mismatch(Struct, frozen=True):
    """One thing that is not as expected: `where` is file:line, `lines` say more about it."""

    where: str
    message: str
    lines: tuple[str, ...] = ()


def judge(script: Script, observed: Observed) -> list[Mismatch]:
    """Everything that is not as the test expects; empty if it has passed."""
    found = [*_ending(script, observed)]
    for expected in script.expected:
        found += _judge(expected, observed)
    found += _unexpected(script, observed)
    return found


def _ending(script: Script, observed: Observed) -> Iterator[Mismatch]:
    fails, failure = script.scenario.fails, observed.failure
    if fails is None and failure is not None:
        yield Mismatch(script.where, f"the pipeline failed: {failure}")
    elif fails is not None and failure is None:
        yield Mismatch(script.where, f"the pipeline did not fail, expected: {fails}")
    elif fails is not None and fails not in (failure or ""):
        yield Mismatch(
            script.where, f"expected the pipeline to fail with: {fails}", (f"{failure}",)
        )
    if observed.stuck is not None:
        patience = duration_text(PATIENCE)
        message = f"not everything was delivered {patience} after the last event arrived"
        yield Mismatch(script.where, message, (observed.stuck,))


def _judge(expected: Expected, observed: Observed) -> Iterator[Mismatch]:
    says, place = expected.says, expected.place
    found = [
        row.value for row in observed.rows[place] if says.by is None or row.at <= says.by + 1e-6
    ]
    when = "" if says.by is None else f" by {says.by.text}"
    count = 0 if says.none else says.count
    if count is None and says.exact:
        count = len(expected.rows)
    missing, extra = _unmatched(expected, found)
    if count is not None and count != len(found):
        message = f"{place}: expected {_rows(count)}{when}, got {len(found)}"
        yield Mismatch(expected.where, message, () if missing else _some(extra, "+"))
    for at in missing:
        row, message = expected.rows[at], f"{place}: no row{when} like the expected"
        lines = _nearest_lines(row, extra, exact=says.exact)
        if says.in_order and any(fits(row, one, exact=says.exact) for one in found):
            message = f"{place}: the row did not come in this order"
        elif (late := _later(expected, row, observed.rows[place])) is not None:
            lines = [f"  it came at {duration_text(late)}"]
        yield Mismatch(expected.where, message, (f"- {_cut(row)}", *lines))


def _unmatched(expected: Expected, found: Sequence[Any]) -> tuple[list[int], list[Any]]:
    """Indices of expected rows that did not come, and rows that came beside the others."""
    says = expected.says
    taken = assign(expected.rows, found, exact=says.exact, in_order=says.in_order)
    used = set(taken.values())
    missing = [at for at in range(len(expected.rows)) if at not in taken]
    return missing, [row for at, row in enumerate(found) if at not in used]


def _later(expected: Expected, row: Any, rows: Rows) -> float | None:
    """When a row like this came, if it came too late."""
    says = expected.says
    late = (one for one in rows if says.by is not None and one.at > says.by)
    return next((one.at for one in late if fits(row, one.value, exact=says.exact)), None)


def _nearest_lines(row: Any, others: Sequence[Any], *, exact: bool) -> list[str]:
    """How the nearest of the rows that are left differs."""
    at = nearest(row, others)
    if at is None:
        return ["  no other row came"]
    found = others[at]
    return [
        f"+ {_cut(found)}",
        *(f"    {one}" for one in differences(row, found, exact=exact)),
    ]


def _unexpected(script: Script, observed: Observed) -> Iterator[Mismatch]:
    """What was not stored must not go by in silence."""
    looked_at = {one.place for one in script.expected}
    if not any(_holds_dead_letters(place, script) for place in looked_at):
        letters = [row.value for row in observed.dead_letters]
        if letters:
            message = f"dead letters that no expectation speaks of: {len(letters)}"
            yield Mismatch(script.where, message, _some(map(_brief, letters), "+"))
    faulty = {Place("sink", fault.sink) for fault in script.faults}
    if observed.refused and not any(_holds_dead_letters(place, script) for place in faulty):
        message = f"dead letters that their own sink refused: {len(observed.refused)}"
        yield Mismatch(script.where, message, _some(map(_brief, observed.refused), "+"))
    for place, rows in observed.rows.items():
        if place.kind == "source" and place not in looked_at and rows:
            message = f"{place} was told of {_rows(len(rows))} that no expectation speaks of"
            yield Mismatch(script.where, message, _some((row.value for row in rows), "+"))


def _holds_dead_letters(place: Place, script: Script) -> bool:
    if place.kind == "stream":
        return place.name in script.dead_letter_streams
    return place.kind == "sink" and any(
        sink.id == place.name and set(sink.inputs) & script.dead_letter_streams
        for sink in script.pipeline.sinks
    )


def _brief(letter: Any) -> Any:
    keys = ("stage", "reason", "error", "original_message")
    brief = {key: letter.get(key) for key in keys}
    brief["error"] = (letter.get("error") or {}).get("message")
    brief |= {"refused_because": why} if (why := letter.get("refused_because")) else {}
    return brief


def _some(rows: Any, sign: str) -> tuple[str, ...]:
    rows = list(rows)
    more = [f"  and {len(rows) - _MOST_SHOWN} more"] if len(rows) > _MOST_SHOWN else []
    return (*(f"{sign} {_cut(row)}" for row in rows[:_MOST_SHOWN]), *more)


def _cut(row: Any) -> str:
    text = shown(row)
    return text if len(text) <= _MOST_WIDE else f"{text[:_MOST_WIDE]}..."


def _rows(count: int) -> str:
    return "no row" if count == 0 else "1 row" if count == 1 else f"{count} rows"
