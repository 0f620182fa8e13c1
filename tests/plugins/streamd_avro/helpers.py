"""What the tests of this plugin share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

from streamd.testing import stage_context
from streamd_avro.codec import AvroCodec

# A machine under load is no failure.
patient = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

EVENT: dict[str, Any] = {
    "id": "evt_123456",
    "timestamp": "2025-11-19T10:30:00Z",
    "payload": {
        "event_type": "user_action",
        "source": "web_app",
        "user_id": "user123",
        "session_id": "sess456",
        "ip_address": "192.168.1.1",
        "data": {"action": "click", "element": "submit_button", "page": "/checkout"},
        "tags": ["frontend", "conversion"],
        "version": "1.0",
    },
}
SMALL: dict[str, Any] = {
    "id": "1",
    "timestamp": "2025-11-19T10:30:00Z",
    "payload": {"event_type": "metric", "source": "s", "data": {"n": 1}},
}


def record(name: str, *fields: Any, **more: Any) -> dict[str, Any]:
    """A record; a field is (name, type) or (name, type, default)."""
    return {
        "type": "record",
        "name": name,
        "fields": [dict(zip(("name", "type", "default"), field, strict=False)) for field in fields],
        **more,
    }


def make_codec(state_dir: Path, role: str = "source", **config: Any) -> AvroCodec:
    return AvroCodec(AvroCodec.Config(**config), stage_context(role, state_dir=state_dir))
