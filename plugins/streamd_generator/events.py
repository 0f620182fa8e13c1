"""Made-up events as JSON. Pure: the same seed, number and time give the same bytes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

_PAYLOADS = 1024  # different ones; an event then costs no more than putting its pieces together
_USERS = 1000
_MIX = 0x9E3779B97F4A7C15  # spreads neighbouring numbers over all 64 bits
_MASK = (1 << 64) - 1

_ACTIONS: dict[str, list[dict[str, Any]]] = {
    "user_action": [
        {"action": "click", "element": "submit_button", "page": "/checkout"},
        {"action": "scroll", "page": "/products", "depth": 70},
        {"action": "search", "query": "blue shoes", "results": 12},
    ],
    "api_call": [
        {"endpoint": "/v1/orders", "method": "POST", "status": 201, "duration_ms": 41},
        {"endpoint": "/v1/users", "method": "GET", "status": 200, "duration_ms": 7},
    ],
    "metric": [{"name": "queue_depth", "value": 17.5}, {"name": "cpu_seconds", "value": 0.25}],
    "system_event": [{"service": "billing", "state": "started"}],
    "error": [{"code": "E_TIMEOUT", "message": "upstream did not answer"}],
}
_SHARES = {"user_action": 60, "api_call": 25, "metric": 8, "system_event": 4, "error": 3}
_SOURCES = ("web_app", "mobile_app", "api_gateway", "billing", "worker")
_TAGS = ("frontend", "conversion", "beta", "internal", "batch")

_FAULTS: tuple[dict[str, Any], ...] = (
    {"event_type": "no_such_type"},
    {"source": ""},
    {"ip_address": "999.1.1.1"},
    {"tags": [f"tag{n}" for n in range(11)]},
    {"user_id": "u" * 51},
)


class Events:
    """The events of a seed. `invalid` is the share of them, 0 to 1, that break a rule."""

    def __init__(self, seed: int, invalid: float) -> None:
        chance = random.Random(seed)
        payloads = [_payload(chance) for _ in range(_PAYLOADS)]
        self._valid = [msgspec.json.encode(payload) for payload in payloads]
        self._faulty = [msgspec.json.encode(payloads[n] | fault) for n, fault in enumerate(_FAULTS)]
        self._seed = seed * _MIX
        self._invalid_below = round(invalid * (1 << 32))

    def raws(self, numbers: Sequence[int], timestamps: Sequence[int]) -> list[bytes]:
        """The events with these numbers; `timestamps` are in milliseconds since the epoch."""
        payloads, seed = self._valid, self._seed
        event = b'{"id":"evt_%d","timestamp":"%b","payload":%b}'
        draws = [((number + 1) * _MIX + seed & _MASK) >> 16 for number in numbers]
        raws = [
            event % (number, text, payloads[draw % _PAYLOADS])
            for number, text, draw in zip(numbers, _rfc3339(timestamps), draws, strict=True)
        ]
        if self._invalid_below:
            for row, draw in enumerate(draws):
                if draw >> 16 < self._invalid_below:
                    raws[row] = self._spoilt(raws[row], draw)
        return raws

    def _spoilt(self, raw: bytes, draw: int) -> bytes:
        kind = draw % (len(self._faulty) + 1)
        if kind == len(self._faulty):
            return raw[: len(raw) // 2]
        head, _, _ = raw.partition(b'"payload":')
        return head + b'"payload":' + self._faulty[kind] + b"}"


def _payload(chance: random.Random) -> dict[str, Any]:
    (event_type,) = chance.choices(list(_SHARES), list(_SHARES.values()))
    user = chance.randrange(_USERS)
    return {
        "event_type": event_type,
        "source": chance.choice(_SOURCES),
        "user_id": f"user{user}",
        "session_id": f"sess{user * 7 + chance.randrange(7)}",
        "ip_address": f"192.168.{chance.randrange(256)}.{chance.randrange(1, 255)}",
        "data": chance.choice(_ACTIONS[event_type]),
        "tags": chance.sample(_TAGS, chance.randrange(3)),
        "version": "1.0",
    }


def _rfc3339(timestamps: Sequence[int]) -> list[bytes]:
    seconds = {timestamp // 1000 for timestamp in timestamps}
    texts = {
        second: datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
        for second in seconds
    }
    return [b"%b.%03dZ" % (texts[moment // 1000], moment % 1000) for moment in timestamps]
