"""The json codec: what it takes, what it refuses and why, what it cannot write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamd.api import Codec, Rejected
from streamd.testing import stage_context
from streamd.testing.contracts.codec import CodecContract, CodecSubject
from streamd_json.codec import JsonCodec

CORPUS = Path(__file__).parent / "corpus"
ACCEPTED = sorted((CORPUS / "accept").iterdir())
REFUSED = sorted(path for path in CORPUS.rglob("*.bin") if path.parent.name != "accept")

# A machine under load is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

HUGE = {
    "malformed_json": [b'"' * 100_001, b"{" + b'"a":1,' * 100_000],
    "number_out_of_range": [
        b"1" * 10_000_000,
        b'{"a":-' + b"9" * 10_000_000 + b"}",
        b"[0." + b"1" * 10_000_000 + b"]",
        b"[1e" + b"1" * 10_000_000 + b"]",
        b'{"s":"' + b"7" * 5000 + b'","n":' + b"7" * 2150 + b"." + b"7" * 4300 + b"}",
    ],
    "too_deep": [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
}


def make(**settings: Any) -> JsonCodec:
    return JsonCodec(JsonCodec.Config(**settings), stage_context("codec"))


class Subject(CodecSubject):
    def make(self) -> Codec:
        return make()

    def unencodable(self) -> Any:
        return {"a": [1.5, {"b": float("nan")}]}


class TestContract(CodecContract):
    @pytest.fixture
    def subject(self) -> CodecSubject:
        return Subject()


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_what_is_json_passes_unchanged(path: Path) -> None:
    raw = path.read_bytes()
    codec = make()
    values, rejects = codec.decode([raw])
    assert rejects == {}
    assert values == [json.loads(raw)]
    assert codec.decode(codec.encode(values)) == (values, {})


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_is_not_is_refused_with_its_reason(path: Path) -> None:
    values, rejects = make().decode([path.read_bytes()])
    assert values == [None]
    assert {row: reject.reason for row, reject in rejects.items()} == {0: path.parent.name}


@pytest.mark.parametrize("reason", HUGE)
def test_huge_records_are_refused(reason: str) -> None:
    _, rejects = make().decode(HUGE[reason])
    assert [rejects[row].reason for row in range(len(HUGE[reason]))] == [reason] * len(HUGE[reason])
    assert all(len(reject.message) < 200 for reject in rejects.values())


def test_no_depth_is_a_surprise() -> None:
    """Somewhere below the interpreter's limit decoding still works and encoding no more does."""
    records = [b"[" * depth + b"]" * depth for depth in range(395, 1100)]
    values, rejects = make().decode(records)
    assert sorted(rejects) == list(range(6, len(records)))
    assert {reject.reason for reject in rejects.values()} == {"too_deep"}
    assert None not in values[:6]


def test_bad_records_do_not_touch_the_good_ones_between_them() -> None:
    good = [path.read_bytes() for path in ACCEPTED]
    bad: list[bytes | None] = [path.read_bytes() for path in REFUSED]
    mixed: list[bytes | None] = [None]
    for row, raw in enumerate(bad):
        mixed += [raw, good[row % len(good)], None]
    before = list(mixed)
    values, rejects = make().decode(mixed)
    assert mixed == before, "the exact bytes go to the dead letters"
    assert sorted(rejects) == [row for row in range(len(mixed)) if row % 3 != 2]
    assert {rejects[row].reason for row in range(0, len(mixed), 3)} == {"tombstone"}
    assert values[2::3] == [json.loads(good[row % len(good)]) for row in range(len(bad))]


def test_the_last_of_two_keys_by_option() -> None:
    assert make(duplicate_keys="last").decode([b'{"a":1,"a":2}']) == ([{"a": 2}], {})


def test_messages_say_where() -> None:
    _, rejects = make().decode([b'{"a": 1, "b": "\xff"}', b'{"a": @}', b"\xef\xbb\xbf{}"])
    assert "byte 15" in rejects[0].message
    assert "byte 6" in rejects[1].message
    assert "byte order mark" in rejects[2].message


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
).filter(lambda value: "inf" not in repr(value))


def twice_keyed(pairs: list[tuple[str, Any]]) -> Any:
    if len({key for key, _ in pairs}) < len(pairs):
        raise KeyError("twice")
    return dict(pairs)


@patient
@given(st.lists(documents, max_size=5), st.booleans(), st.sampled_from([None, 1]))
def test_every_document_comes_through(values: list[Any], ascii_only: bool, indent: int) -> None:
    raws = [json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode() for value in values]
    assert make().decode(raws) == ([json.loads(raw) for raw in raws], {})


@patient
@given(st.lists(documents, min_size=1, max_size=4), st.data())
def test_keys_are_found_twice_if_and_only_if_they_are(values: list[Any], data: Any) -> None:
    """Renaming a key in the text makes duplicates now and then; a strict parser is the oracle."""
    raws = []
    for value in values:
        text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
        keys = sorted({json.dumps(key) for key in _keys(json.loads(text))})
        if len(keys) > 1 and data.draw(st.booleans()):
            text = text.replace(data.draw(st.sampled_from(keys)) + ":", keys[0] + ":")
        raws.append(text.encode())
    expected = set()
    for row, raw in enumerate(raws):
        try:
            json.loads(raw, object_pairs_hook=twice_keyed)
        except KeyError:
            expected.add(row)
    _, rejects = make().decode(raws)
    assert set(rejects) == expected


def _keys(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(key for child in value.values() for key in _keys(child))]
    return [key for child in value for key in _keys(child)] if isinstance(value, list) else []


@patient
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_are_taken_or_refused(raws: list[bytes]) -> None:
    values, rejects = make().decode(raws)
    for row, raw in enumerate(raws):
        if row not in rejects:
            assert json.loads(raw) == values[row]


class Inner(msgspec.Struct, gc=False):
    n: int
    note: str | msgspec.UnsetType | None = msgspec.UNSET


class Outer(msgspec.Struct, gc=False):
    id: str
    inner: Inner


def test_typed_decoding_gives_up_where_the_type_does_not_hold_the_record_in_full() -> None:
    raws: Sequence[bytes | None] = [
        b'{"id":"1","inner":{"n":1}}',
        b'{"id":"2","inner":{"n":1,"more":[1]}}',
        b'{"inner" : {"note":null, "n":2}, "id":"\\u0033"}',
        b'{"id":"4","inner":{"n":1,"n":2}}',
        b'{"id":"5","inner":{"n":"x"}}',
        b"{",
        None,
        b'{"id":"8","inner":{"n":1,"deep":' + b"[" * 500 + b"]" * 500 + b"}}",
        b'{"id":"9","inner":{"n":1,"note":"' + b"[" * 5000 + b'"}}',
        b'{"id":"10","inner":{"n":1},"1":0.' + b"1" * 5000 + b"}",
    ]
    values, failed = make().typed_decoder(Outer)(raws)
    assert failed == {1, 3, 4, 5, 6, 7, 9}
    assert values[0] == Outer("1", Inner(1))
    assert values[2] == Outer("3", Inner(2, None))
    assert values[8].id == "9"
    assert [values[row] for row in sorted(failed)] == [None] * len(failed)


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    "value",
    [
        NAN,
        [INFINITY],
        {"a": {"b": (1.0, -INFINITY)}},
        Inner(n=NAN),  # type: ignore[arg-type]
        "\ud800",
        {"\udfff": 1},
        object(),
        {(1, 2): 3},
    ],
)
def test_what_json_cannot_say_is_refused_by_row(value: Any) -> None:
    with pytest.raises(Rejected) as caught:
        make().encode([{"a": None}, value, {"b": 2**100}])
    assert {row: reject.reason for row, reject in caught.value.rows.items()} == {1: "not_encodable"}


def test_a_value_nested_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(Rejected) as caught:
        make().encode([1, endless])
    assert list(caught.value.rows) == [1]


def test_nulls_and_wide_integers_are_written() -> None:
    assert make().encode([{"a": None, "b": "null"}, 2**70]) == [
        b'{"a":null,"b":"null"}',
        b"1180591620717411303424",
    ]
