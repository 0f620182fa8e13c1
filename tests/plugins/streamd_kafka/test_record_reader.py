"""Reading straight into columns gives what the client itself gives, byte for byte."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from streamd_kafka.columns import columns_of
from streamd_kafka.record_reader import RecordReader
from tests.garbage import uncollected

PARTITION = TopicPartition("events", 3)
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
HEADERS = [("trace", b"\x00\xff"), ("empty", b""), ("null", None)]
Row = tuple[int, bytes | None, bytes | None, list[Any]]


def batch_v2(
    rows: list[Row], *, codec: str = "none", producer: int = -1, transactional: bool = False
) -> bytes:
    """Rows are (offset, key, value, headers)."""
    first = rows[0][0]
    builder = DefaultRecordBatchBuilder(
        2, CODECS[codec], transactional, producer, 0 if producer >= 0 else -1, 0, 1 << 20
    )
    for offset, key, value, headers in rows:
        assert builder.append(offset - first, 1000 + offset, key, value, headers) is not None
    return at_offset(bytes(builder.build()), first)


def at_offset(batch: bytes, offset: int) -> bytes:
    """As the broker does: the base offset is outside of what the checksum covers."""
    return struct.pack(">q", offset) + batch[8:]


def marker(offset: int, producer: int, *, abort: bool) -> bytes:
    """A control batch, which no builder makes: the flag is bit 5 of the attributes."""
    key = struct.pack(">hh", 0, 0 if abort else 1)
    batch = bytearray(
        batch_v2([(offset, key, b"\x00" * 6, [])], producer=producer, transactional=True)
    )
    batch[22] |= 0x20
    return sealed(batch)


def sealed(batch: bytearray) -> bytes:
    """With the right checksum again."""
    batch[17:21] = struct.pack(">I", calc_crc32c(batch[21:]))
    return bytes(batch)


def legacy(rows: list[Row], *, magic: int, codec: str) -> bytes:
    """One message set. A compressed one of version 1 holds offsets relative to its last."""
    builder = LegacyRecordBatchBuilder(magic, CODECS[codec], 1 << 20)
    for number, (offset, key, value, _) in enumerate(rows):
        builder.append(offset if codec == "none" or magic == 0 else number, 1000, key, value)
    built = bytes(builder.build())
    return built if codec == "none" else at_offset(built, rows[-1][0])


def records(
    raw: bytes,
    *,
    position: int = 0,
    committed: bool = True,
    aborted: list[tuple[int, int]] | None = None,
) -> PartitionRecords:
    return PartitionRecords(
        PARTITION,
        MemoryRecords(raw),
        aborted,
        position,
        None,
        None,
        True,
        READ_COMMITTED if committed else READ_UNCOMMITTED,
    )


def by_client(make: Callable[[], PartitionRecords]) -> tuple[list[Any], int]:
    source = make()
    return [fields(record) for record in source], source.next_fetch_offset


def by_reader(make: Callable[[], PartitionRecords], limit: int) -> tuple[list[Any], int]:
    reader = RecordReader(make())
    found = []
    while taken := reader.take(limit):
        assert len(taken) <= limit
        assert reader.next_fetch_offset > taken[-1].offset
        found += [fields(record) for record in taken]
    assert reader.exhausted
    return found, reader.next_fetch_offset


def fields(record: Any) -> tuple[Any, ...]:
    return (
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        tuple(record.headers),
        record.timestamp_type,
    )


def rows_of(first: int, count: int, headers: list[Any] = HEADERS) -> list[Row]:
    return [
        (
            first + n,
            None if n % 3 else b"key %d" % n,
            None if n % 4 == 1 else b"value %d" % n * n,
            headers,
        )
        for n in range(count)
    ]


def same(raw: bytes, limit: int, **options: Any) -> list[Any]:
    expected = by_client(lambda: records(raw, **options))
    assert by_reader(lambda: records(raw, **options), limit) == expected
    return expected[0]


@pytest.mark.parametrize("limit", [1, 7, 30, 1000])
@pytest.mark.parametrize("codec", CODECS)
def test_version_2(codec: str, limit: int) -> None:
    raw = batch_v2(rows_of(0, 20), codec=codec) + batch_v2(rows_of(20, 10, []), codec=codec)
    assert len(same(raw, limit)) == 30


@pytest.mark.parametrize("limit", [1, 7, 1000])
@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4"])
def test_versions_0_and_1(codec: str, magic: int, limit: int) -> None:
    if (codec, magic) == ("lz4", 0):
        pytest.skip("Kafka's frames of that time are not lz4's")
    raw = legacy(rows_of(0, 12), magic=magic, codec=codec)
    raw += legacy(rows_of(12, 5), magic=magic, codec=codec)
    assert len(same(raw, limit)) == 17


@pytest.mark.parametrize("limit", [1, 2, 1000])
@pytest.mark.parametrize("committed", [True, False])
def test_transactions(committed: bool, limit: int) -> None:
    raw = b"".join(
        [
            batch_v2(rows_of(0, 3), producer=7, transactional=True),
            batch_v2(rows_of(3, 2), producer=8, transactional=True),
            batch_v2(rows_of(5, 2)),
            marker(7, 7, abort=True),
            batch_v2(rows_of(8, 2), producer=7, transactional=True),
            marker(10, 8, abort=False),
            marker(11, 7, abort=False),
        ]
    )
    found = same(raw, limit, committed=committed, aborted=[(7, 0)])
    offsets = [row[0] for row in found]
    assert offsets == ([3, 4, 5, 6, 8, 9] if committed else [0, 1, 2, 3, 4, 5, 6, 8, 9])


@pytest.mark.parametrize("limit", [1, 1000])
def test_only_markers(limit: int) -> None:
    raw = marker(0, 7, abort=True) + marker(1, 7, abort=False)
    assert same(raw, limit) == []
    reader = RecordReader(records(raw))
    assert reader.take(10) == []
    assert (reader.next_fetch_offset, reader.exhausted) == (2, True)


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_position_within_a_batch(codec: str) -> None:
    raw = batch_v2(rows_of(0, 20), codec=codec)
    for position in (1, 13, 19, 20):
        for limit in (1, 5, 1000):
            assert len(same(raw, limit, position=position)) == 20 - position


@pytest.mark.parametrize("limit", [1, 1000])
def test_the_end_of_a_batch_may_be_compacted_away(limit: int) -> None:
    batch = bytearray(batch_v2([(0, b"k", b"v", []), (4, b"k", b"v", [])]))
    batch[23:27] = struct.pack(">i", 9)  # last offset delta
    raw = sealed(batch)
    assert len(same(raw, limit)) == 2
    assert by_reader(lambda: records(raw), limit)[1] == 10


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.sampled_from(sorted(CODECS)),
    st.integers(0, 25),
    st.integers(1, 9),
)
def test_any_shape(sizes: list[int], codec: str, position: int, limit: int) -> None:
    raw, offset = b"", 0
    for size in sizes:
        raw += batch_v2(rows_of(offset, size), codec=codec)
        offset += size + 1  # one was compacted away
    same(raw, limit, position=position)


def test_a_wrong_checksum_hides_nothing_before_it() -> None:
    broken = bytearray(batch_v2(rows_of(3, 3)))
    broken[-1] ^= 1
    raw = batch_v2(rows_of(0, 3)) + bytes(broken) + batch_v2(rows_of(6, 3))
    reader = RecordReader(records(raw))
    assert [record.offset for record in reader.take(100)] == [0, 1, 2]
    assert not reader.exhausted
    for _ in range(2):
        with pytest.raises(CorruptRecordException, match="events"):
            reader.take(100)
    assert reader.next_fetch_offset == 3
    with pytest.raises(CorruptRecordException):
        RecordReader(records(bytes(broken), position=3)).take(1)


def test_columns() -> None:
    reader = RecordReader(records(batch_v2(rows_of(5, 3)), position=5))
    columns = columns_of(PARTITION, reader.take(10), reader.next_fetch_offset)
    assert columns.raws == [b"", None, b"value 2value 2"]
    assert columns.keys == [b"key 0", None, None]
    assert columns.headers == [HEADERS] * 3
    assert columns.timestamps == [1005, 1006, 1007]
    assert columns.offsets == range(5, 8)
    batch = columns.batch()
    assert batch.spans[0] == ("events:3", 5, 8, 3)


def test_columns_without_keys_and_headers_but_with_gaps() -> None:
    raw = batch_v2([(5, None, b"v", []), (7, None, b"v", [])])
    columns = columns_of(PARTITION, RecordReader(records(raw)).take(10), 8)
    assert columns.headers is None
    assert columns.keys is None
    assert columns.offsets == [5, 7]


def test_columns_of_records_older_than_timestamps() -> None:
    raw = legacy(rows_of(0, 2), magic=0, codec="none")
    columns = columns_of(PARTITION, RecordReader(records(raw)).take(10), 2)
    assert all(stamp > 1_700_000_000_000 for stamp in columns.timestamps)


def test_a_fetch_is_freed_without_the_collector() -> None:
    with uncollected() as count:
        fetched = records(batch_v2(rows_of(0, 3)))
        reader = RecordReader(fetched)
        assert len(reader.take(10)) == 3
        del fetched, reader
        assert count() == 0
