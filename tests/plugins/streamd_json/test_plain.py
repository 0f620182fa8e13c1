"""The codecs for what is no document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from streamd.api import Codec, Rejected
from streamd.testing import stage_context
from streamd.testing.contracts.codec import CodecContract, CodecSubject
from streamd_json.plain import RawCodec, TextCodec


def raw() -> RawCodec:
    return RawCodec(RawCodec.Config(), stage_context("codec"))


def test_raw_bytes_go_through() -> None:
    records = [b"", b"\x00\xff", b"{"]
    assert raw().decode(records) == (records, {})
    assert raw().encode(records) == records


def test_raw_refuses_tombstones_and_what_is_no_bytes() -> None:
    values, rejects = raw().decode([b"a", None])
    assert values == [b"a", None]
    assert {row: reject.reason for row, reject in rejects.items()} == {1: "tombstone"}
    with pytest.raises(Rejected) as caught:
        raw().encode([b"a", "b", {}])
    assert sorted(caught.value.rows) == [1, 2]


class Text(CodecSubject):
    def make(self) -> Codec:
        return TextCodec(TextCodec.Config(), stage_context("codec"))

    def values(self) -> Sequence[Any]:
        return ["a line", "漢字 \U0001f600 \x00 \n", "-"]

    def malformed(self) -> Sequence[bytes]:
        return [b"\xff\xfe", b"a\xc3\x28", b"\xed\xa0\x80", b"cut \xe6\xbc"]

    def unencodable(self) -> Any:
        return "\ud800"


class TestText(CodecContract):
    @pytest.fixture
    def subject(self) -> CodecSubject:
        return Text()


def test_text_refuses_what_is_no_text() -> None:
    with pytest.raises(Rejected) as caught:
        Text().make().encode(["a", {"b": 1}])
    assert list(caught.value.rows) == [1]
