"""Names from templates."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.api import Batch, merge
from streamd.testing import batch_of
from streamd_files.names import Template, check_names_batches, check_names_events, escape

NOON = 1_763_553_600_000  # 2025-11-19T12:00:00Z


def names(template: str, batch: Batch) -> list[str]:
    parsed = Template(template)
    return [
        parsed.render(own, first=offset, last=offset + 9, content=b"content")
        for own, offset in zip(parsed.columns(batch), batch.offsets, strict=True)
    ]


def one(template: str, event: Any = None, **place: Any) -> str:
    (name,) = names(template, batch_of([event], timestamps=[NOON], **place))
    return name


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("plain.json", "plain.json"),
        ("%Y/%m/%d/%H%M%S", "2025/11/19/120000"),
        ("100%%", "100%"),
        ("{{x}}", "{x}"),
        ("{topic}/{partition}", "events/3"),
        ("{partition:03}", "003"),
        ("{first_offset:06}-{last_offset:06}", "000042-000051"),
        ("{offset}", "42"),
        ("{digest}", "b14a99127497aba3"),
        ("{id}", "evt_1"),
        ("{payload.source}", "web%2Fapp"),
        ("{payload.size}", "7"),
        ("{payload.none.deeper}", "unknown"),
        ("failed/%Y/{id}.json", "failed/2025/evt_1.json"),
    ],
)
def test_fields(template: str, name: str) -> None:
    event = {"id": "evt_1", "payload": {"source": "web/app", "size": 7}}
    assert one(template, event, partition="events:3", first=42) == name


def test_rows_have_their_own_places_and_times() -> None:
    batch = merge(
        [
            batch_of([{}, {}], partition="a:0", first=5, timestamps=[NOON, NOON + 86_400_000]),
            batch_of([{}], partition="b:1", first=9, timestamps=[0]),
        ]
    )
    got = names("{topic}-{partition}-{offset}-%Y%m%d", batch)
    assert got == ["a-0-5-20251119", "a-0-6-20251120", "b-1-9-19700101"]


def test_structs_are_looked_into() -> None:
    class Payload(msgspec.Struct):
        source: str

    class Event(msgspec.Struct):
        payload: Payload

    assert one("{payload.source}", Event(Payload("web"))) == "web"


@pytest.mark.parametrize("timestamp", [-1, -(10**15), 10**18])
def test_times_beyond_the_calendar(timestamp: int) -> None:
    (name,) = names("%Y", batch_of([{}], timestamps=[timestamp]))
    assert name in ("1970", "9999")


def test_dead_letter_ids_are_not_escaped_twice() -> None:
    assert one("{dlq_id}", {"dlq_id": "dlq_1700_a%2Fb"}) == "dlq_1700_a%2Fb"
    assert one("{dlq_id}", {"dlq_id": "dlq_1700_../../x"}) == "dlq_1700_..%2F..%2Fx"


@pytest.mark.parametrize("event", [{}, {"id": None}, {"id": ""}, None, 5])
def test_place_stands_for_a_missing_id(event: Any) -> None:
    assert one("{id}", event, partition="e:2", first=7) == "e-2-7"
    assert one("{dlq_id}", event, partition="e:2", first=7) == "e-2-7"


@given(st.one_of(st.text(), st.integers(), st.none(), st.lists(st.text(), max_size=2)))
def test_values_stay_one_part_of_a_path(value: Any) -> None:
    for template in ("{id}", "{payload.x}"):
        name = one(template, {"id": value, "payload": {"x": value}})
        assert name
        assert "/" not in name
        assert "\x00" not in name
        assert not name.startswith(".")
        assert name.isascii()
        assert len(name) <= 160


def test_long_values_stay_different() -> None:
    assert escape("x" * 500 + "a") != escape("x" * 500 + "b")


@pytest.mark.parametrize(
    ("template", "prefix"),
    [
        ("failed/%Y/{id}", "failed/"),
        ("{id}", ""),
        ("a/b-{id}", "a/b-"),
        ("plain", "plain"),
        ("%Y", ""),
    ],
)
def test_prefix(template: str, prefix: str) -> None:
    assert Template(template).prefix == prefix


@pytest.mark.parametrize(
    "template",
    ["{", "}", "{}", "{a b}", "{a..b}", "{.a}", "%q", "50%", "{id:5}", "{partition:x}", "{a!r}"],
)
def test_faulty_templates(template: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Template(template)


@pytest.mark.parametrize(
    ("template", "events", "batches"),
    [
        ("{dlq_id}.json", True, False),
        ("{id}.json", True, False),
        ("{digest}", True, True),
        ("{topic}/{partition}/{offset}", True, True),
        ("{topic}/{partition}/{first_offset}-{last_offset}", True, True),
        ("{partition}/{offset}", False, False),
        ("{topic}/{offset}", False, False),
        ("{topic}/{partition}/%Y%m%d%H%M%S", False, False),
        ("{payload.source}", False, False),
        ("one.json", False, False),
    ],
)
def test_names_must_tell_apart(template: str, events: bool, batches: bool) -> None:
    for check, fine in ((check_names_events, events), (check_names_batches, batches)):
        if fine:
            check(Template(template))
        else:
            with pytest.raises(ValueError, match="overwrite"):
                check(Template(template))
