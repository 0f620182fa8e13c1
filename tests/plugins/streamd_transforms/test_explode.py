"""Explode: one event per item, with ids of their own, and what happens without a list."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.api import ConfigError
from streamd.testing import RecordedMetrics, batch_of
from streamd_transforms import Explode
from tests.plugins.streamd_transforms.helpers import apply, build, passes_untouched, process

ORDER: dict[str, Any] = {
    "id": "o1",
    "at": "noon",
    "payload": {"customer": "c", "items": [{"sku": "x", "n": 1}, {"sku": "y", "n": 2}]},
}


def exploded(event: Any, **settings: Any) -> list[Any]:
    before = copy.deepcopy(event)
    result = apply(Explode, [event], **settings)
    assert not result.rejects, result.rejects
    assert event == before
    return result.values


def test_an_item_takes_the_place_of_the_list() -> None:
    assert exploded(ORDER, path="payload.items", index_field="payload.line") == [
        {
            "id": f"o1-{at}",
            "at": "noon",
            "payload": {"customer": "c", "items": item, "line": at},
        }
        for at, item in enumerate(ORDER["payload"]["items"])
    ]


def test_an_item_can_stand_elsewhere_beside_some_fields_of_the_parent() -> None:
    values = exploded(
        ORDER,
        path="payload.items",
        into="item",
        keep_parent=("at", "payload.customer", "nothing"),
        index_field="item.line",
    )
    assert values[1] == {
        "id": "o1-1",
        "at": "noon",
        "payload": {"customer": "c"},
        "item": {"sku": "y", "n": 2, "line": 1},
    }


def test_the_list_is_gone_when_the_item_stands_elsewhere() -> None:
    (value,) = exploded({"items": [5], "x": 1}, path="items", into="item")
    assert value == {"item": 5, "x": 1}


def test_an_item_can_be_the_event() -> None:
    values = exploded(ORDER, path="payload.items", into="$", keep_parent=("payload.customer",))
    assert values == [
        {"sku": "x", "n": 1, "payload": {"customer": "c"}, "id": "o1-0"},
        {"sku": "y", "n": 2, "payload": {"customer": "c"}, "id": "o1-1"},
    ]


@pytest.mark.parametrize(
    ("settings", "ids"),
    [
        ({"into": "$"}, ["own", "p-1"]),
        ({"into": "$", "keep_parent": ("id",)}, ["p-0", "p-1"]),
        ({"into": "$", "id_field": ""}, ["own", None]),
        ({"into": "$", "id_field": "", "keep_parent": ("id",)}, ["p", "p"]),
        ({"into": "item"}, ["p-0", "p-1"]),
        ({"into": "item", "id_field": ""}, ["p", "p"]),
        ({"into": "item", "keep_parent": ()}, ["p-0", "p-1"]),
    ],
)
def test_ids(settings: dict[str, Any], ids: list[Any]) -> None:
    event = {"id": "p", "items": [{"id": "own"}, {"n": 1}]}
    assert [v.get("id") for v in exploded(event, path="items", **settings)] == ids


@pytest.mark.parametrize(
    ("parent", "expected"), [(7, "7-0"), ("", ""), (None, None), (True, True), ([1], [1])]
)
def test_only_text_and_numbers_are_ids(parent: Any, expected: Any) -> None:
    assert exploded({"id": parent, "items": [1]}, path="items")[0]["id"] == expected


def test_events_of_one_parent_share_nothing_that_is_written() -> None:
    event = {"id": "p", "meta": {"a": 1}, "items": [{}, {}]}
    settings = {"keep_parent": ("meta",), "index_field": "meta.line", "into": "$"}
    assert [v["meta"]["line"] for v in exploded(event, path="items", **settings)] == [0, 1]
    settings["into"] = "item"
    assert [v["meta"]["line"] for v in exploded(event, path="items", **settings)] == [0, 1]


NOTHING = [{"items": []}, {"items": None}, {}, 5]


@pytest.mark.parametrize(
    ("empty", "missing", "kept", "rejected"),
    [
        ("drop", "reject", [], [1, 2, 3]),
        ("drop", "drop", [], []),
        ("keep", "drop", [NOTHING[0]], []),
        ("reject", "keep", NOTHING[1:], [0]),
    ],
)
def test_events_without_items(
    empty: str, missing: str, kept: list[Any], rejected: list[int]
) -> None:
    metrics = RecordedMetrics()
    step = build(Explode, metrics, path="items", empty=empty, missing=missing)
    result = process(step, batch_of(NOTHING))
    assert result.values == kept
    assert result.reasons == dict.fromkeys(rejected, "no_items")
    dropped = len(NOTHING) - len(kept) - len(rejected)
    assert metrics.value("filtered_events_total") == dropped


def test_the_very_batch_goes_on_when_every_event_stays() -> None:
    step = build(Explode, path="items", empty="keep", missing="keep")
    assert passes_untouched(step, batch_of(NOTHING))


@pytest.mark.parametrize(
    ("event", "settings", "reason"),
    [
        ({"items": "text"}, {}, "not_a_list"),
        ({"items": {"a": 1}}, {}, "not_a_list"),
        ({"items": [1, 2, 3, 4]}, {"max_items": 3}, "too_many_items"),
        ({"items": [{}, 1]}, {"into": "$"}, "not_an_object"),
        ({"items": [1], "x": 2}, {"into": "x.y"}, "not_an_object"),
        ({"items": [1]}, {"index_field": "items.at"}, "not_an_object"),
    ],
)
def test_an_event_that_cannot_be_taken_apart_is_rejected_whole(
    event: Any, settings: dict[str, Any], reason: str
) -> None:
    good: Any = {"items": [{}]}
    result = apply(Explode, [event, good], path="items", **settings)
    assert result.reasons == {0: reason}
    assert len(result.values) == 1


def test_rows_keep_the_place_of_their_event_but_not_its_bytes() -> None:
    events = [{"items": [1, 2]}, {"items": []}, {"items": [3]}]
    batch = batch_of(events, keys=[b"a", b"b", b"c"], first=5)
    (result,) = process(build(Explode, path="items"), batch).batches
    assert [result.locate(row) for row in range(3)] == [("events:0", at) for at in (5, 5, 7)]
    assert result.keys == [b"a", b"a", b"c"]
    assert result.raws is None
    (result,) = process(build(Explode, path="items", empty="keep"), batch).batches
    assert result.raws == [None, None, b'{"items":[]}', None]


class Line(msgspec.Struct, frozen=True):
    sku: str


class Order(msgspec.Struct, frozen=True):
    id: str
    items: list[Line]


def test_structs_are_taken_apart_too() -> None:
    order = Order("o", [Line("x"), Line("y")])
    assert exploded(order, path="items") == [
        {"id": "o-0", "items": Line("x")},
        {"id": "o-1", "items": Line("y")},
    ]
    assert exploded(order, path="items", into="$") == [
        {"sku": "x", "id": "o-0"},
        {"sku": "y", "id": "o-1"},
    ]


@pytest.mark.parametrize(
    ("settings", "path", "message"),
    [
        ({"path": "a["}, "path", "never closed"),
        ({"path": "$"}, "path", "whole event"),
        ({"path": "a", "into": "a[0]"}, "into", "list"),
        ({"path": "a", "keep_parent": ("b", "c d")}, "keep_parent[1]", "column"),
        ({"path": "a", "index_field": "1"}, "index_field", "path"),
        ({"path": "a", "id_field": "-"}, "id_field", "column"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(Explode, **settings)
    assert error.value.path == path
    assert message in str(error.value)


NAMES = st.sampled_from(["a", "b", "id"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(".".join)
EVENTS = st.recursive(
    st.none() | st.integers(0, 9),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=15,
)


@given(
    events=st.lists(EVENTS, max_size=4),
    path=PATHS,
    into=st.none() | PATHS | st.just("$"),
    keep_parent=st.none() | st.lists(PATHS, max_size=3).map(tuple),
    index_field=st.none() | PATHS,
)
def test_whatever_the_settings_what_came_in_is_not_touched(
    events: list[Any], **settings: Any
) -> None:
    before = copy.deepcopy(events)
    result = process(build(Explode, **settings), batch_of(events))
    assert events == before
    msgspec.json.encode(result.values)
