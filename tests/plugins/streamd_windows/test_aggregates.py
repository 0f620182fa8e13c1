"""Aggregations: the same result whatever the order, the parts and the trips through a store."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from datetime import date
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.api import ConfigError
from streamd_windows.aggregates import Aggregate, Table, parse_aggregates
from streamd_windows.aggregates.distinct import estimate, sketch
from streamd_windows.aggregates.percentiles import Percentiles
from streamd_windows.cells import Group
from streamd_windows.packing import pack, unpack
from tests.plugins.streamd_windows.test_users_aggregates import Product

CALLS = [
    "count(v)",
    "sum(v)",
    "avg(v)",
    "min(v)",
    "max(v)",
    "first(v)",
    "last(v)",
    "distinct(v)",
    "distinct(v, 5)",
    "group_count(v)",
    "top_k(v, 3)",
    "percentiles(v, 50, 99)",
    "percentiles(v, 10, 50)",
    "collect(v, 4)",
]
anything = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
    st.lists(st.integers(0, 3), max_size=2),
)
random_seed = st.integers(0, 2**32)


def aggregate_of(text: str) -> Aggregate:
    aggregate = parse_aggregates({"x": text}, {}, frozenset())[0].aggregate
    if text == "percentiles(v, 10, 50)":
        aggregate.bound = 6  # type: ignore[attr-defined]  # reached by these tests
    return aggregate


def result(aggregate: Aggregate, values: list[Any], order: list[Any] | None = None) -> Any:
    cells = aggregate.cells()
    places = order or [(n, "p", n) for n in range(len(values))]
    aggregate.update(cells, ["k"] * len(values), values, places)
    return aggregate.results(cells, ["k"])[0]


@pytest.mark.parametrize("text", CALLS)
@given(values=st.lists(anything, max_size=30), seed=random_seed)
@settings(max_examples=60, deadline=None)
def test_parts_and_order_do_not_matter(text: str, values: list[Any], seed: int) -> None:
    """Split at random, shuffle, store and load some parts, merge in a random tree."""
    aggregate, random = aggregate_of(text), Random(seed)
    placed = [((random.randint(0, 5), "p", n), value) for n, value in enumerate(values)]
    whole = result(aggregate, values, [at for at, _ in placed])
    random.shuffle(placed)
    parts = []
    while placed:
        count = random.randint(1, len(placed))
        taken, placed = placed[:count], placed[count:]
        cells = aggregate.cells()
        aggregate.update(cells, ["k"] * count, [v for _, v in taken], [at for at, _ in taken])
        if "k" in cells and random.random() < 0.5:
            data = unpack(pack(aggregate.encode(cells["k"])))
            cells["k"] = aggregate.decode(data, "p")
        parts.append(cells)
    while len(parts) > 1:
        other = parts.pop(random.randrange(len(parts)))
        before = msgspec.json.encode(aggregate.results(other, ["k"]), enc_hook=repr)
        if random.random() < 0.5:
            aggregate.absorb(parts[0], aggregate.combine([other, aggregate.cells()]))
        else:
            parts[0] = dict(aggregate.combine([parts[0], other]))
            after = msgspec.json.encode(aggregate.results(other, ["k"]), enc_hook=repr)
            assert after == before, "combine changes nothing"
    cells = parts[0] if parts else aggregate.cells()
    merged = aggregate.results(cells, ["k"])[0]
    assert repr(merged) == repr(whole)


@given(st.lists(st.one_of(st.integers(-(2**62), 2**62), st.floats(-1e15, 1e15)), max_size=200))
def test_sums_are_exact(values: list[Any]) -> None:
    exact = sum(map(Fraction, values), Fraction())
    shown = result(aggregate_of("sum(v)"), values)
    if all(type(value) is int for value in values):
        assert type(shown) is int
        assert shown == exact
    else:
        assert shown == float(exact)
    if values:
        assert math.isclose(result(aggregate_of("avg(v)"), values), exact / len(values))


@given(st.lists(st.integers(0, 20), max_size=100))
def test_groups_are_counted(values: list[int]) -> None:
    counts = Counter(values)
    assert result(aggregate_of("distinct(v)"), values) == len(counts)
    top = result(aggregate_of("top_k(v, 3)"), values)
    assert [row["count"] for row in top] == [n for _, n in counts.most_common(3)]
    assert all(counts[row["value"]] == row["count"] for row in top)
    by_name = {str(value): count for value, count in counts.items()}
    assert result(aggregate_of("group_count(v)"), values) == by_name


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=300), st.integers(1, 100))
def test_percentiles_are_of_nearest_rank(values: list[int], percent: int) -> None:
    shown = result(aggregate_of(f"percentiles(v, {percent})"), values)
    rank = math.ceil(Fraction(percent, 100) * len(values))
    assert shown == {f"p{percent}": sorted(values)[rank - 1]}


def test_sketches_are_close() -> None:
    random = Random(7)
    numbers = [random.lognormvariate(3, 2) * random.choice([1, 1, 1, -1]) for _ in range(50_000)]
    shown = result(aggregate_of("percentiles(v, 1, 50, 99)"), numbers)
    exact = statistics.quantiles(numbers, n=100, method="inclusive")
    for name, value in (("p1", exact[0]), ("p50", exact[49]), ("p99", exact[98])):
        assert shown[name] == pytest.approx(value, rel=0.03)
    users = [f"user{random.randrange(10**9)}" for _ in range(100_000)]
    assert result(aggregate_of("distinct(v)"), users) == pytest.approx(len(set(users)), rel=0.03)


def test_distinct_has_no_bias() -> None:
    """Also at 2.5 values per register, where the classic estimator is 2 % too high."""
    errors = []
    for number in range(6):
        registers = sketch(f"u{number}-{n}" for n in range(41_000))
        errors.append(estimate(registers) / 41_000 - 1)
    assert abs(statistics.mean(errors)) < 0.005
    assert max(map(abs, errors)) < 0.02
    assert estimate(sketch([])) == 0
    assert [estimate(sketch(range(count))) for count in (1, 10, 100)] == [1, 10, 100]


def test_group_count_says_what_it_leaves_out() -> None:
    shown = result(aggregate_of("group_count(v, 2)"), ["a", "a", "a", "b", "b", "c"])
    assert shown == {"a": 3, "b": 2, "...": 1}
    assert result(aggregate_of("group_count(v)"), [1, "1", True, "true"]) == {"1": 2, "true": 2}


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=400), st.integers(1, 40))
def test_percentiles_beyond_their_bound_are_close(values: list[float], bound: int) -> None:
    aggregate = Percentiles(0, 50, 99.9, 100, bound=bound)
    ordered = sorted(values)
    shown = result(aggregate, values)
    for rank in (0, 50, 99.9, 100):
        at = max(1, math.ceil(Fraction(str(rank)) / 100 * len(values)))
        assert shown[f"p{rank}"] == pytest.approx(ordered[at - 1], rel=0.0101, abs=1e-300)


def test_percentiles_are_told_apart() -> None:
    shown = result(aggregate_of("percentiles(v, 99.99999, 100)"), list(range(100)))
    assert shown == {"p99.99999": 99, "p100": 99}
    assert result(aggregate_of("percentiles(v, 50.0)"), [1]) == {"p50": 1}


def test_top_k_is_right_beyond_its_bound() -> None:
    """Heavy values among many rare ones stay, and the row says how far off it may be."""
    random = Random(3)
    values = [f"rare{n}" for n in range(20_000)] + ["heavy"] * 2_000 + ["second"] * 1_000
    random.shuffle(values)
    rows = result(aggregate_of("top_k(v, 2, 500)"), values)
    assert [row["value"] for row in rows] == ["heavy", "second"]
    for row, truth in zip(rows, (2_000, 1_000), strict=True):
        assert row["count"] <= truth <= row["count"] + row["error"]
        assert row["error"] <= len(values) / 501


@pytest.mark.parametrize(
    "value", ["12", None, True, [], {}, math.nan, math.inf, 2**80, 1e300], ids=repr
)
def test_what_is_no_number_is_counted(value: Any) -> None:
    for text in ("sum(v)", "avg(v)", "min(v)", "max(v)", "percentiles(v, 50)"):
        aggregate = aggregate_of(text)
        cells = aggregate.cells()
        assert aggregate.update(cells, ["k", "k"], [value, 1], []) == 1
        assert aggregate.results(cells, ["k"])[0] in (1, 1.0, {"p50": 1})


@pytest.mark.parametrize(
    "value",
    [date(2025, 11, 19), Decimal("1.50"), b"bytes", {"a": 2**70}, [1, None], math.inf, "text"],
    ids=repr,
)
@pytest.mark.parametrize("text", ["first(v)", "last(v)", "collect(v)"])
def test_a_restart_changes_no_value(text: str, value: Any) -> None:
    aggregate = aggregate_of(text)
    cells = aggregate.cells()
    aggregate.update(cells, ["k"], [value], [(1, "p", 1)])
    [cell] = cells.values()
    restored = aggregate.decode(unpack(pack(aggregate.encode(cell))), "p")
    assert aggregate.result(restored) == aggregate.result(cell)


def test_true_and_one_are_two_values() -> None:
    assert result(aggregate_of("distinct(v)"), [True, 1, 1.0, "1"]) == 3
    rows = result(aggregate_of("top_k(v, 9)"), [True, 1, 1.0])
    assert [(row["value"], row["count"]) for row in rows] == [(1, 2), (True, 1)]
    assert rows[1]["value"] is True


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected a call"),
        ("count", "expected a call"),
        ("sum()", "needs a field"),
        ("smu(v)", "did you mean sum?"),
        ("nothing_like_it(v)", "there are count, sum"),
        ("top_k(v, k)", "come numbers"),
        ("top_k(v, 1, 2, 3)", "at most 2 numbers"),
        ("top_k(v, 0)", "at least 1"),
        ("top_k(v, 1.5)", "whole"),
        ("percentiles(v, 101)", "at most 100"),
        ("lacking(v)", "lacks create"),
        ("product(v, 1, 2)", "product:"),
    ],
)
def test_a_wrong_call_is_explained(text: str, told: str) -> None:
    custom = {"lacking": type("Lacking", (), {}), "product": Product}
    with pytest.raises(ConfigError, match=told.replace("(", r"\(").replace("?", r"\?")) as error:
        parse_aggregates({"x": text}, custom, frozenset())
    assert error.value.path == "aggregate.x"


def test_arguments_may_hold_commas() -> None:
    column = parse_aggregates({"x": 'top_k(a["b,c)"], 3)'}, {}, frozenset())[0]
    assert column.field == 'a["b,c)"]'


@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=20), max_size=30))
def test_a_group_is_what_its_pieces_hold(epochs: list[list[str]]) -> None:
    """Also when pieces are merged on the way; and the pieces stay few."""
    table = Table([aggregate_of("count(v)"), aggregate_of("collect(v, 3)")], [0, 0])
    group, store = Group(table, "p"), dict[tuple[int, int], bytes]()
    for epoch, keys in enumerate(epochs * 5):
        order = [(epoch, "p", n) for n in range(len(keys))]
        group.add(keys, [keys], order)
        for name, piece in group.take():
            if piece is None:
                del store[name]
            else:
                store[name] = piece
    assert len(store) <= 3 * 6 + 64 + 1
    if store:
        other = Group(table, "p")
        other.restore(store.items())
        for column in range(2):
            assert _listed(other, column) == _listed(group, column)
    gone = {name for name, _ in group.drop()}
    assert gone == store.keys()


def _listed(group: Group, column: int) -> list[tuple[Any, Any]]:
    """Cells in their order."""
    return [item for cells in group.parts(column, None) for item in cells.items()]
