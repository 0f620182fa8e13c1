"""Encoding is strict; decoding takes what a writer can have written and nothing else."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from streamd_avro.builtin import SCHEMAS
from streamd_avro.decoding import compile_decoder
from streamd_avro.encoding import compile_encoder
from streamd_avro.parsing import parse
from streamd_avro.problems import Malformed, NotEncodable, Unresolvable
from streamd_avro.sizes import MAX_EMPTY_ITEMS
from streamd_events import Event
from tests.plugins.streamd_avro.helpers import EVENT, record

LONG_LIST = record("Node", ("value", "int"), ("next", ["null", "Node"], None))
NAN = float("nan")


def round_trip(schema: Any, value: Any) -> Any:
    parsed = parse(schema)
    return compile_decoder(parsed)(compile_encoder(parsed)(value), 0)


def refusal(schema: Any, value: Any) -> str:
    with pytest.raises(NotEncodable) as caught:
        compile_encoder(parse(schema))(value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        ("null", [None]),
        ("boolean", [True, False]),
        ("int", [0, -1, 63, 64, -(2**31), 2**31 - 1]),
        ("long", [0, 127, 128, -(2**63), 2**63 - 1]),
        ("float", [0.5, -(2.0**100), math.inf, 1, 2**24, 2**100]),
        ("double", [0.1, -1e300, math.inf, 2**53]),
        ("bytes", [b"", b"\x00\xff", b"x" * 1000]),
        ("string", ["", "é漢\x00", "x" * 63, "x" * 64, "x" * 10_000]),
        ({"type": "fixed", "name": "F", "size": 2}, [b"ab"]),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, ["A", "B"]),
        ({"type": "array", "items": "int"}, [[], [1, 2, 3]]),
        ({"type": "map", "values": "int"}, [{}, {"a": 1, "": 2}]),
        (["null", "long", "double"], [None, 5, 5.0, 2**62]),
        (["double", "long"], [5, 5.5]),
        (["float", "double"], [0.1]),
        (["boolean", "int"], [True, 1]),
        (["bytes", "string"], [b"a", "a"]),
        (["null", record("R", ("a", "int"))], [None, {"a": 1}]),
        ([record("A", ("a", "int")), record("B", ("b", "int"))], [{"b": 1}, {"a": 1}]),
        ([{"type": "map", "values": "int"}, record("R", ("a", "string"))], [{"a": "x"}, {"a": 1}]),
        (LONG_LIST, [{"value": 1, "next": {"value": 2, "next": None}}]),
    ],
)
def test_values_come_back(schema: Any, values: list[Any]) -> None:
    for value in values:
        back = round_trip(schema, value)
        assert back == value
        assert type(back) is (float if schema in ("float", "double") else type(value))


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        ("null", [0, False, ""]),
        ("boolean", [0, 1, 2, "true", None]),
        ("int", [2**31, -(2**31) - 1, 2**40, 10**5000, 1.0, 1.9, True, "1", None]),
        ("long", [2**63, 10**5000, 1.0, True, "1"]),
        ("float", [1e300, 2**24 + 1, 2**53 + 1, 10**400, True, "1", None]),
        ("double", [2**53 + 1, 10**400, True, "1"]),
        ("bytes", ["x", [1], None]),
        ("string", [b"x", 1, None, "\ud800"]),
        ({"type": "fixed", "name": "F", "size": 2}, [b"a", b"abc", "ab"]),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, ["B", "a", 0, ["A"], 10**5000]),
        ({"type": "array", "items": "int"}, [(1, "x"), "12", {1: 2}, {1}]),
        ({"type": "map", "values": "int"}, [{1: 1}, {"a": "x"}, [("a", 1)]]),
        (["null", "int"], [1.0, "x", True, 2**31]),
        (["int", "string"], [1.0, True, b"x", object()]),
        (record("R", ("a", "int")), [{}, {"a": 1, "b": 2}, [1], None, "a", {"a": None}]),
        (LONG_LIST, [{"value": 1, "next": {"value": "x"}}]),
    ],
)
def test_nothing_is_made_to_fit(schema: Any, values: list[Any]) -> None:
    for value in values:
        assert len(refusal(schema, value)) < 300


def test_a_refusal_says_where() -> None:
    inner = record("I", ("n", {"type": "array", "items": {"type": "map", "values": "int"}}))
    schema = record("R", ("i", ["null", inner], None))
    told = refusal(schema, {"i": {"n": [{}, {"k": "x"}]}})
    assert told == "$.i.n[1]['k']: expected an int, got str"
    assert refusal(schema, {"i": {}}) == "$.i.n: missing, and it has no default"
    assert refusal(schema, {"i": {"n": [], "m": 1}}) == "$.i: not in the schema: 'm'"


def test_extra_fields_can_be_dropped_by_option() -> None:
    schema = parse(record("R", ("a", "int")))
    data = compile_encoder(schema, drop_extra=True)({"a": 1, "b": 2})
    assert compile_decoder(schema)(data, 0) == {"a": 1}


def test_missing_fields_have_their_defaults() -> None:
    schema = record(
        "R",
        ("n", ["null", "int"], None),
        ("m", ["int", "null"], 7),
        ("b", "bytes", "\u00ff"),
        ("l", {"type": "array", "items": "int"}, [1, 2]),
        ("d", {"type": "map", "values": "double"}, {"x": 1}),
        ("e", {"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B"),
        ("r", record("I", ("f", {"type": "fixed", "name": "F", "size": 1}, "a")), {}),
        ("t", {"type": "long", "logicalType": "timestamp-millis"}, 0),
        ("f", "float", 0.5),
        ("s", "string", "s"),
        ("y", "boolean", True),
    )
    expected = {
        "n": None,
        "m": 7,
        "b": b"\xff",
        "l": [1, 2],
        "d": {"x": 1.0},
        "e": "B",
        "r": {"f": b"a"},
        "t": "1970-01-01T00:00:00Z",
        "f": 0.5,
        "s": "s",
        "y": True,
    }
    assert round_trip(schema, {}) == expected
    read = compile_decoder(parse(record("R")), parse(schema))
    first, second = read(b"", 0), read(b"", 0)
    assert first == second == expected
    assert first["l"] is not second["l"], "two events must not share a list"


def test_structs_and_unset_fields() -> None:
    schema = parse(SCHEMAS["IngestEvent"][2])
    encode, decode = compile_encoder(schema), compile_decoder(schema, omit_null=True)
    small: dict[str, Any] = {
        **EVENT,
        "payload": {"event_type": "error", "source": "s", "user_id": None},
    }
    for event in (EVENT, small):
        struct = msgspec.convert(event, Event)
        assert encode(struct) == encode(event)
    assert decode(encode(EVENT), 0) == EVENT
    assert encode({**small, "more": msgspec.UNSET}) == encode(small)
    del small["payload"]["user_id"]
    assert decode(encode(small), 0) == small
    assert compile_decoder(schema)(encode(small), 0)["payload"]["user_id"] is None


OBJECTS = [
    {},
    {"a": "b"},
    {"a": 1, "b": [1.5, None, True, {"c": "\u2028"}], "": {}},
    {"big": 2**70, "neg": -(2**63) - 1, "e": 1e-300},
    {"deep": [[[[[[]]]]]]},
    {"z": "1", "a": "2"},
]


@pytest.mark.parametrize("data", OBJECTS)
@pytest.mark.parametrize("version", [1, 2])
def test_any_json_object_comes_back_as_data(data: Any, version: int) -> None:
    event = {**EVENT, "payload": {"event_type": "error", "source": "s", "data": data}}
    schema = parse(SCHEMAS["IngestEvent"][version])
    back = compile_decoder(schema, omit_null=True)(compile_encoder(schema)(event), 0)
    assert back == event
    assert list(back["payload"]["data"]) == list(data), "keys keep their order"


@pytest.mark.parametrize("data", [{"a": NAN}, {"a": [-math.inf]}, {"a": object()}, {"a": "\ud800"}])
def test_what_json_cannot_say_is_refused(data: Any) -> None:
    schema = SCHEMAS["IngestEvent"][1]
    event = {**EVENT, "payload": {"event_type": "error", "source": "s", "data": data}}
    assert refusal(schema, event).startswith("$.payload.data")


def test_json_nested_too_deep_is_refused_both_ways() -> None:
    schema = parse({"type": "string", "logicalType": "json"})
    fits, too_deep = "[" * 400 + "]" * 400, "[" * 401 + "]" * 401
    plain = compile_encoder(parse("string"))
    assert compile_decoder(schema)(plain(fits), 0)
    for text in (too_deep, "[" * 100_000, '{"a":1,"a":2}', '{"a":{"b":1,"b":1}} ', "nul", "1e999"):
        with pytest.raises(Malformed):
            compile_decoder(schema)(plain(text), 0)
    value: Any = []
    for _ in range(401):
        value = [value]
    assert "deeper" in refusal({"type": "string", "logicalType": "json"}, value)
    assert compile_decoder(schema)(plain('["' + "[" * 1000 + '\\""]'), 0) == ["[" * 1000 + '"']


MILLIS: Any = {"type": "long", "logicalType": "timestamp-millis"}
MICROS: Any = {"type": "long", "logicalType": "timestamp-micros"}
DATE: Any = {"type": "int", "logicalType": "date"}
DECIMAL: Any = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
IPV4: Any = {"type": "fixed", "name": "IP", "size": 4, "logicalType": "ipv4"}


@pytest.mark.parametrize(
    ("schema", "value", "back"),
    [
        (MILLIS, "2025-11-19T10:30:00Z", None),
        (MILLIS, "2025-11-19T10:30:00.120Z", None),
        (MILLIS, "2025-11-19T12:30:00.1+02:00", "2025-11-19T10:30:00.100Z"),
        (MILLIS, datetime(1969, 12, 31, 23, 59, 59, 999000, UTC), "1969-12-31T23:59:59.999Z"),
        (MILLIS, datetime(2025, 1, 1, tzinfo=timezone(timedelta(hours=1))), "2024-12-31T23:00:00Z"),
        (MILLIS, 1000, "1970-01-01T00:00:01Z"),
        (MICROS, "2025-11-19T10:30:00.000001Z", None),
        (DATE, "2025-11-19", None),
        (DATE, date(1969, 12, 31), "1969-12-31"),
        (DATE, 1, "1970-01-02"),
        (DECIMAL, "12.34", None),
        (DECIMAL, "-0.05", None),
        (DECIMAL, Decimal("1E+2"), "100.00"),
        (DECIMAL, 9999, "9999.00"),
        (DECIMAL, 12.5, "12.50"),
        (DECIMAL, -1.28, "-1.28"),
        ({**DECIMAL, "precision": 40, "scale": 0}, "1" + "0" * 38 + "7", None),
        ({**DECIMAL, "type": "fixed", "name": "D", "size": 3}, "-83886.08", None),
        (IPV4, "192.168.1.1", None),
    ],
)
def test_logical_types(schema: Any, value: Any, back: str | None) -> None:
    if schema is not DECIMAL and schema.get("name") == "D":
        schema = {**schema, "precision": 7}
    assert round_trip(schema, value) == (value if back is None else back)


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        (MILLIS, ["2025-11-19T10:30:00", "2025-11-19", "x", "2025-11-19T10:30:00.0001Z", 1.0]),
        (MILLIS, ["2025-W47-3T10:30:00Z", "2025-11-19T10:30:00,5Z", True, None, [], 2**63]),
        (MILLIS, [datetime(2025, 1, 1), "2025-02-30T00:00:00Z"]),
        (MICROS, ["2025-11-19T10:30:00.123456789Z"]),
        (DATE, ["2025-02-30", datetime.now(UTC), True, 1.0, 2**31]),
        (DECIMAL, ["0.001", "10000", "x", "NaN", "1_0", " 1", True, 1e30, 10**5000, "9" * 5000]),
        (DECIMAL, [Decimal("Infinity"), "1e999999999", "1e-999999999", math.nan, b"1"]),
        ({**DECIMAL, "type": "fixed", "name": "D", "size": 2}, ["9999.99"]),
        (IPV4, ["1.2.3", "01.2.3.4", "::1", "1.2.3.4\x00", 5, b"1234"]),
    ],
)
def test_logical_types_are_strict(schema: Any, values: list[Any]) -> None:
    for value in values:
        assert len(refusal(schema, value)) < 300


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        (
            [MILLIS, "string"],
            [
                "2025-11-19T10:30:00Z",
                "2025-11-19T10:30:00.000Z",
                "2025-11-19t10:30:00z",
                "2025-11-19T12:30:00+02:00",
                "2025-11-19T10:30:00.5Z",
                "2025-11-19T10:30:00.123456Z",
                "2025-W47-3T10:30:00Z",
                "0001-01-01T00:00:00Z",
                "9999-12-31T23:59:59.999Z",
                "no time",
                "",
            ],
        ),
        ([DATE, "string"], ["2025-11-19", "20251119", "2025-W47-3"]),
        ([DECIMAL, "string"], ["1.50", "1.5", "01.50", "1e2", "+1.00"]),
        (["null", IPV4, "string"], [None, "10.0.0.1", "10.0.0.01", "fe80::1", "0.0.0.0"]),
        ([{"type": "string", "logicalType": "json"}, {"type": "map", "values": "string"}], [{}, 1]),
    ],
)
def test_beside_another_form_text_comes_back_as_it_was(schema: Any, values: list[Any]) -> None:
    for value in values:
        assert round_trip(schema, value) == value


def test_unknown_logical_types_are_ignored() -> None:
    assert round_trip({"type": "string", "logicalType": "unheard-of"}, "x") == "x"
    assert round_trip({"type": "int", "logicalType": "timestamp-millis"}, 5) == 5
    assert round_trip({"type": "bytes", "logicalType": "decimal", "precision": 0}, b"x") == b"x"


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


ARRAY: Any = {"type": "array", "items": "int"}
MALFORMED: list[tuple[Any, bytes]] = [
    ("boolean", hexed("02")),
    ("boolean", b""),
    ("int", hexed("80808080 10")),  # 2**31
    ("int", hexed("80")),
    ("long", b"\xff" * 9 + b"\x02"),
    ("long", b"\xff" * 10 + b"\x01"),
    ("float", b"abc"),
    ("double", b"1234567"),
    ("bytes", hexed("01")),
    ("bytes", b"\xfe" + b"\xff" * 8 + b"\x01"),
    ("string", hexed("04 61")),
    ("string", hexed("03 6161")),
    ("string", hexed("06 eda080")),
    ({"type": "fixed", "name": "F", "size": 2}, b"a"),
    ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, hexed("01")),
    ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, hexed("04")),
    (["null", "int"], hexed("01")),
    (["null", "int"], hexed("04")),
    (["null", "int"], hexed("8001")),
    (ARRAY, hexed("02 02")),
    (ARRAY, hexed("02 02 8000 00")),
    (ARRAY, hexed("01 04 02 00")),  # a block that says 2 bytes and has 1
    (ARRAY, b"\xff" * 9 + b"\x01\x02\x02\x00"),
    (ARRAY, hexed("00 00")),  # one byte is left over
    ({"type": "map", "values": "int"}, hexed("04 0261 02 0261 04 00")),  # a key twice
    ({"type": "array", "items": "null"}, b"\xfe\xff\xff\xff\x0f\x00"),
    ({"type": "array", "items": record("Z")}, b"\xfe\xff\xff\xff\x0f\x00"),
    ({"type": "array", "items": "null"}, b"\x02\xa0\x9c\x01\x00"),
    (LONG_LIST, b"\x00\x02" * 100_000 + b"\x00\x00"),
    (record("Self", ("self", "Self")), b""),
    (MILLIS, b"\xfe" + b"\xff" * 8 + b"\x01"),
    (DATE, b"\xfe\xff\xff\xff\x0f"),
    (DECIMAL, b"\x0a" + b"\x7f" * 5),
    (DECIMAL, b"\x80\x80\x01" + b"\x7f" * 8192),
]


@pytest.mark.parametrize(("schema", "data"), MALFORMED)
def test_malformed_data_is_refused(schema: Any, data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        compile_decoder(parse(schema))(data, 0)
    assert 0 < len(str(caught.value)) < 300


def test_blocks_may_come_in_pieces_and_with_their_size() -> None:
    decode = compile_decoder(parse(ARRAY))
    assert decode(hexed("02 02 03 04 04 06 00"), 0) == [1, 2, 3]
    of_maps = compile_decoder(parse({"type": "map", "values": "int"}))
    assert of_maps(hexed("01 06 0261 02 02 0262 04 00"), 0) == {"a": 1, "b": 2}


def test_items_of_no_bytes_have_a_limit_both_ways() -> None:
    schema: Any = {"type": "array", "items": "null"}
    most = [None] * MAX_EMPTY_ITEMS
    assert round_trip(schema, most) == most
    assert "no bytes" in refusal(schema, [None, *most])


def test_a_value_nested_without_end_is_refused() -> None:
    endless: dict[str, Any] = {"value": 1}
    endless["next"] = endless
    assert refusal(LONG_LIST, endless) == "$: nested too deep"


def resolved(writer: Any, reader: Any, value: Any) -> Any:
    one, other = parse(writer), parse(reader)
    return compile_decoder(one, other)(compile_encoder(one)(value), 0)


RESOLUTIONS: list[tuple[Any, Any, Any, Any]] = [
    ("int", "long", 5, 5),
    ("int", "double", 5, 5.0),
    ("long", "float", 5, 5.0),
    ("float", "double", 0.5, 0.5),
    ("string", "bytes", "é", "é".encode()),
    ("bytes", "string", b"e", "e"),
    ("int", ["null", "string", "long"], 5, 5),
    ("int", ["double", "int"], 5, 5),
    (["null", "int"], ["int", "null"], None, None),
    (["null", "int"], ["int", "null"], 5, 5),
    (["int", "string"], "string", "x", "x"),
    ({"type": "array", "items": "int"}, {"type": "array", "items": "double"}, [1], [1.0]),
    (
        record("R", ("a", "int"), ("gone", {"type": "array", "items": "string"}), ("b", "int")),
        record("R", ("b", "long"), ("new", "string", "n"), ("a", "int")),
        {"a": 1, "gone": ["x"], "b": 2},
        {"a": 1, "b": 2, "new": "n"},
    ),
    (
        record("Old", ("a", "int"), namespace="x"),
        {
            **record("New", aliases=["x.Old"]),
            "fields": [
                {"name": "b", "type": "int", "aliases": ["a"]},
                {"name": "c", "type": "double", "aliases": ["a"]},
            ],
        },
        {"a": 1},
        {"b": 1, "c": 1.0},
    ),
    (
        {"type": "enum", "name": "E", "symbols": ["A", "B", "C"]},
        {"type": "enum", "name": "E", "symbols": ["C", "A"], "default": "A"},
        "B",
        "A",
    ),
    (
        LONG_LIST,
        record("Node", ("value", "double"), ("next", ["null", "Node"]), ("z", "int", 0)),
        {"value": 1, "next": {"value": 2, "next": None}},
        {"value": 1.0, "next": {"value": 2.0, "next": None, "z": 0}, "z": 0},
    ),
]


@pytest.mark.parametrize(("writer", "reader", "value", "expected"), RESOLUTIONS)
def test_resolution(writer: Any, reader: Any, value: Any, expected: Any) -> None:
    assert resolved(writer, reader, value) == expected


@pytest.mark.parametrize(
    ("writer", "reader", "value"),
    [
        ("string", "int", "x"),
        (["int", "string"], "string", 1),
        (["int", "string"], ["null", "string"], 1),
        (record("A", ("a", "int")), record("B", ("a", "int")), {"a": 1}),
        (record("A", ("a", "int")), record("A", ("a", "int"), ("b", "int")), {"a": 1}),
        (
            {"type": "fixed", "name": "F", "size": 1},
            {"type": "fixed", "name": "F", "size": 2},
            b"a",
        ),
        (
            {"type": "enum", "name": "E", "symbols": ["A", "B"]},
            {"type": "enum", "name": "E", "symbols": ["A"]},
            "B",
        ),
    ],
)
def test_what_the_reader_has_no_place_for_is_told(writer: Any, reader: Any, value: Any) -> None:
    with pytest.raises(Unresolvable) as caught:
        resolved(writer, reader, value)
    assert str(caught.value)


def test_a_union_may_have_many_branches() -> None:
    branches: list[Any] = [record(f"R{n}", (f"f{n}", "int")) for n in range(100)]
    for number in (0, 63, 64, 99):
        assert round_trip(branches, {f"f{number}": 1}) == {f"f{number}": 1}
