"""From a batch to columns: sources, windows, events of any shape."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.api import FAILED, VALID, Batch, ConfigError, Span, merge
from streamd.testing.batches import START_MS, batch_of
from streamd_columns import (
    MISSING,
    ColumnDef,
    Columns,
    Unfit,
    parse_mapping,
    parse_source,
)
from streamd_expressions import compile_path

ENCODER = msgspec.json.Encoder()


class Inner(msgspec.Struct, rename="camel"):
    some_name: str
    maybe: int | msgspec.UnsetType = msgspec.UNSET


class Event(msgspec.Struct):
    id: str
    payload: Inner


def column(source: str, batch: Batch, start: int = 0, stop: int | None = None) -> list[Any]:
    return Columns(batch, ENCODER, start, stop).of(parse_source(source))


def events() -> Batch:
    values = [
        {"id": "a", "payload": {"n": 1, "list": [1, {"x": 2}]}},
        {"id": "b", "payload": {"n": None, "s": "text"}},
        {"id": "c", "payload": None},
        {"id": "d"},
    ]
    one = batch_of(values[:3], keys=[b"k", None, b"l"], headers=[[("h", b"1")], None, []])
    one.statuses = [VALID, FAILED, VALID]
    two = batch_of(values[3:], partition="other:5", first=70, raws=[None])
    return merge([one, two])


EXPECTED: dict[str, list[Any]] = {
    "id": ["a", "b", "c", "d"],
    "payload.n": [1, None, MISSING, MISSING],
    "payload.list[1].x": [2, MISSING, MISSING, MISSING],
    "@json payload.n": [b"1", b"null", MISSING, MISSING],
    "@json payload": [b'{"n":1,"list":[1,{"x":2}]}', b'{"n":null,"s":"text"}', b"null", MISSING],
    "@text payload.n": [b"1", None, MISSING, MISSING],
    "@text payload.s": [MISSING, "text", MISSING, MISSING],
    "@ms payload.n": [1, None, MISSING, MISSING],
    "@status": [VALID, FAILED, VALID, VALID],
    "@offset": [0, 1, 2, 70],
    "@partition": ["events:0"] * 3 + ["other:5"],
    "@topic": ["events"] * 3 + ["other"],
    "@key": [b"k", None, b"l", None],
    "@header h": [b"1", MISSING, MISSING, MISSING],
    "@timestamp": [START_MS, START_MS + 1000, START_MS + 2000, START_MS + 70_000],
}


@pytest.mark.parametrize(("source", "expected"), EXPECTED.items())
def test_sources(source: str, expected: list[Any]) -> None:
    batch = events()
    assert column(source, batch) == expected
    for start in range(5):
        for stop in range(start, 6):
            assert column(source, batch, start, stop) == expected[start:stop]


def test_whole_event_and_raw() -> None:
    batch = events()
    assert msgspec.json.decode(column("@json", batch)[0]) == batch.values[0]
    assert column("@raw", batch)[3] is None
    assert column("$", batch) == batch.values


def test_a_batch_that_has_none_of_it() -> None:
    batch = Batch([{}, {}], offsets=[1, 2], timestamps=[0, 0], spans=[Span("s:0", 1, 3, 2)])
    assert column("@raw", batch) == column("@key", batch) == [None, None]
    assert column("@header h", batch) == [MISSING, MISSING]
    assert column("@status", batch) == [VALID, VALID]


def test_a_batch_that_is_not_decoded() -> None:
    batch = Batch.of_raws([b"x", None], partition="s:0", offsets=[1, 2], timestamps=[0, 0])
    assert column("@raw", batch) == [b"x", None]
    assert column("payload.n", batch) == [MISSING, MISSING]


def test_structs() -> None:
    full, bare = Event("a", Inner("x", 5)), Event("b", Inner("y"))
    batch = batch_of([full, bare, {"id": "c", "payload": {"someName": "z"}}], raws=[b""] * 3)
    assert column("id", batch) == ["a", "b", "c"]
    assert column("payload.someName", batch) == ["x", "y", "z"]
    assert column("payload.some_name", batch) == [MISSING] * 3
    assert column("payload.maybe", batch) == [5, MISSING, MISSING]
    alike = batch_of([full, bare], raws=[b""] * 2)
    assert column("payload.maybe", alike) == [5, MISSING]
    assert column("payload.someName", alike) == ["x", "y"]
    assert column("@json payload", alike)[1] == b'{"someName":"y"}'


def test_what_json_cannot_say() -> None:
    values = [{"v": {"deep": object()}}, {"v": 1}, {}]
    found = column("@json v", batch_of(values, raws=[b""] * 3))
    assert isinstance(found[0], Unfit)
    assert "cannot be written as JSON" in found[0].message
    assert found[1:] == [b"1", MISSING]


FIELD = st.sampled_from(["a", "b"])
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(FIELD, inner, max_size=2) | st.lists(inner, max_size=2),
    max_leaves=6,
)


@given(st.lists(VALUES, max_size=6), st.sampled_from(["a", "a.b", "a.b.a", "a[0]", "b[-1].a"]))
def test_a_column_is_what_the_path_gives_for_each_event(values: list[Any], path: str) -> None:
    batch = batch_of(values, raws=[b""] * len(values))
    get = compile_path(path)
    assert column(path, batch) == [get(value) for value in values]


def test_columns_of_one_batch_do_not_disturb_each_other() -> None:
    columns = Columns(events(), ENCODER)
    for source, expected in EXPECTED.items():
        assert columns.of(parse_source(source)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@jsn payload", "unknown source @jsn; known are @header, @json"),
        ("@text", "@text needs a path"),
        ("@ms ", "@ms needs a path"),
        ("@header", "@header needs the name"),
        ("@offset 5", "@offset takes nothing"),
        ("payload.", "payload"),
        ("1 + 1", "expected a field path"),
        ("", "empty"),
    ],
)
def test_a_source_that_is_none(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_source(text)


def test_a_mapping() -> None:
    mapped = parse_mapping({"a": "id", "b": ColumnDef("payload.b", "Int8")})
    assert [(m.name, m.source.text, m.type) for m in mapped] == [
        ("a", "id", None),
        ("b", "payload.b", "Int8"),
    ]
    with pytest.raises(ConfigError) as caught:
        parse_mapping({"a": "id", "b": ColumnDef("@nope")})
    assert caught.value.path == "columns.b"


def test_where_a_value_stands() -> None:
    assert parse_source('payload.list[1]["odd key"]').json_path == "$.payload.list[1].odd key"
