"""`list`, `show` and `stats`: letters as text."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import msgspec

from streamd import exits
from streamd.api import StoredLetter
from streamd.cli.dlq.selection import error_of, failed_at, reason_of

Letters = AsyncIterator[StoredLetter]

_HEAD = ("FAILED AT", "STAGE", "REASON", "ERROR", "REPLAYS", "ID")
_WIDTHS = (20, 14, 18, 18, 7)
_GROUPS = ("reason", "error_type", "stage", "day")


async def list_letters(letters: Letters, *, as_json: bool) -> int:
    """A line each."""
    count = 0
    async for letter in letters:
        if as_json:
            print(msgspec.json.encode({"place": letter.place, **_told(letter)}).decode())
        else:
            if not count:
                print(_line(_HEAD))
            print(_line(row(letter)))
        count += 1
    if not as_json:
        print(f"{count} letters", file=sys.stderr)
    return exits.OK


async def show(letters: Letters, ids: Sequence[str]) -> int:
    """Every letter with one of these ids; whether each was found."""
    seen = set()
    async for letter in letters:
        seen.add(letter.document.get("dlq_id"))
        whole = msgspec.json.encode({"place": letter.place, **_told(letter)})
        print(msgspec.json.format(whole, indent=2).decode())
    for missing in [one for one in ids if one not in seen]:
        print(f"no letter has the id {missing}", file=sys.stderr)
    return exits.OK if seen >= set(ids) else exits.FAILED


async def stats(letters: Letters, *, as_json: bool) -> int:
    """How many there are of each kind."""
    total = parked = 0
    counts: dict[str, Counter[str]] = {group: Counter() for group in _GROUPS}
    async for letter in letters:
        total += 1
        parked += bool(letter.document.get("parked"))
        failed = failed_at(letter.document)
        counts["reason"][reason_of(letter)] += 1
        counts["error_type"][str(error_of(letter.document).get("type", "-"))] += 1
        counts["stage"][str(letter.document.get("stage", "-"))] += 1
        counts["day"]["-" if failed is None else failed.date().isoformat()] += 1
    if as_json:
        told = {"total": total, "parked": parked, **counts}
        print(msgspec.json.encode(told).decode())
        return exits.OK
    print(f"{total} letters, {parked} of them parked")
    for group, found in counts.items():
        print(f"\nby {group.replace('_', ' ')}")
        ordered = sorted(found.items()) if group == "day" else found.most_common()
        for name, number in ordered:
            print(f"{number:>10}  {printable(name)}")
    return exits.OK


def row(letter: StoredLetter) -> tuple[str, ...]:
    """The columns of a letter."""
    document = letter.document
    replays = str(document.get("replays", 0)) + (" parked" if document.get("parked") else "")
    return (
        str(document.get("failed_at", "-")),
        str(document.get("stage", "-")),
        reason_of(letter),
        str(error_of(document).get("type", "-")),
        replays,
        str(document.get("dlq_id", letter.place)),
    )


def printable(text: str) -> str:
    """The text as it may go to a terminal: what comes from outside may hold control characters."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def _line(columns: Sequence[str]) -> str:
    *short, last = [printable(column) for column in columns]
    cells = [f"{text:<{width}}" for text, width in zip(short, _WIDTHS, strict=True)]
    return "  ".join([*cells, last])


def _told(letter: StoredLetter) -> dict[str, object]:
    return letter.document if not letter.fault else {"unreadable": letter.fault}
