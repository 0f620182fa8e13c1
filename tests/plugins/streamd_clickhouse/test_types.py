"""Column types: what fits is stored as it was, and what would be changed does not fit.

Encoded columns are compared with the client library's encoder and read back by its decoder.
"""

import asyncio
import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from asynch.proto import columns as library
from asynch.proto.context import Context
from asynch.proto.streams.buffered import BufferedReader, BufferedWriter
from hypothesis import given
from hypothesis import strategies as st

from streamd_clickhouse.rows import Column, fit_column
from streamd_clickhouse.types import FIT_ERRORS, UnknownType, parse_type
from streamd_columns import MISSING, parse_source

INTS = {f"{u}Int{b}": (u, b) for u in ("", "U") for b in (8, 16, 32, 64, 128, 256)}
NOON = datetime(2025, 11, 19, 10, 30, tzinfo=UTC)


def context() -> Context:
    made = Context()
    made.server_info = SimpleNamespace(timezone="UTC", revision=54453)
    made.client_settings = {"strings_as_bytes": True}
    return made


async def library_encode(spelling: str, values: list[Any]) -> bytes:
    writer: Any = BufferedWriter()  # type: ignore[no-untyped-call]
    await library.write_column(  # type: ignore[no-untyped-call]
        None, writer, context(), "c", spelling, list(values)
    )
    return bytes(writer.buffer)


async def library_decode(spelling: str, data: bytes, rows: int) -> list[Any]:
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    reader: Any = BufferedReader(stream)  # type: ignore[no-untyped-call]
    return list(
        await library.read_column(  # type: ignore[no-untyped-call]
            reader, None, context(), spelling, rows
        )
    )


async def stored(spelling: str, values: list[Any]) -> list[Any]:
    """What is read back of values that fit."""
    kind = parse_type(spelling)
    fitted = kind.fit(values)
    assert kind.fit(fitted) == fitted
    data = kind.prefix + kind.encode(fitted)
    assert kind.prefix + kind.write(values) == data
    return await library_decode(spelling, data, len(values))


EXAMPLES: list[tuple[str, list[Any]]] = [
    *((name, [0, 1, 100]) for name in INTS),
    ("Int64", [-(2**63), 2**63 - 1]),
    ("UInt8", [0, 255]),
    ("Float64", [0.5, -1e300, 2**53]),
    ("Float32", [0.5, 3.0]),
    ("Bool", [True, False]),
    ("String", ["plain", "süß", "", "x" * 20_000, b"\xff\x00"]),
    ("String", ["ascii", "only", ""]),
    ("FixedString(5)", ["abcde", "ü", b""]),
    ("UUID", [UUID(int=5), "123e4567-e89b-12d3-a456-426614174000"]),
    ("Date", ["2025-11-19", date(1970, 1, 1), date(2149, 6, 6)]),
    ("DateTime", ["2025-11-19T10:30:00Z", 0, NOON]),
    ("DateTime('Asia/Tokyo')", ["2025-11-19T10:30:00+09:00"]),
    ("DateTime64(3)", ["2025-11-19T10:30:00.123Z", 1, NOON]),
    ("DateTime64(6, 'UTC')", ["1969-12-31T23:59:59.999999Z"]),
    ("Enum8('a' = -1, 'it\\'s' = 2)", ["a", "it's", 2]),
    ("Enum16('x' = 1000)", ["x"]),
    ("Decimal(9, 2)", [1, "1.25", 0.1, Decimal("-3.5")]),
    ("Decimal(18, 4)", ["12345678901234.5678"]),
    ("Decimal(38, 10)", ["1234567890123456789012345678.0123456789"]),
    ("IPv4", ["192.168.1.1", IPv4Address("10.0.0.1")]),
    ("IPv6", ["::1", IPv6Address("2001:db8::1")]),
    ("Nullable(Int32)", [1, None, -1]),
    ("Nullable(String)", ["a", None]),
    ("Nullable(DateTime)", [None, "2025-11-19T10:30:00Z"]),
    ("LowCardinality(String)", ["a", "b", "a"]),
    ("LowCardinality(Nullable(String))", ["a", None, "a"]),
    ("Array(String)", [["a", "b"], [], ("c",)]),
    ("Array(Nullable(UInt16))", [[1, None], []]),
    ("Array(Array(Int8))", [[[1], [2, 3]], [], [[]]]),
    ("Array(LowCardinality(String))", [["a", "b"], [], ["a"]]),
    ("Map(String, UInt8)", [{"a": 1, "b": 2}, {}]),
    ("Map(String, Array(String))", [{"a": ["x"]}]),
]


@pytest.mark.parametrize(("spelling", "values"), EXAMPLES)
async def test_encodes_as_the_client_library_does(spelling: str, values: list[Any]) -> None:
    kind = parse_type(spelling)
    fitted = kind.fit(values)
    ours = kind.prefix + kind.encode(fitted)
    assert ours == await library_encode(spelling, fitted)
    assert kind.prefix + kind.write(values) == ours


async def test_times_are_read_back_as_the_same_moment() -> None:
    tokyo = timezone(timedelta(hours=9))
    values = ["2025-11-19T10:30:00Z", "2025-11-19T19:30:00+09:00", NOON.astimezone(tokyo)]
    values += ["2025-11-19T10:30:00", int(NOON.timestamp())]
    for spelling in ("DateTime", "DateTime64(3)"):
        assert await stored(spelling, values) == [NOON.replace(tzinfo=None)] * 5
    assert await stored("Date", values[:4]) == [NOON.date()] * 4


async def test_a_fraction_is_kept_as_far_as_the_column_goes() -> None:
    text = "2025-11-19T10:30:00.123456789Z"
    seconds = int(NOON.timestamp())
    kind = parse_type("DateTime64(9)")
    assert kind.fit([text]) == [seconds * 10**9 + 123456789]
    assert parse_type("DateTime64(6)").fit([text]) == [seconds * 10**6 + 123456]
    assert parse_type("DateTime64(3)").fit([text]) == [seconds * 10**3 + 123]
    assert parse_type("DateTime").fit([text]) == [seconds]
    assert kind.fit(["2025-11-19T10:30:00.5Z"]) == [seconds * 10**9 + 5 * 10**8]


async def test_event_time_in_milliseconds() -> None:
    ms = int(NOON.timestamp()) * 1000 + 7
    assert parse_type("DateTime").fit_ms([ms]) == [ms // 1000]
    assert parse_type("DateTime64(6)").fit_ms([ms]) == [ms * 1000]
    assert parse_type("DateTime64(0)").fit_ms([ms]) == [ms // 1000]
    assert parse_type("Date").fit_ms([ms, -1 + 86_400_000]) == [NOON.date(), date(1970, 1, 1)]
    assert parse_type("Int64").fit_ms([ms]) == [ms]
    assert parse_type("String").fit_ms([ms]) == ["2025-11-19T10:30:00.007Z"]
    assert parse_type("Nullable(DateTime)").fit_ms([ms, None]) == [ms // 1000, None]


MISFITS: list[tuple[str, Any]] = [
    ("Int32", 2**31),
    ("Int32", True),
    ("Int32", 1.0),
    ("Int32", "1"),
    ("UInt64", -1),
    ("UInt64", 2**64),
    ("UInt8", 256),
    ("Float64", math.nan),
    ("Float64", -math.inf),
    ("Float64", 2**53 + 1),
    ("Float64", 10**400),
    ("Float64", True),
    ("Float32", 1e39),
    ("Float32", -1e39),
    ("Float32", 2**24 + 1),
    ("Bool", 1),
    ("String", 5),
    ("String", "\ud800"),
    ("String", ["a"]),
    ("FixedString(2)", "abc"),
    ("UUID", "no"),
    ("Date", "1969-12-31"),
    ("Date", "2149-06-07"),
    ("Date", 5),
    ("DateTime", 1_763_548_200_000),
    ("DateTime", -1),
    ("DateTime", "yesterday"),
    ("DateTime", True),
    ("DateTime64(3)", 1_763_548_200_000),
    ("DateTime64(9)", "2290-01-01T00:00:00Z"),
    ("Enum8('a' = 1)", "b"),
    ("Enum8('a' = 1)", True),
    ("Decimal(9, 2)", "1.234"),
    ("Decimal(9, 2)", 10**7),
    ("Decimal(9, 2)", math.nan),
    ("Decimal(9, 2)", "1e999999999"),
    ("IPv4", "1.2.3"),
    ("Nullable(Int8)", 300),
    ("Array(Int8)", [1, 300]),
    ("Array(Int8)", "abc"),
    ("Array(Int8)", [None]),
    ("Map(String, Int8)", {"a": "b"}),
    ("Map(String, Int8)", [["a", 1]]),
]


@pytest.mark.parametrize(("spelling", "value"), MISFITS)
def test_what_would_be_changed_is_refused(spelling: str, value: Any) -> None:
    kind = parse_type(spelling)
    with pytest.raises(FIT_ERRORS):
        kind.fit([value])
    with pytest.raises(FIT_ERRORS):
        kind.write([kind.zero, value])
    column = Column("c", parse_source("c"), spelling, kind)
    fitted = fit_column(column, [value, MISSING], reject_missing=False)
    assert list(fitted.misfits) == [0]
    assert len(fitted.misfits[0]) < 300


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-300, 300)
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
SPELLINGS = [*INTS, "Float32", "Float64", "Bool", "String", "Nullable(String)", "Nullable(Int16)"]
SPELLINGS += ["LowCardinality(String)", "Array(Int32)", "Map(String, Float64)", "FixedString(20)"]


def same(before: Any, after: Any, spelling: str) -> bool:
    """Whether what was read back is what went in, as the column's type sees it."""
    if isinstance(before, str):
        before = before.encode()
    if spelling.startswith("FixedString"):
        return bool(bytes(after) == before.ljust(20, b"\0"))
    if spelling == "Float32":
        return math.isclose(before, after, rel_tol=1e-6, abs_tol=1e-44)
    if isinstance(before, dict):
        return bool({key.encode(): value for key, value in before.items()} == after)
    if spelling == "UInt8":
        return bool(before == after)
    same_type = isinstance(before, bool) == isinstance(after, bool)
    return same_type and bool(before == after)


@given(st.sampled_from(SPELLINGS), st.lists(ANYTHING, max_size=5))
async def test_a_value_is_stored_as_it_is_or_named(spelling: str, values: list[Any]) -> None:
    kind = parse_type(spelling)
    column = Column("c", parse_source("c"), spelling, kind)
    fitted = fit_column(column, values, reject_missing=True)
    good = [value for row, value in enumerate(values) if row not in fitted.misfits]
    kept = [value for row, value in enumerate(fitted.values) if row not in fitted.misfits]
    data = kind.prefix + kind.encode(kept)
    after = await library_decode(spelling, data, len(kept)) if kept else []
    for before, now in zip(good, after, strict=True):
        assert same(before, now, spelling), (before, now)
    if good:
        assert kind.prefix + kind.write(good) == data


@given(st.lists(st.datetimes(datetime(1970, 1, 2), datetime(2106, 1, 1)), min_size=1))
async def test_iso_text_is_the_moment_it_says(moments: list[datetime]) -> None:
    texts = [moment.isoformat() + "Z" for moment in moments]
    assert await stored("DateTime64(6)", texts) == moments
    whole = [moment.replace(microsecond=0) for moment in moments]
    assert await stored("DateTime", texts) == whole


@given(st.lists(st.text(max_size=300) | st.binary(max_size=300), min_size=1))
async def test_slices_of_a_column_join(values: list[str | bytes]) -> None:
    kind = parse_type("String")
    half = len(values) // 2
    assert kind.joins
    assert kind.write(values[:half]) + kind.write(values[half:]) == kind.write(values)


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 70_000])
async def test_a_large_dictionary_gets_wider_indexes(rows: int) -> None:
    values = [str(row) for row in range(rows)]
    assert await stored("LowCardinality(String)", values) == [v.encode() for v in values]


@pytest.mark.parametrize(
    "spelling", ["JSON", "AggregateFunction(sum, UInt8)", "Tuple(String, UInt8)", "", "Enum8(x)"]
)
def test_a_type_that_cannot_be_written(spelling: str) -> None:
    with pytest.raises(UnknownType):
        parse_type(spelling)
