"""The interface described: the OpenAPI document, and a page made of it."""

from __future__ import annotations

from html import escape
from typing import Any

import msgspec

from streamd_events import Event, Payload
from streamd_http.config import HttpConfig
from streamd_http.media import ENCODINGS
from streamd_http.schemas import answer_schemas, event_schemas

_EXAMPLE = {
    "event_type": "user_action",
    "source": "web_app",
    "user_id": "user123",
    "data": {"action": "click"},
    "tags": ["frontend"],
    "version": "1.0",
}
_STATUSES = {
    200: "Every event is stored.",
    202: "Every event is safe, but some ended as dead letters (`dlq_id`), or it was only accepted.",
    400: "The body is empty or cannot be taken apart.",
    401: "X-API-Key is missing or unknown.",
    408: "The body did not come in time.",
    413: "The body, inflated or not, is too large, or has too many events.",
    415: "A Content-Type or Content-Encoding that is not taken.",
    422: "Events are rejected, with every violation. The others of the request are stored.",
    429: "Too many events wait; see Retry-After.",
    503: "Stopping, or undecided in time: send it again. An id makes that harmless.",
}
_SCHEMAS = dict.fromkeys((400, 401, 408, 413, 415, 429), "Problem") | {503: "Unavailable"}
_VALIDATE = {
    200: "The verdict.",
    **{code: _STATUSES[code] for code in (401, 408, 413, 415, 429, 503)},
}


def openapi(config: HttpConfig, keys_required: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document. The event's schema is that of the `event` validator."""
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "streamd HTTP ingest",
            "version": "1",
            "description": "Answers when events are stored. What a valid event is, the validators"
            " of the pipeline decide; the schemas are those of the validator `event`.",
        },
        "paths": {
            "/ingest": {"post": _ingest(config)},
            "/validate": {"post": _validate()},
            "/health": {"get": _get("Whether events are taken now.", {200: "Yes.", 503: "No."})},
            "/metrics": {"get": _get("Metrics for Prometheus.", {200: "Text.", 404: "Elsewhere."})},
        },
        "components": {"schemas": {**event_schemas(Event, Payload, ipv6=config.ipv6)}},
    }
    document["components"]["schemas"].update(answer_schemas())
    if keys_required:
        document["components"]["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}
        }
        for path in ("/ingest", "/validate"):
            document["paths"][path]["post"]["security"] = [{"key": []}]
    return document


def _ingest(config: HttpConfig) -> dict[str, Any]:
    event = {"$ref": "#/components/schemas/NewEvent"}
    several = {"type": "array", "items": event, "minItems": 1}
    return {
        "summary": "Take one event, a JSON array of events, or one event per line (NDJSON).",
        "description": "id and timestamp are filled in where an event lacks them. The status is"
        " that of the event that fared worst; the body has the outcome of each."
        f" At most {config.max_request_events} events and {int(config.max_body)} bytes;"
        f" Content-Encoding may be {' or '.join(ENCODINGS)}.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"anyOf": [event, several]},
                    "example": {"payload": _EXAMPLE},
                },
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        },
        "responses": {
            str(code): _response(text, _SCHEMAS.get(code, "Outcome"))
            for code, text in _STATUSES.items()
        },
    }


def _validate() -> dict[str, Any]:
    return {
        "summary": "Check a bare payload against the rules of the validator `event`.",
        "description": "Answers any JSON with 200: the verdict is in the body. Stores nothing.",
        "requestBody": {
            "required": True,
            "content": {
                # No schema: to tell what is wrong with a payload is what this is for.
                "application/json": {"schema": {}, "example": _EXAMPLE}
            },
        },
        "responses": {
            str(code): _response(text, "Verdict" if code == 200 else "Problem")
            for code, text in _VALIDATE.items()
        },
    }


def _get(summary: str, statuses: dict[int, str]) -> dict[str, Any]:
    responses = {str(code): {"description": text} for code, text in statuses.items()}
    return {"summary": summary, "responses": responses}


def _response(text: str, schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": text, "content": content}


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "pre{background:#f4f4f4;padding:.7rem;overflow:auto}td{padding:.1rem .8rem .1rem 0;"
    "vertical-align:top}code{font-size:.95em}"
)


def page(document: dict[str, Any]) -> str:
    """A self-contained HTML page that says what the document says."""
    info = document["info"]
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])}</h1><p>{_text(info['description'])}</p>",
        '<p>For machines: <a href="/openapi.json">/openapi.json</a></p>',
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts += _operation(path, method, operation)
    return "\n".join([*parts, "</html>"])


def _operation(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    parts = [
        f"<h2><code>{method.upper()} {escape(path)}</code></h2>",
        f"<p>{_text(operation['summary'])} {_text(operation.get('description', ''))}</p>",
    ]
    content = operation.get("requestBody", {}).get("content", {})
    if example := content.get("application/json", {}).get("example"):
        key = " -H 'X-API-Key: ...'" if "security" in operation else ""
        body = msgspec.json.encode(example).decode()
        command = f"curl{key} -H 'Content-Type: application/json' http://HOST{path} -d '{body}'"
        parts.append(f"<pre>{escape(command)}</pre>")
    rows = "".join(
        f"<tr><td>{code}</td><td>{_text(response['description'])}</td></tr>"
        for code, response in operation["responses"].items()
    )
    return [*parts, f"<table>{rows}</table>"]


def _text(markdown: str) -> str:
    """Escaped, with `code` as such."""
    pieces = escape(markdown).split("`")
    return "".join(f"<code>{p}</code>" if at % 2 else p for at, p in enumerate(pieces))
