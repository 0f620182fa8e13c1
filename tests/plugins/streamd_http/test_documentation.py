"""What the interface says of itself, and that it does so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec

from streamd.api import Reject, Settlement, Violation
from streamd.testing import RecordedMetrics
from streamd_events import validate_payload
from streamd_http.config import HttpConfig
from streamd_http.documentation import openapi, page
from tests.plugins.streamd_http.helpers import JSON, encoded, event, serving


def valid(document: Any, schema: str, value: Any) -> bool:
    """By the JSON Schema of a component."""
    whole = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    return jsonschema_rs.validator_for(whole).is_valid(value)


async def test_it_is_served_and_points_at_itself(tmp_path: Path) -> None:
    async with serving(tmp_path, api_keys={"dev": "k"}) as (client, _):
        status, body, headers = await client.ask("GET", "/openapi.json")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        document = json.loads(body)
        assert document["openapi"] == "3.1.0"
        for path, methods in document["paths"].items():
            for method in methods:
                status, _, _ = await client.ask(method.upper(), path)
                assert status in (200, 401, 404)
                assert str(status) in methods[method]["responses"]
        for path in ("/", "/docs"):
            status, body, headers = await client.ask("GET", path)
            assert status == 200
            assert headers["Content-Type"] == "text/html; charset=utf-8"
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            for described in document["paths"]:
                assert described in body.decode()
        assert (await client.ask("HEAD", "/health"))[:2] == (200, b"")


async def test_answers_are_as_described(tmp_path: Path) -> None:
    document = openapi(HttpConfig(), keys_required=False)
    reject = Reject("invalid", "broken", (Violation("$.a", "wrong"),))

    def judge(partition: str, offset: int, raw: bytes) -> Settlement | None:
        return Settlement(partition, offset, "rejected", reject, "d1") if b"bad" in raw else None

    async with serving(tmp_path, judge=judge) as (client, _):
        for body in (encoded("a"), encoded("bad"), b"[{},5]", b"[" + encoded("bad") + b"]", b"["):
            status, answer = await client.post(body)
            described = document["paths"]["/ingest"]["post"]["responses"][str(status)]
            schema = described["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert valid(document, schema, answer), answer
        _, verdict = await client.post(b"{}", path="/validate")
        assert valid(document, "Verdict", verdict)


def test_the_schema_of_a_payload_agrees_with_the_validator() -> None:
    document = openapi(HttpConfig(), keys_required=False)
    good = event("a")["payload"]
    changes: list[dict[str, Any]] = [
        {},
        {"event_type": "other"},
        {"source": ""},
        {"source": "x" * 101},
        {"user_id": "x" * 51},
        {"tags": ["a"] * 11},
        {"tags": ["a b"]},
        {"tags": None},
        {"version": "1.0"},
        {"version": "v1"},
        {"data": []},
        {"more": 1},
    ]
    for change in changes:
        payload = {**good, **change}
        errors, _ = validate_payload(payload)
        assert valid(document, "Payload", payload) == (not errors), change


def test_an_event_needs_neither_id_nor_timestamp() -> None:
    document = openapi(HttpConfig(), keys_required=False)
    whole = event("a")
    assert valid(document, "NewEvent", whole)
    assert valid(document, "NewEvent", {"payload": whole["payload"]})
    assert not valid(document, "NewEvent", {"id": "a"})
    assert not valid(document, "NewEvent", {**whole, "id": ""})


def test_keys_are_described_where_they_are_needed() -> None:
    with_keys = openapi(HttpConfig(), keys_required=True)
    without = openapi(HttpConfig(), keys_required=False)
    assert with_keys["paths"]["/ingest"]["post"]["security"]
    assert "security" not in with_keys["paths"]["/health"]["get"]
    assert "security" not in msgspec.json.encode(without).decode()
    assert "X-API-Key" in page(with_keys)
    assert "-H 'X-API-Key" not in page(without)


def test_the_page_escapes_what_it_shows() -> None:
    document = openapi(HttpConfig(), keys_required=False)
    document["info"]["title"] = "<script>&"
    assert "<script>" not in page(document)
    assert "&lt;script&gt;&amp;" in page(document)


class Scraped(RecordedMetrics):
    def exposition(self) -> tuple[bytes, str]:
        return b"up 1\n", "text/plain; version=1.0.0; charset=utf-8"


async def test_metrics_of_the_daemon_where_it_lends_them(tmp_path: Path) -> None:
    async with serving(tmp_path, metrics=Scraped()) as (client, _):
        status, body, headers = await client.ask("GET", "/metrics")
        assert (status, body) == (200, b"up 1\n")
        assert headers["Content-Type"] == "text/plain; version=1.0.0; charset=utf-8"
    async with serving(tmp_path) as (client, _):
        status, answer = await client.post(b"{}", JSON, "/metrics")
        assert (status, answer) == (405, {"error": "use GET, HEAD"})
