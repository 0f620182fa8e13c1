"""From a body to its events: taken apart where they must be, and nowhere else."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd_http.events import complete, split
from streamd_http.refusal import Refused

NOW = 1_763_548_200_123
STAMP = "2025-11-19T10:30:00.123Z"
CORPUS = sorted((Path(__file__).parents[1] / "streamd_json" / "corpus").rglob("*.bin"))

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from(["id", "timestamp", "payload", "a"]), values)
spaces = st.text(" \t\r\n", max_size=2).map(str.encode)


@settings(deadline=None)
@given(objects, spaces, spaces)
def test_what_is_absent_is_filled_in_and_nothing_else_is_touched(
    event: dict[str, Any], before: bytes, within: bytes
) -> None:
    raw = before + json.dumps(event).encode().replace(b"{", b"{" + within, 1) + before
    (whole,), (name,) = complete([raw], NOW)
    decoded = json.loads(whole)
    if "id" in event and "timestamp" in event:
        assert whole == raw
    assert {**decoded, **event} == decoded
    assert decoded.keys() == event.keys() | {"id", "timestamp"}
    if "timestamp" not in event:
        assert decoded["timestamp"] == STAMP
    if "id" not in event:
        assert uuid.UUID(decoded["id"].removeprefix("evt_"))
    assert name == (decoded["id"] if isinstance(decoded["id"], str) else None)


def test_every_event_gets_an_id_of_its_own() -> None:
    raws, ids = complete([b"{}"] * 1000, NOW)
    assert len(set(ids)) == 1000
    assert [json.loads(raw)["id"] for raw in raws] == ids


@settings(deadline=None)
@given(st.lists(values, min_size=1, max_size=5), st.sampled_from([None, 1]))
def test_an_array_is_split_into_its_events(events: list[Any], indent: int | None) -> None:
    raws, single = split(json.dumps(events, indent=indent).encode(), "json")
    assert not single
    assert [json.loads(raw) for raw in raws] == events


@settings(deadline=None)
@given(st.lists(values, min_size=1, max_size=5), st.sampled_from([b"\n", b"\r\n", b"\n\n \n"]))
def test_lines_are_events(events: list[Any], end: bytes) -> None:
    raws, single = split(end.join(json.dumps(event).encode() for event in events), "ndjson")
    assert not single
    assert [json.loads(raw) for raw in raws] == events


@pytest.mark.parametrize("body", [b"", b" \n", b"\n\n"])
def test_a_body_without_an_event_is_refused(body: bytes) -> None:
    for form in ("json", "ndjson"):
        with pytest.raises(Refused) as caught:
            split(body, form)
        assert caught.value.status == 400


@pytest.mark.parametrize(
    "body",
    [b"[]", b"[{}", b"[{},]", b'[{"a":}]', b"[" * 100_000, b"[{}] x", b"[{}][{}]"],
    ids=lambda body: repr(body[:10]),
)
def test_an_array_that_cannot_be_split_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        split(body, "json")
    assert caught.value.status == 400


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_whatever_arrives_goes_on_as_it_is_or_completed(path: Path) -> None:
    body = path.read_bytes()
    try:
        raws, _ = split(body, "json")
    except Refused:
        assert body.strip()[:1] in (b"[", b""), "an array, or nothing"
        return
    whole, ids = complete(raws, NOW)
    assert len(whole) == len(ids) == len(raws)
    for before, after in zip(raws, whole, strict=True):
        assert after == before or after.endswith(before[before.index(b"{") + 1 :])


def test_the_corpus_is_there() -> None:
    assert len(CORPUS) > 20


def test_a_half_read_event_is_not_completed() -> None:
    for raw in (b'{"payload":{', b'{"id":"a"', b"{]", b"\xff", b'{"id": 1e999}', b"{}{}"):
        assert complete([raw], NOW) == ([raw], [None])


def test_an_id_that_is_no_text_is_left_to_the_validators() -> None:
    odd: list[Any] = [None, 5, [], {"id": "x"}]
    for value in odd:
        raw = msgspec.json.encode({"id": value, "timestamp": "t"})
        assert complete([raw], NOW) == ([raw], [None])
