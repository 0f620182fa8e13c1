"""JSON Schemas of what is sent and answered."""

from __future__ import annotations

from typing import Any

import msgspec

_REF = "#/components/schemas/{name}"

_FORMATS: dict[str, dict[str, Any]] = {
    "tag": {"pattern": "^[A-Za-z0-9]+$"},
    "version": {"pattern": r"^[0-9]+\.[0-9]+(\.[0-9]+)?$"},
    "timestamp": {"format": "date-time"},
}


def event_schemas(event: type, payload: type, *, ipv6: bool) -> dict[str, Any]:
    """Schemas of the payload, and of an event before id and timestamp are filled in.

    The rules that a type cannot say, and a check makes, are added by the field's name.
    """
    _, schemas = msgspec.json.schema_components([event, payload], ref_template=_REF)
    fields = schemas[payload.__name__]["properties"]
    for name, rule in (
        ("version", _FORMATS["version"]),
        ("ip_address", {} if ipv6 else {"format": "ipv4"}),
    ):
        _text_of(fields[name]).update(rule)
    _array_of(fields["tags"])["items"].update(_FORMATS["tag"])
    new = schemas.pop(event.__name__)
    new["title"] = "NewEvent"
    new["required"] = ["payload"]
    new["properties"]["timestamp"].update(_FORMATS["timestamp"])
    return {"Payload": schemas[payload.__name__], "NewEvent": new}


def _text_of(schema: dict[str, Any]) -> dict[str, Any]:
    return _alternative(schema, "string")


def _array_of(schema: dict[str, Any]) -> dict[str, Any]:
    return _alternative(schema, "array")


def _alternative(schema: dict[str, Any], kind: str) -> dict[str, Any]:
    """The part of `X | null` that is no null."""
    return next(part for part in schema.get("anyOf", [schema]) if part.get("type") == kind)


def answer_schemas() -> dict[str, Any]:
    """Schemas of the answers."""
    text: dict[str, Any] = {"type": "string"}
    status = {"enum": ["stored", "accepted", "dead_lettered", "rejected", "dropped"]}
    violation = _object({"path": text, "message": text})
    violations = {"type": "array", "items": violation}
    event = _object(
        {"status": status},
        id={"type": ["string", "null"]},
        errors=violations,
        dlq_id=text,
    )
    batch = _object({"status": status, "events": {"type": "array", "items": event}})
    problem = _object({"error": text})
    return {
        "Outcome": {"anyOf": [event, batch]},
        "Problem": problem,
        "Unavailable": {"anyOf": [problem, event, batch]},
        "Verdict": _object(
            {
                "valid": {"type": "boolean"},
                "errors": violations,
                "warnings": {"type": "array", "items": text},
            }
        ),
    }


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }
