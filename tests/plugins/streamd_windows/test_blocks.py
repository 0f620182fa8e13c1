"""Blocks of events add up to what the events themselves do."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from streamd_windows.aggregates import Table, parse_aggregates
from streamd_windows.blocks import events_block, merge
from streamd_windows.keys import FLAGS
from streamd_windows.packing import unpack_block
from streamd_windows.rows import Columns

KEYS = ["text", "é", 7, -2.5, None, FLAGS[True], FLAGS[False], ("a", None), ("a", FLAGS[True])]
CALLS = ["count(v)", "sum(v)", "max(v)", "first(v)", "last(v)", "distinct(v)", "collect(v, 9)"]
PLAIN = [1, 2.5, -0.0, "é", None, True, 2**63, float("inf"), 0.1]


def test_every_key_and_plain_value_comes_back() -> None:
    table, given = _table(), _events(KEYS, PLAIN)
    block = events_block(table, *given)
    assert type(unpack_block(block)[0]) is bool, "events, not cells"
    assert _merged(table, block) == _updated(table, given)


def test_without_fields_a_block_is_its_keys() -> None:
    table = Columns(parse_aggregates({"n": "count()"}, {}, frozenset())).table
    block = events_block(table, KEYS * 2, [], [])
    assert _merged(table, block) == [dict.fromkeys(KEYS, 2)]


@pytest.mark.parametrize(
    "value", [2**70, {"a": [1]}, [1, 2], date(2026, 1, 2), "half \ud800", "long" * 1_000]
)
def test_what_would_change_or_take_much_is_added_up_at_once(value: Any) -> None:
    table = Columns(parse_aggregates({"n": "count(v)", "s": "sum(v)"}, {}, frozenset())).table
    given: Any = ["k", "k", "l"], [[value, 1, value]], []
    block = events_block(table, *given)
    assert type(unpack_block(block)[0]) is list, "cells, not events"
    assert len(block) < 200
    assert _merged(table, block) == _updated(table, given)


def _table() -> Table:
    calls = {f"c{number}": call for number, call in enumerate(CALLS)}
    return Columns(parse_aggregates(calls, {}, frozenset())).table


def _events(keys: list[Any], values: list[Any]) -> tuple[Any, Any, Any]:
    """Each key with each value; ties in time go by the partition."""
    rows = [(key, value) for key in keys for value in values]
    order = [(number % 3, "p:1", number) for number in range(len(rows))]
    return [key for key, _ in rows], [[value for _, value in rows]], order


def _merged(table: Table, block: bytes) -> list[Any]:
    cells = table.cells()
    merge(table, cells, block, "p:1")
    return cells


def _updated(table: Table, given: tuple[Any, Any, Any]) -> list[Any]:
    cells = table.cells()
    table.update(cells, *given)
    return cells
