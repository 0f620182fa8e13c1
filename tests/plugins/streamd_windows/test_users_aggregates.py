"""Aggregations that users bring: classes with create, add, merge and result."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from streamd.api import ConfigError
from streamd_windows.aggregates import parse_aggregates
from streamd_windows.aggregates.base import Custom
from streamd_windows.packing import pack_block, unpack_block


class Product:
    """An aggregation of a user."""

    def __init__(self, scale: int = 1) -> None:
        self.scale = scale

    def create(self) -> int:
        return self.scale

    def add(self, cell: int, value: Any) -> int:
        return cell * int(value)

    def merge(self, mine: int, other: int) -> int:
        return mine * other // self.scale

    def result(self, cell: int) -> int:
        return cell


def test_users_bring_their_own() -> None:
    column = parse_aggregates({"x": "product(v, 10)"}, {"product": Product}, frozenset())[0]
    aggregate = column.aggregate
    cells = aggregate.cells()
    skipped = aggregate.update(cells, ["k"] * 4, [2, 3, "no number", None], [])
    assert (skipped, aggregate.results(cells, ["k"])) == (2, [60])
    assert aggregate.results(aggregate.combine([cells, {"k": 50}]), ["k"]) == [300]
    assert aggregate.results(cells, ["k", "other"]) == [60, 10]


def test_a_merge_in_place_leaves_the_parts_alone() -> None:
    """Of an aggregation that needs no `encode`: its cells are plain data, and shared by panes."""

    class Tally:
        def create(self) -> dict[str, int]:
            return {"n": 0}

        def add(self, cell: dict[str, int], value: Any) -> dict[str, int]:
            cell["n"] += 1
            return cell

        def merge(self, mine: dict[str, int], other: dict[str, int]) -> dict[str, int]:
            mine["n"] += other["n"]
            return mine

        def result(self, cell: dict[str, int]) -> int:
            return cell["n"]

    aggregate = Custom(Tally())
    parts: list[dict[Any, Any]] = [{}, {}]
    for part in parts:
        aggregate.update(part, ["k", "k"], [1, 2], [])
    for _ in range(2):
        assert aggregate.results(aggregate.combine(parts), ["k"]) == [4]


class Kept:
    """Values as a cell of a type keeps them."""

    def __init__(self, kind: Any) -> None:
        self.create = kind

    def add(self, cell: Any, value: Any) -> Any:
        return type(cell)([*cell, value])

    def merge(self, mine: Any, other: Any) -> Any:
        assert type(mine) is type(other)
        return type(mine)([*mine, *other])

    def result(self, cell: Any) -> Any:
        return sorted(cell)


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset])
def test_cells_of_users_come_back_as_what_they_were(kind: Any) -> None:
    aggregate = Custom(Kept(kind))
    cells: list[dict[Any, Any]] = [{}, {}]
    for number, part in enumerate(cells):
        aggregate.update(part, ["k", "k"], [2 * number, 2 * number + 1], [])
    packed = unpack_block(pack_block(aggregate.encode_all(cells[0], ["k"])))
    aggregate.absorb_encoded(cells[1], ["k"], packed, "p")
    assert type(cells[1]["k"]) is kind
    assert aggregate.results(cells[1], ["k"]) == [[0, 1, 2, 3]]


def test_a_cell_that_cannot_be_stored_is_refused_at_once() -> None:
    class Queued(Kept):
        def __init__(self) -> None:
            super().__init__(deque)

    with pytest.raises(ConfigError, match=r"'queued'.*deque.*needs encode and decode"):
        parse_aggregates({"x": "queued(v)"}, {"queued": Queued}, frozenset())
