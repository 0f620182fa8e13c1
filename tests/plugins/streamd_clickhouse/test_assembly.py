"""Slices of a batch become one block; rows that do not fit are left out and named."""

from typing import Any

import msgspec

from streamd.api import Batch, Reject
from streamd.testing.batches import batch_of
from streamd_clickhouse.assembly import Assembly
from streamd_clickhouse.block import Block
from streamd_clickhouse.rows import Column
from streamd_clickhouse.types import parse_type
from streamd_columns import Columns, parse_source

TYPES = {"id": "String", "n": "Int32", "tags": "Array(String)", "note": "Nullable(String)"}
COLUMNS = [
    Column(name, parse_source(name), spelling, parse_type(spelling))
    for name, spelling in TYPES.items()
]


def assemble(
    values: list[Any], *, slice_rows: int, encode: bool = True, reject_missing: bool = False
) -> tuple[Block, dict[int, Reject]]:
    batch: Batch = batch_of(values, raws=[b""] * len(values))
    assembly = Assembly(COLUMNS, encode=encode, reject_missing=reject_missing)
    rejects: dict[int, Reject] = {}
    for first in range(0, len(values), slice_rows):
        found = assembly.add(Columns(batch, msgspec.json.Encoder(), first, first + slice_rows))
        rejects |= {first + row: reject for row, reject in found.items()}
    return assembly.block(), rejects


def event(number: Any, **more: Any) -> dict[str, Any]:
    return {"id": f"é{number}", "n": number, "tags": ["a"] * (number % 3), "note": None, **more}


def test_the_slices_make_no_difference() -> None:
    events = [event(number) for number in range(50)]
    whole, _ = assemble(events, slice_rows=50)
    sliced, _ = assemble(events, slice_rows=7)
    assert b"".join(whole.parts) == b"".join(sliced.parts)
    assert (whole.rows, whole.columns) == (50, tuple(TYPES.items()))


def test_rows_that_do_not_fit_are_named_and_left_out() -> None:
    events = [event(number) for number in range(20)]
    events[3] = {**events[3], "n": 2**31}
    events[11] = {**events[11], "n": True, "tags": [1], "id": 5}
    good = [e for row, e in enumerate(events) if row not in (3, 11)]
    block, rejects = assemble(events, slice_rows=8)
    alone, none = assemble(good, slice_rows=100)
    assert not none
    assert block.rows == 18
    assert b"".join(block.parts) == b"".join(alone.parts)
    assert sorted(rejects) == [3, 11]
    assert rejects[3].reason == "column"
    assert rejects[3].message.startswith("column n (Int32): expected an integer from -2147483648")
    assert [violation.path for violation in rejects[11].violations] == ["$.id", "$.n", "$.tags"]


def test_without_the_fast_insert_the_values_are_kept() -> None:
    events = [event(number) for number in range(5)]
    events[1]["n"] = None
    events[2]["tags"] = 5
    block, rejects = assemble(events, slice_rows=2, encode=False)
    assert list(rejects) == [2]
    assert block.parts == []
    assert block.values[1] == [0, 0, 3, 4]


def test_missing_fields_take_the_default_or_are_rejected() -> None:
    events: list[Any] = [event(1), {"id": "a"}, {"id": "b", "n": None, "tags": [], "note": None}]
    block, rejects = assemble(events, slice_rows=10, encode=False)
    assert not rejects
    assert block.values == [["é1", "a", "b"], [1, 0, 0], [["a"], [], []], [None, None, None]]
    block, rejects = assemble(events, slice_rows=10, encode=False, reject_missing=True)
    assert sorted(rejects) == [1, 2]
    assert rejects[1].message.count("the event has no such field") == 3
    assert rejects[2].message.endswith("got null")
    assert block.rows == 1


def test_a_batch_of_nothing_but_rejects() -> None:
    block, rejects = assemble([event(1, n="x"), event(2, n=None, tags="x")], slice_rows=1)
    assert sorted(rejects) == [0, 1]
    assert block.rows == 0
