"""The rules of an event one by one, through both ways into the validator."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.plugins.streamd_events.helpers import EVENT, both, event

VALID_EVENTS = {
    "the sample": EVENT,
    "only what is required": {
        "id": "1",
        "timestamp": "2025-11-19T10:30:00Z",
        "payload": {"event_type": "metric", "source": "s"},
    },
    "nulls for what is optional": event(
        payload__user_id=None, payload__session_id=None, payload__ip_address=None,
        payload__data=None, payload__tags=None, payload__version=None,
    ),
    "empty": event(payload__user_id="", payload__session_id="", payload__data={}, payload__tags=[]),
    "longest": event(
        payload__source="s" * 100, payload__user_id="u" * 50, payload__session_id="i" * 100,
        payload__tags=["T" * 1000] + ["a1"] * 9,
    ),
    "characters, not bytes": event(payload__source="漢" * 100, payload__user_id="\U0001f600" * 50),
    "escapes": event(payload__source='a "quoted" \\ backslash \u0000 ', id="\n"),
    "types": event(payload__event_type="system_event"),
    "offset": event(timestamp="2025-11-19T10:30:00.123456789+05:30"),
    "small letters": event(timestamp="2025-11-19t10:30:00z"),
    "unknown zone": event(timestamp="2025-11-19T10:30:00-00:00"),
    "leap day": event(timestamp="2024-02-29T23:59:59.9Z"),
    "first year": event(timestamp="0001-01-01T00:00:00+23:59"),
    "highest address": event(payload__ip_address="255.255.255.255"),
    "lowest address": event(payload__ip_address="0.0.0.0"),
    "three parts": event(payload__version="1.22.333"),
    "data of 100 KiB": event(payload__data={"a": "x" * (102_400 - len('{"a":""}'))}),
    "data of 100 KiB in escapes": event(payload__data={"a": "é" * 51_196}),
    "anything in data": event(payload__data={"a": [1, 2.5, None, True, {"b": 2**70}], "": ""}),
}  # fmt: skip

P = "$.payload"
INVALID_EVENTS: list[tuple[str, Any, list[tuple[str, str]]]] = [
    ("wrong_type", [EVENT], [("$", "Expected `object`")]),
    ("wrong_type", "text", [("$", "Expected `object`")]),
    ("wrong_type", None, [("$", "Expected `object`")]),
    ("missing_field", {}, [("$.id", ""), ("$.timestamp", ""), ("$.payload", "")]),
    ("missing_field", event(payload__event_type=...), [(f"{P}.event_type", "missing")]),
    ("missing_field", event(payload__source=...), [(f"{P}.source", "missing")]),
    ("wrong_type", event(payload="x"), [(P, "Expected `object`, got `str`")]),
    ("wrong_type", event(id=5), [("$.id", "Expected `str`, got `int`")]),
    ("wrong_type", event(id=None), [("$.id", "Expected `str`, got `null`")]),
    ("out_of_range", event(id=""), [("$.id", "length")]),
    ("not_allowed", event(payload__event_type="click"), [(f"{P}.event_type", "user_action, sys")]),
    ("not_allowed", event(payload__event_type="Metric"), [(f"{P}.event_type", "one of")]),
    ("wrong_type", event(payload__event_type=None), [(f"{P}.event_type", "")]),
    ("out_of_range", event(payload__source=""), [(f"{P}.source", "length >= 1")]),
    ("out_of_range", event(payload__source="s" * 101), [(f"{P}.source", "length <= 100")]),
    ("out_of_range", event(payload__user_id="u" * 51), [(f"{P}.user_id", "length <= 50")]),
    ("wrong_type", event(payload__user_id=5), [(f"{P}.user_id", "")]),
    ("out_of_range", event(payload__session_id="u" * 101), [(f"{P}.session_id", "<= 100")]),
    *[
        ("invalid_format", event(payload__ip_address=text), [(f"{P}.ip_address", "IPv4")])
        for text in ("", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "1.2.3.4\n",
                     "1.2.3.4\x00", "1.2.3.-4", "0x1.2.3.4", "١.2.3.4", "::1", "1.2.3.4/8",
                     "localhost")
    ],
    ("wrong_type", event(payload__data=[]), [(f"{P}.data", "")]),
    ("wrong_type", event(payload__data="{}"), [(f"{P}.data", "")]),
    ("out_of_range", event(payload__data={"a": "x" * 102_393}), [(f"{P}.data", "102400 bytes")]),
    ("out_of_range", event(payload__data={"a": "é" * 51_197}), [(f"{P}.data", "102400 bytes")]),
    ("out_of_range", event(payload__tags=["a"] * 11), [(f"{P}.tags", "length <= 10")]),
    ("wrong_type", event(payload__tags="a"), [(f"{P}.tags", "")]),
    ("wrong_type", event(payload__tags=["a", 1]), [(f"{P}.tags[1]", "`int`")]),
    *[
        ("invalid_format", event(payload__tags=["ok", text]), [(f"{P}.tags[1]", "ASCII")])
        for text in ("", "a-b", "a b", "a\n", "é", "²", "a_b")
    ],
    *[
        ("invalid_format", event(payload__version=text), [(f"{P}.version", "1.2.3")])
        for text in ("", "1", "1.", "1.0.", "1.2.3.4", "v1.0", "1.0\n", "1.x", "1,0", "١.0", "-1.0")
    ],
    ("wrong_type", event(payload__version=1.0), [(f"{P}.version", "")]),
    *[
        ("invalid_format", event(timestamp=text), [("$.timestamp", "RFC 3339")])
        for text in ("", "2025-11-19", "2025-11-19T10:30:00", "2025-11-19 10:30:00Z",
                     "2025-11-19T10:30:00+0100", "2025-11-19T10:30:00+01", "2025-02-29T00:00:00Z",
                     "2025-11-19T24:00:00Z", "2016-12-31T23:59:60Z", "0000-01-01T00:00:00Z",
                     "2025-11-19T10:30Z", "2025-11-19T10:30:00.Z", "2025-11-19T10:30:00,5Z",
                     "20251119T103000Z", "2025-11-19T10:30:00Z\n", "1763548200", "now",
                     "2025-11-19T10:30:00+24:00", "٢025-11-19T10:30:00Z")
    ],
    ("wrong_type", event(timestamp=1763548200), [("$.timestamp", "")]),
    (
        "wrong_type",
        {
            "id": 5,
            "payload": {
                "event_type": "x", "source": "", "ip_address": "x", "data": [], "version": "x",
                "tags": ["a", 1, "b-c", *["a"] * 9],
            },
        },
        [
            ("$.id", ""), ("$.timestamp", "missing"), (f"{P}.event_type", ""), (f"{P}.source", ""),
            (f"{P}.ip_address", ""), (f"{P}.data", ""), (f"{P}.tags", "length"),
            (f"{P}.tags[1]", "int"), (f"{P}.tags[2]", "ASCII"), (f"{P}.version", ""),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize("name", VALID_EVENTS)
def test_valid_events_pass_with_all_they_hold(name: str) -> None:
    value = VALID_EVENTS[name]
    for found in both([value]):
        assert not found.rejects
        assert msgspec.json.decode(msgspec.json.encode(found.passed[0])) == value


@pytest.mark.parametrize(("reason", "value", "expected"), INVALID_EVENTS)
def test_every_violation_is_named(reason: str, value: Any, expected: list[tuple[str, str]]) -> None:
    for found in both([EVENT, value, EVENT]):
        assert list(found.rejects) == [1]
        reject = found.rejects[1]
        assert reject.reason == reason
        assert [violation.path for violation in reject.violations] == [path for path, _ in expected]
        for violation, (_, words) in zip(reject.violations, expected, strict=True):
            assert words in violation.message
        assert reject.violations[0].path in reject.message
        assert reject.violations[0].message in reject.message


def test_ipv6_by_option() -> None:
    addresses = ["::1", "2001:db8::8:800:200c:417a", "::ffff:1.2.3.4", "1.2.3.4"]
    bad = ["", "fe80::1%eth0", ":::", "1.2.3", "12345::", "[::1]", "::1 "]
    values = [event(payload__ip_address=text) for text in addresses + bad]
    for found in both(values, ipv6=True):
        assert sorted(found.rejects) == list(range(len(addresses), len(values)))
        assert "IPv6" in found.rejects[len(addresses)].message
    for found in both(values):
        assert sorted(found.passed) == [3]


def test_unknown_fields_are_kept() -> None:
    value = event(payload__extra={"a": 1}, trace="t")
    for found in both([EVENT, value]):
        assert msgspec.to_builtins(found.passed[0]) == EVENT
        assert msgspec.to_builtins(found.passed[1]) == value


def test_unknown_fields_are_refused_by_option() -> None:
    value = event(trace="t", **{"payload__odd name": 1, "payload__source": ""})
    for found in both([EVENT, value], unknown_fields="reject"):
        assert list(found.passed) == [0]
        assert [violation.path for violation in found.rejects[1].violations] == [
            "$.payload.source",
            '$.payload["odd name"]',
            "$.trace",
        ]


def test_the_limit_of_data_by_option() -> None:
    values = [event(payload__data={"a": text}) for text in ("", "x")]
    for found in both(values, max_data=len('{"a":""}')):
        assert list(found.rejects) == [1]


def test_a_list_of_violations_has_an_end() -> None:
    value = event(payload__tags=["-"] * 100_000)
    for found in both([value]):
        violations = found.rejects[0].violations
        assert len(violations) == 101
        assert violations[-1].message == "more than 100 violations"


def test_a_path_has_an_end() -> None:
    for found in both([event(**{"n" * 100_000: 1})], unknown_fields="reject"):
        assert len(found.rejects[0].violations[0].path) < 250
