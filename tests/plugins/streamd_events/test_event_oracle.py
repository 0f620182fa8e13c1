"""The event validator against an oracle that shares no code and no idea with it."""

from __future__ import annotations

import ipaddress
import json
import re
from datetime import datetime
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd_events import validate_payload
from streamd_events.checks import event_checks
from streamd_events.model import Event
from streamd_events.problems import compile_type, problems
from tests.plugins.streamd_events.helpers import EVENT, both, patient


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
# Mostly near the border between valid and not: half of a random event would be of little use.
near = {
    "id": st.text(chars, max_size=3),
    "timestamp": st.sampled_from([EVENT["timestamp"], "2025-11-19T10:30:00.5+01:00"])
    | st.from_regex(
        r"(20|0[01])[0-9]{2}-[01][0-9]-[0-3][0-9][Tt _][0-2][0-9]:[0-6][0-9]:[0-6][0-9]"
        r"([.,][0-9]{0,12})?(z|Z|[+-][0-2][0-9]:?[0-6][0-9]|)",
        fullmatch=True,
    ),
    "event_type": st.sampled_from(["user_action", "metric", "error", "api_call", "system_event"])
    | st.text(chars, max_size=6),
    "source": st.text(chars, max_size=3) | st.integers(99, 102).map("s".__mul__),
    "user_id": st.integers(49, 52).map("\U0001f600".__mul__),
    "session_id": st.integers(99, 102).map("é".__mul__),
    "ip_address": st.from_regex(r"(0|00|[12]?[0-9]{1,2}\.){3}[0-9]{1,3}\n?", fullmatch=True)
    | st.ip_addresses().map(str),
    "data": st.dictionaries(st.text(chars, max_size=3), anything, max_size=3),
    "tags": st.lists(st.text("aZ09é_- ", max_size=3) | st.just("ok"), max_size=12),
    "version": st.text("0123456789.", max_size=6) | st.just("1.0"),
}


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly the strategy, now and then anything at all."""
    return st.integers(0, 19).flatmap(lambda number: anything if number == 0 else strategy)


payloads = st.fixed_dictionaries(
    {name: maybe(near[name]) for name in ("event_type", "source")},
    optional={
        "extra": anything,
        **{name: maybe(near[name]) for name in list(near)[4:]},
    },
)
events = st.fixed_dictionaries(
    {"id": maybe(near["id"]), "timestamp": maybe(near["timestamp"])},
    optional={"payload": maybe(payloads), "extra": anything},
)


@settings(patient, max_examples=400)
@given(st.lists(maybe(events), min_size=1, max_size=8))
def test_both_ways_agree_with_the_oracle(values: list[Any]) -> None:
    expected = [row for row, value in enumerate(values) if not is_valid(value)]
    fused, plain = both(values)
    assert sorted(plain.rejects) == expected
    assert fused.rejects == plain.rejects
    for row, value in fused.passed.items():
        assert json.loads(msgspec.json.encode(value)) == values[row], "nothing is lost"
        assert plain.passed[row] is values[row]


@settings(patient, max_examples=400)
@given(maybe(events))
def test_the_full_list_agrees_with_the_verdict(value: Any) -> None:
    walker = compile_type(Event, event_checks(ipv6=False, max_data=102_400))
    found = problems(walker, value)
    assert (not found) == is_valid(value)
    assert len(found) == len({(problem.path, problem.message) for problem in found})


@patient
@given(maybe(payloads))
def test_bare_payloads_have_the_same_rules(payload: Any) -> None:
    errors, _ = validate_payload(payload)
    assert (not errors) == payload_is_valid(payload)


@patient
@given(st.lists(maybe(events), min_size=1, max_size=4))
def test_closed_events_are_those_without_further_fields(values: list[Any]) -> None:
    expected = [
        row
        for row, value in enumerate(values)
        if not is_valid(value) or "extra" in value or "extra" in value["payload"]
    ]
    fused, plain = both(values, unknown_fields="reject")
    assert sorted(plain.rejects) == expected
    assert fused.rejects == plain.rejects
