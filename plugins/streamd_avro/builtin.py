"""The schemas that are there without being registered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EVENT = "IngestEvent"

_EVENT_TYPE = {
    "type": "enum",
    "name": "EventType",
    "symbols": ["user_action", "system_event", "api_call", "error", "metric"],
}
# Text in RFC 3339 that a number of milliseconds gives back as it was is stored as that number.
_TIMESTAMP = [{"type": "long", "logicalType": "timestamp-millis"}, "string"]
_IP_ADDRESS = [
    "null",
    {"type": "fixed", "name": "IPv4", "size": 4, "logicalType": "ipv4"},
    "string",
]
# Any JSON object: as a map where all its values are text, else as JSON.
_DATA = ["null", {"type": "map", "values": "string"}, {"type": "string", "logicalType": "json"}]


def _optional(name: str, schema: list[Any]) -> dict[str, Any]:
    return {"name": name, "type": schema, "default": None}


def _event(*more: dict[str, Any]) -> dict[str, Any]:
    payload = {
        "type": "record",
        "name": "Payload",
        "fields": [
            {"name": "event_type", "type": _EVENT_TYPE},
            {"name": "source", "type": "string"},
            _optional("data", _DATA),
            *more,
        ],
    }
    return {
        "type": "record",
        "name": EVENT,
        "namespace": "streamd",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "timestamp", "type": _TIMESTAMP},
            {"name": "payload", "type": payload},
        ],
    }


SCHEMAS: Mapping[str, Mapping[int, dict[str, Any]]] = {
    EVENT: {
        1: _event(),
        2: _event(
            _optional("user_id", ["null", "string"]),
            _optional("session_id", ["null", "string"]),
            _optional("tags", ["null", {"type": "array", "items": "string"}]),
            _optional("ip_address", _IP_ADDRESS),
            _optional("version", ["null", "string"]),
        ),
    }
}
