"""The event validator against an oracle that shares no code and no idea with it."""

from __future__ import annotations

import ipaddress
import json
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd_events import validate_payload
from streamd_events.checks import event_checks
from streamd_events.model import Event
from streamd_events.problems import compile_type, problems
from tests.plugins.streamd_events.helpers import both, patient


def optional(payload: dict[str, Any], name: str, rule: Any) -> bool:
    return payload.get(name) is None or bool(rule(payload[name]))


def text(value: Any, low: int, high: int) -> bool:
    return isinstance(value, str) and low <= len(value) <= high


def ipv4(value: Any) -> bool:
    try:
        return isinstance(value, str) and str(ipaddress.IPv4Address(value)) == value
    except ValueError:
        return False


def tags(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= 10
        and all(isinstance(tag, str) and re.match(r"[0-9a-zA-Z]+\Z", tag) for tag in value)
    )


def version(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    parts = value.split(".")
    return len(parts) in (2, 3) and all(part.isascii() and part.isdigit() for part in parts)


def timestamp(value: Any) -> bool:
    shape = r"\d\d\d\d-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)\Z"
    if not isinstance(value, str) or not re.match(shape, value, re.ASCII):
        return False
    moment = re.sub(r"\.\d+", "", value.upper()).replace("Z", "+00:00")
    try:
        return datetime.fromisoformat(moment).second < 60
    except ValueError:
        return False


def payload_is_valid(payload: Any) -> bool:
    return (
        isinstance(payload, dict)
        and payload.get("event_type")
        in ("user_action", "system_event", "api_call", "error", "metric")
        and text(payload.get("source"), 1, 100)
        and optional(payload, "user_id", lambda value: text(value, 0, 50))
        and optional(payload, "session_id", lambda value: text(value, 0, 100))
        and optional(payload, "ip_address", ipv4)
        and optional(payload, "data", lambda value: isinstance(value, dict))
        and optional(payload, "tags", tags)
        and optional(payload, "version", version)
    )


def is_valid(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and text(value.get("id"), 1, 10_000)
        and timestamp(value.get("timestamp"))
        and payload_is_valid(value.get("payload"))
    )


chars = st.characters(exclude_categories=["Cs"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**65) | st.text(chars, max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(chars), inner, max_size=3),
    max_leaves=5,
)
good = {
    "id": st.text(chars, min_size=1, max_size=3),
    "timestamp": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
    | st.sampled_from(["2025-11-19T10:30:00Z", "2024-02-29t23:59:59.123456789-05:30"]),
    "event_type": st.sampled_from(["user_action", "metric", "error", "api_call", "system_event"]),
    "source": st.text(chars, min_size=1, max_size=3) | st.integers(98, 100).map("漢".__mul__),
    "user_id": st.text(chars, max_size=3) | st.integers(48, 50).map("\U0001f600".__mul__),
    "session_id": st.text(chars, max_size=3) | st.integers(98, 100).map("é".__mul__),
    "ip_address": st.ip_addresses(v=4).map(str),
    "data": st.dictionaries(st.text(chars, max_size=3), anything, max_size=3),
    "tags": st.lists(st.text("aZ09", min_size=1, max_size=3), max_size=10),
    "version": st.from_regex(r"[0-9]{1,3}\.[0-9]{1,3}(\.[0-9]{1,3})?", fullmatch=True),
}
near = {
    "id": st.just(""),
    "timestamp": st.from_regex(
        r"(20|0[01])[0-9]{2}-[01][0-9]-[0-3][0-9][Tt _][0-2][0-9]:[0-6][0-9]:[0-6][0-9]"
        r"([.,][0-9]{0,12})?(z|Z|[+-][0-2][0-9]:?[0-6][0-9]|)",
        fullmatch=True,
    ),
    "event_type": st.text(chars, max_size=6),
    "source": st.integers(100, 102).map("s".__mul__) | st.just(""),
    "user_id": st.integers(50, 52).map("u".__mul__),
    "session_id": st.integers(100, 102).map("s".__mul__),
    "ip_address": st.from_regex(r"(0|00|[12]?[0-9]{1,2}\.){3}[0-9]{1,3}\n?", fullmatch=True)
    | st.ip_addresses(v=6).map(str),
    "data": st.lists(anything, max_size=2),
    "tags": st.lists(st.text("aZ09é_- ", max_size=3) | st.just("ok"), max_size=12),
    "version": st.text("0123456789.", max_size=6),
}


def mostly(
    strategy: st.SearchStrategy[Any], other: st.SearchStrategy[Any] = anything
) -> st.SearchStrategy[Any]:
    """Nine times in ten the one, else the other."""
    return st.integers(0, 9).flatmap(lambda number: other if number == 9 else strategy)


# About half of the events are valid: both directions of a wrong verdict are looked for.
fields = {name: mostly(good[name], near[name] | st.none() | anything) for name in good}
payloads = st.fixed_dictionaries(
    {name: fields[name] for name in ("event_type", "source")},
    optional={"extra": anything, **{name: fields[name] for name in list(fields)[4:]}},
)
envelope = {"id": fields["id"], "timestamp": fields["timestamp"]}
events = mostly(
    st.fixed_dictionaries({**envelope, "payload": payloads}, optional={"extra": anything}),
    st.fixed_dictionaries({}, optional={**envelope, "payload": anything}),
)


@settings(patient, max_examples=400)
@given(st.lists(events, min_size=1, max_size=8))
def test_both_ways_agree_with_the_oracle(values: list[Any]) -> None:
    expected = [row for row, value in enumerate(values) if not is_valid(value)]
    fused, plain = both(values)
    assert sorted(plain.rejects) == expected
    assert fused.rejects == plain.rejects
    for row, value in fused.passed.items():
        assert json.loads(msgspec.json.encode(value)) == values[row], "nothing is lost"
        assert plain.passed[row] is values[row]


@settings(patient, max_examples=400)
@given(events)
def test_the_full_list_agrees_with_the_verdict(value: Any) -> None:
    walker = compile_type(Event, event_checks(ipv6=False, max_data=102_400))
    found = problems(walker, value)
    assert (not found) == is_valid(value)
    assert len(found) == len({(problem.path, problem.message) for problem in found})


@patient
@given(payloads)
def test_bare_payloads_have_the_same_rules(payload: Any) -> None:
    errors, _ = validate_payload(payload)
    assert (not errors) == payload_is_valid(payload)


@patient
@given(st.lists(events, min_size=1, max_size=4))
def test_closed_events_are_those_without_further_fields(values: list[Any]) -> None:
    expected = [
        row
        for row, value in enumerate(values)
        if not is_valid(value) or "extra" in value or "extra" in value["payload"]
    ]
    fused, plain = both(values, unknown_fields="reject")
    assert sorted(plain.rejects) == expected
    assert fused.rejects == plain.rejects
