"""The event that is measured: about 330 bytes of JSON."""

from __future__ import annotations

import msgspec


def event(number: int) -> bytes:
    """A valid event with an id of its own."""
    return msgspec.json.encode(
        {
            "id": f"evt_{number}",
            "timestamp": "2025-11-19T10:30:00Z",
            "payload": {
                "event_type": "user_action",
                "source": "web_app",
                "user_id": f"user{number % 1000}",
                "session_id": f"sess{number % 5000}",
                "ip_address": "192.168.1.1",
                "data": {
                    "action": "click",
                    "element": "submit_button",
                    "page": "/checkout",
                    "referrer": "/cart?ref=mail",
                },
                "tags": ["frontend", "conversion"],
                "version": "1.0",
            },
        }
    )
