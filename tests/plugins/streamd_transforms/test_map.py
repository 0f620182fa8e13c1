"""Map: each change, their order, and that the events that came in are never touched."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.api import ConfigError
from streamd.testing import batch_of
from streamd_transforms import Map
from streamd_transforms.map import Changes
from tests.plugins.streamd_transforms.helpers import apply, build, passes_untouched, process


def one(event: Any, **settings: Any) -> Any:
    """What comes of one event; it must not be rejected, nor changed itself."""
    before = copy.deepcopy(event)
    result = apply(Map, [event], **settings)
    assert not result.rejects, result.rejects
    assert event == before
    return result.values[0]


@pytest.mark.parametrize(
    ("event", "changes", "expected"),
    [
        ({"a": 1}, {"b": "a + 1"}, {"a": 1, "b": 2}),
        ({"a": 1}, {"b": "a + 1", "c": "b + 1"}, {"a": 1, "b": 2, "c": 3}),
        ({}, {"a.b.c": "1"}, {"a": {"b": {"c": 1}}}),
        ({"a": None}, {"a.b": "1"}, {"a": {"b": 1}}),
        ({"a": {"x": 1}}, {"a.b": "2", "a.c": "a.b"}, {"a": {"x": 1, "b": 2, "c": 2}}),
        ({"a": {"x": 1}}, {"a": "missing"}, {"a": None}),
        ({"a": {"x": 1}}, {"b": "a", "b.y": "2"}, {"a": {"x": 1}, "b": {"x": 1, "y": 2}}),
        ({"a": {"x": 1}}, {"b": "a", "a.y": "2"}, {"a": {"x": 1, "y": 2}, "b": {"x": 1}}),
        ({"a": {"x": 1}}, {"a.y": "2", "b": "[a]", "a.z": "3"}, {
            "a": {"x": 1, "y": 2, "z": 3}, "b": [{"x": 1, "y": 2}],
        }),
        ({"a": 1}, {"all": "$", "a": "2"}, {"all": {"a": 1}, "a": 2}),
        ({"a": 1}, {"all": "$", "all.b": "2", "a": "3"}, {"all": {"a": 1, "b": 2}, "a": 3}),
    ],
)  # fmt: skip
def test_set(event: Any, changes: dict[str, str], expected: Any) -> None:
    assert one(event, set=changes) == expected


@pytest.mark.parametrize(
    ("event", "moves", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": "c"}, {"b": 2, "c": 1}),
        ({"a": 1, "b": 2}, {"a": "b", "b": "a"}, {"a": 2, "b": 1}),
        ({"a": {"b": 1}}, {"a.b": "b"}, {"a": {}, "b": 1}),
        ({"a": 1}, {"a": "a.b"}, {"a": {"b": 1}}),
        ({"a": None}, {"a": "b"}, {"b": None}),
        ({"a": 1}, {"x": "y", "x.z": "y"}, {"a": 1}),
    ],
)
def test_rename(event: Any, moves: dict[str, str], expected: Any) -> None:
    assert one(event, rename=moves) == expected


def test_what_was_renamed_can_be_written_below() -> None:
    event = {"a": {"x": 1}, "c": {"y": {}}}
    settings = {"rename": {"a": "b", "c.y": "b.z"}, "set": {"b.n": "b.x + 1", "b.z.m": "2"}}
    assert one(event, **settings) == {"b": {"x": 1, "z": {"m": 2}, "n": 2}, "c": {}}


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("12", "int", 12),
        (3.9, "int", 3),
        (True, "int", 1),
        ("1.5", "float", 1.5),
        (2, "float", 2.0),
        (2, "string", "2"),
        (True, "string", "true"),
        ("no", "string", "no"),
        ("true", "bool", True),
        (0, "bool", False),
        ("2025-11-19T10:30:00Z", "timestamp", 1763548200000),
        (1763548200000, "timestamp", 1763548200000),
        (None, "int", None),
    ],
)
def test_convert(value: Any, kind: Any, expected: Any) -> None:
    (converted,) = one({"a": {"v": value}}, convert={"a.v": kind})["a"].values()
    assert (converted, type(converted)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("value", "kind"),
    [("x", "int"), ([], "string"), ("maybe", "bool"), ("nan", "float"), ("today", "timestamp")],
)
def test_what_cannot_be_converted_is_rejected(value: Any, kind: Any) -> None:
    result = apply(Map, [{"a": {"v": value}}, {"a": {}}], convert={"a.v": kind})
    assert result.reasons == {0: "convert"}
    assert result.rejects[0].message.startswith("a.v: ")
    assert result.values == [{"a": {}}]


def test_remove_and_keep() -> None:
    event = {"a": 1, "b": {"c": 1, "d": 2}, "e": {}}
    assert one(event, remove=("a", "b.c", "e.x", "z.z")) == {"b": {"d": 2}, "e": {}}
    assert one(event, keep=("b.d", "a", "z")) == {"b": {"d": 2}, "a": 1}
    assert one(event, keep=("b.d", "b")) == {"b": {"c": 1, "d": 2}}
    assert one(event, keep=("b.x",)) == {}
    assert one(event, keep=()) == {}


def test_the_keys_of_a_table_have_an_order_and_then_goes_on() -> None:
    settings = {
        "rename": {"old": "price"},
        "convert": {"price": "int"},
        "set": {"total": "price * 2"},
        "remove": ("price",),
        "then": (Changes(set={"price": "total"}), Changes(keep=("price",))),
    }
    assert one({"old": "4", "x": 1}, **settings) == {"price": 8}


def test_a_step_that_fails_rejects_its_event_alone_and_says_why() -> None:
    events: list[Any] = [{"a": 1}, {"a": "x"}, {"a": 2, "b": 5}, 7, None]
    result = apply(Map, events, set={"b.c": "a + 1"})
    assert result.values == [{"a": 1, "b": {"c": 2}}]
    assert result.reasons == {
        1: "expression",
        2: "not_an_object",
        3: "expression",
        4: "expression",
    }
    assert result.rejects[2].message == "expected an object at b, got int"
    assert "object at $, got int" in apply(Map, [7], set={"b": "1"}).rejects[0].message


@pytest.mark.parametrize(
    "settings",
    [
        {"convert": {"n": "int", "m": "float"}},
        {"rename": {"x": "y"}},
        {"remove": ("x", "deep.x")},
        {"keep": ("n", "deep", "deep.er")},
        {"keep": ("deep.er", "n", "s")},
    ],
)
def test_the_very_batch_goes_on_when_nothing_changes(settings: dict[str, Any]) -> None:
    assert passes_untouched(build(Map, **settings), batch_of([{"n": 1, "deep": {"er": 1}}] * 3))


class Inner(msgspec.Struct, frozen=True, rename="camel", tag="inner"):
    some_text: str
    gone: str | msgspec.UnsetType = msgspec.UNSET


class Outer(msgspec.Struct, frozen=True):
    id: str
    inner: Inner
    other: Inner


def test_structs_become_dicts_only_where_something_is_written() -> None:
    event = Outer("a", Inner("x"), Inner("y"))
    changed = one(event, set={"inner.more": "upper(inner.someText)"})
    assert changed["inner"] == {"type": "inner", "someText": "x", "more": "X"}
    assert changed["other"] is event.other
    both = batch_of([event, {"inner": {"someText": 1}}])
    result = process(build(Map, convert={"inner.someText": "string"}), both)
    assert result.values[0] is event, "nothing to convert in it"
    assert result.values[1] == {"inner": {"someText": "1"}}


@pytest.mark.parametrize(
    ("settings", "path", "message"),
    [
        ({}, "", "nothing to do"),
        ({"set": {"a.b": "1 +"}}, 'set."a.b"', "column 4"),
        ({"set": {"a[0]": "1"}}, 'set."a[0]"', "explode"),
        ({"set": {"$": "1"}}, 'set."$"', "whole event"),
        ({"rename": {"a": "b c"}}, "rename.a", "column"),
        ({"remove": ("ok", "1")}, "remove[1]", "path"),
        ({"convert": {"a+": "int"}}, 'convert."a+"', "column"),
        ({"then": (Changes(keep=("a",)), Changes(set={"a": "$$"}))}, "then[1].set.a", "column"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(Map, **settings)
    assert error.value.path == path
    assert message in str(error.value)


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(".".join)
EVENTS = st.recursive(
    st.none() | st.integers(-9, 9) | st.text("xyz", max_size=2),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=12,
)
CHANGES = st.builds(
    Changes,
    rename=st.dictionaries(PATHS, PATHS, max_size=2),
    convert=st.dictionaries(PATHS, st.sampled_from(["int", "string", "bool"]), max_size=1),
    set=st.dictionaries(PATHS, PATHS | st.just("$") | PATHS.map("[{0}, {0}]".format), max_size=3),
    remove=st.lists(PATHS, max_size=2).map(tuple),
    keep=st.none() | st.lists(PATHS, max_size=3).map(tuple),
)


@given(st.lists(EVENTS, max_size=4), st.lists(CHANGES, min_size=1, max_size=3))
def test_no_change_of_any_kind_touches_what_came_in(
    events: list[Any], changes: list[Changes]
) -> None:
    try:
        step = build(Map, then=tuple(changes))
    except ConfigError:
        return
    before = copy.deepcopy(events)
    result = process(step, batch_of(events))
    assert events == before
    assert len(result.values) + len(result.rejects) == len(events)
    msgspec.json.encode(result.values)  # no event has become a part of itself


@given(EVENTS, st.lists(st.tuples(PATHS, PATHS | st.just("$")), min_size=1, max_size=5))
def test_set_means_what_a_deep_copy_means(event: Any, sets: list[tuple[str, str]]) -> None:
    """The shared, partial copies behave as if every value had been copied whole."""
    step = build(Map, then=tuple(Changes(set={path: value}) for path, value in sets))
    result = process(step, batch_of([event]))
    try:
        expected = copy.deepcopy(event)
        for path, value in sets:
            _assign(expected, path.split("."), copy.deepcopy(_read(expected, value)))
    except TypeError:
        assert result.reasons == {0: "not_an_object"}
    else:
        assert result.values == [expected]


def _read(event: Any, path: str) -> Any:
    for name in [] if path == "$" else path.split("."):
        event = event.get(name) if isinstance(event, dict) else None
    return event


def _assign(event: Any, path: list[str], value: Any) -> None:
    for name in path[:-1]:
        if not isinstance(event, dict):
            raise TypeError
        if event.get(name) is None:
            event[name] = {}
        event = event[name]
    if not isinstance(event, dict):
        raise TypeError
    event[path[-1]] = value
