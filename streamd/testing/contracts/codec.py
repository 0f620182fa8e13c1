"""What every codec does.

class TestMyCodec(CodecContract):
    @pytest.fixture
    def subject(self) -> MySubject: ...
"""

from __future__ import annotations

import copy
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import pytest

from streamd.api import Codec, Reject, Rejected
from streamd.testing.batches import sample_event
from streamd.testing.codecs import decode, encode

GARBAGE: tuple[bytes, ...] = (
    b"",
    b" ",
    b"\x00",
    b"\xff\xfe\xfd",
    b"{",
    b'{"id": ',
    b'{"id": "\xc3\x28"}',
    b'{"id": "\\ud8',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"nul",
    b"\xef\xbb\xbf{",
    bytes(range(256)),
)


class CodecSubject(ABC):
    """How to build the codec, and what it does and does not take."""

    @abstractmethod
    def make(self) -> Codec:
        """A new codec, always with the same settings."""

    def values(self) -> Sequence[Any]:
        """Events that come back as they went in; at least three."""
        return [sample_event(0), sample_event(1, "漢字 \U0001f600 \x00 \n"), sample_event(2, "")]

    def malformed(self) -> Sequence[bytes]:
        """Records that no codec of the kind may accept."""
        return GARBAGE

    def unencodable(self) -> Any:
        """A value that cannot be encoded; None if there is none."""
        return object()

    def same(self, decoded: Any, value: Any) -> bool:
        """Whether a decoded event is the one that was encoded."""
        return bool(decoded == value)


class CodecContract:
    """Inherit it and give the fixture `subject`."""

    @pytest.fixture
    def subject(self) -> CodecSubject:
        raise NotImplementedError("override the fixture `subject`")

    async def test_events_come_back(self, subject: CodecSubject) -> None:
        codec, values = subject.make(), list(subject.values())
        decoded, rejects = await decode(codec, await encode(codec, values))
        assert rejects == {}
        assert len(decoded) == len(values)
        for there, back in zip(values, decoded, strict=True):
            assert subject.same(back, there), (there, back)

    async def test_another_instance_reads_it(self, subject: CodecSubject) -> None:
        values = list(subject.values())
        records = await encode(subject.make(), values)
        assert all(isinstance(record, bytes) for record in records)
        decoded, rejects = await decode(subject.make(), records)
        assert rejects == {}
        assert all(map(subject.same, decoded, values))

    async def test_encoding_is_deterministic(self, subject: CodecSubject) -> None:
        values = list(subject.values())
        assert await encode(subject.make(), values) == await encode(subject.make(), values)

    async def test_encode_does_not_change_the_events(self, subject: CodecSubject) -> None:
        values = list(subject.values())
        before = copy.deepcopy(values)
        await encode(subject.make(), values)
        assert values == before

    async def test_nothing_in_nothing_out(self, subject: CodecSubject) -> None:
        codec = subject.make()
        assert await decode(codec, []) == ([], {})
        assert await encode(codec, []) == []

    async def test_malformed_records_are_rejected(self, subject: CodecSubject) -> None:
        malformed = list(subject.malformed())
        values, rejects = await decode(subject.make(), malformed)
        accepted = [malformed[i][:60] for i in range(len(malformed)) if i not in rejects]
        assert accepted == []
        assert values == [None] * len(malformed)
        _are_rejects(rejects)

    async def test_one_bad_record_does_not_touch_the_others(self, subject: CodecSubject) -> None:
        codec, values = subject.make(), list(subject.values())
        records: list[bytes | None] = []
        for record in await encode(codec, values):
            records += [record, subject.malformed()[0]]
        decoded, rejects = await decode(codec, records)
        assert sorted(rejects) == list(range(1, len(records), 2))
        assert decoded[1::2] == [None] * len(values)
        assert all(map(subject.same, decoded[::2], values))

    async def test_tombstones_are_rejected(self, subject: CodecSubject) -> None:
        values, rejects = await decode(subject.make(), [None])
        assert values == [None]
        assert list(rejects) == [0]
        _are_rejects(rejects)

    async def test_random_bytes_never_raise(self, subject: CodecSubject) -> None:
        codec, chance = subject.make(), random.Random(7)
        records = [chance.randbytes(chance.randrange(200)) for _ in range(500)]
        values, rejects = await decode(codec, records)
        assert len(values) == len(records)
        _are_rejects(rejects)

    async def test_damaged_records_never_raise(self, subject: CodecSubject) -> None:
        codec, chance = subject.make(), random.Random(8)
        damaged = []
        for record in await encode(codec, list(subject.values())) * 50:
            copied = bytearray(record)
            copied[chance.randrange(len(copied))] = chance.randrange(256)
            damaged += [bytes(copied), record[: chance.randrange(len(record))]]
        values, rejects = await decode(codec, damaged)
        assert len(values) == len(damaged)
        _are_rejects(rejects)

    async def test_unencodable_rows_are_named(self, subject: CodecSubject) -> None:
        bad, good = subject.unencodable(), subject.values()[0]
        if bad is None:
            pytest.skip("every value can be encoded")
        with pytest.raises(Rejected) as caught:
            await encode(subject.make(), [good, bad, good, bad])
        assert sorted(caught.value.rows) == [1, 3]
        _are_rejects(caught.value.rows)

    def test_says_what_it_writes(self, subject: CodecSubject) -> None:
        codec = subject.make()
        assert re.fullmatch(r"[\w.+-]+/[\w.+-]+", codec.content_type)
        assert re.fullmatch(r"(\.\w+)+", codec.extension)


def _are_rejects(rejects: dict[int, Reject]) -> None:
    for reject in rejects.values():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", reject.reason), "a reason is a metric label"
        assert reject.message
        assert len(reject.message) < 2000
