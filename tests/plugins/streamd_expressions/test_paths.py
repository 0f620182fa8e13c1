"""Field paths on dicts, Structs and mixtures; what an expression says that it reads."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from streamd_expressions import (
    MISSING,
    ExpressionError,
    compile_expression,
    compile_path,
    parse_path,
)


class Order(msgspec.Struct, gc=False):
    amount: float
    tier: str
    data: dict[str, Any]
    note: str | None = None
    count: int | msgspec.UnsetType = msgspec.UNSET

    @property
    def secret(self) -> str:
        return "not a field"


class Event(msgspec.Struct, rename="camel", tag_field="kind", tag="order"):
    event_id: int
    payload: Order


ORDER = Order(1.5, "gold", {"items": [{"id": 1}], "amount": 9})
STRUCT = Event(7, ORDER)
MIXED = {"payload": ORDER}
PLAIN = {"payload": {"amount": 1.5, "tier": "gold", "data": {"items": [{"id": 1}]}, "note": None}}


@pytest.mark.parametrize("event", [STRUCT, MIXED, PLAIN], ids=["struct", "mixed", "dict"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("payload.amount", 1.5),
        ("payload.data.items[0].id", 1),
        ("payload.data.items[-1]['id']", 1),
        ("payload.data.items[1].id", MISSING),
        ("payload.note", None),
        ("payload.note.deeper", MISSING),
        ("payload.count", MISSING),
        ("payload.secret", MISSING),
        ("payload.amount.real", MISSING),
        ("payload.data.keys", MISSING),
        ("payload.data.items.append", MISSING),
        ("payload['not an identifier']", MISSING),
        ("payload.class", MISSING),
        ("payload[0]", MISSING),
    ],
)
def test_getter(event: Any, path: str, expected: Any) -> None:
    getter = compile_path(path)
    # The second read takes the fast way of a Struct class that the first has vouched for.
    assert [getter(event), getter(event)] == [expected, expected]
    value = compile_expression(path).map_values([event, event])
    assert value == [None if expected is MISSING else expected] * 2
    assert compile_expression(f"exists({path})").evaluate(event) is (expected is not MISSING)


def test_structs_are_read_by_their_names_on_the_wire() -> None:
    assert compile_path("eventId")(STRUCT) == 7
    assert compile_path("event_id")(STRUCT) is MISSING
    assert compile_path("kind")(STRUCT) == "order"
    assert compile_expression("'eventId' in $ && len(payload) == 4").evaluate(STRUCT) is True
    assert compile_expression("keys($)").evaluate(STRUCT) == ["eventId", "payload"]


def test_unset_comes_and_goes() -> None:
    getter = compile_path("count")
    orders = [Order(1, "a", {}, count=3), Order(1, "a", {}), Order(1, "a", {}, count=0)]
    assert [getter(order) for order in orders] == [3, MISSING, 0]
    assert compile_expression("count").map_values(orders) == [3, None, 0]


def test_unresolvable_annotations_are_read_with_care() -> None:
    strange = msgspec.defstruct("Strange", [("a", "Nowhere", 1)])
    assert compile_path("a")(strange()) == 1


def test_one_getter_reads_every_shape_in_turn() -> None:
    getter = compile_path("payload.amount")
    shapes = [PLAIN, STRUCT, MIXED, {}, None, 5, "text", [1], {"payload": [1]}]
    expected = [1.5, 1.5, 1.5, *([MISSING] * 6)]
    assert [getter(shape) for shape in shapes * 2] == expected * 2


def test_the_root_is_the_event() -> None:
    assert compile_path("$")(PLAIN) is PLAIN
    assert compile_path('$["odd key"]')({"odd key": 1}) == 1


@pytest.mark.parametrize("text", ["a + b", "lower(a)", "1", "[a]", "a.b(c)", "first(a).b", ""])
def test_not_a_path(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_path(text)


def test_parts() -> None:
    assert parse_path("payload['a b'].items[-1].id") == ("payload", "a b", "items", -1, "id")
    assert parse_path("$") == ()


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("payload.age > 18 && tier == 'x'", {("payload", "age"), ("tier",)}),
        ("exists(a.b) || lower(c['d e']) in [f, 'g']", {("a", "b"), ("c", "d e"), ("f",)}),
        ("items[0].id", {("items",)}),
        ("first(items).id", {("items",)}),
        ("len($)", {()}),
        ("1 + 1", set()),
        ("lower > 1", {("lower",)}),
    ],
)
def test_fields(text: str, fields: set[tuple[str, ...]]) -> None:
    expression = compile_expression(text)
    assert expression.fields == fields
    assert expression.text == text
    assert repr(expression) == f"Expression({text!r})"


def test_events_are_not_changed() -> None:
    before = copy.deepcopy(PLAIN)
    texts = ["payload.data.items + [1]", "keys(payload)", "[payload.tier] * 3", "min([3, 1])"]
    for text in texts:
        compile_expression(text).evaluate(PLAIN)
    assert before == PLAIN


def test_missing_is_a_falsy_constant() -> None:
    assert not MISSING
    assert repr(MISSING) == "MISSING"


@pytest.mark.parametrize("path", ["payload", "payload.tier", "payload.data.amount", "eventId"])
@pytest.mark.parametrize(
    "events",
    [
        [PLAIN, {}, {"payload": {}}, {"payload": {"tier": 0, "data": {"amount": 2}}}],
        [PLAIN, {"payload": None}, {"payload": [1]}, {"payload": "tier"}],
        [PLAIN, MIXED, STRUCT],
        [PLAIN, None, 5, "payload", [PLAIN]],
        [STRUCT, STRUCT],
        [],
    ],
)
def test_a_column_is_what_each_event_has(path: str, events: list[Any]) -> None:
    expression = compile_expression(path)
    assert expression.map_values(events) == [expression(event) for event in events]
