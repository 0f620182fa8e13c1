"""The json_schema validator."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from streamd.api import FAILED, ConfigError, Misconfigured, Step
from streamd.testing import batch_of, stage_context
from streamd.testing.contracts.step import StepContract, StepSubject
from streamd_events import Event, Payload
from streamd_events.json_schema_validator import JsonSchemaValidator
from tests.plugins.streamd_events.helpers import EVENT, Outcome, event, outcome

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["id", "timestamp", "payload"],
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "timestamp": {"type": "string", "format": "date-time"},
        "payload": {
            "type": "object",
            "required": ["event_type", "source"],
            "properties": {
                "event_type": {"enum": ["user_action", "metric"]},
                "source": {"$ref": "#/$defs/name"},
                "tags": {"type": "array", "maxItems": 2, "items": {"pattern": "^[a-z]+$"}},
                "data": {"not": {"required": ["secret"]}},
            },
        },
    },
    "$defs": {"name": {"type": "string", "maxLength": 10}},
}


def make(**settings: Any) -> JsonSchemaValidator:
    return JsonSchemaValidator(JsonSchemaValidator.Config(**settings), stage_context("validate"))


def check(*values: Any, schema: Any = SCHEMA, **settings: Any) -> Outcome:
    return outcome(make(schema=schema, **settings), batch_of(values, raws=[b""] * len(values)))


class Subject(StepSubject):
    def make(self) -> Step:
        return make(schema=SCHEMA)


class TestContract(StepContract):
    @pytest.fixture
    def subject(self) -> StepSubject:
        return Subject()


def test_events_pass_as_they_came() -> None:
    assert check(EVENT).passed[0] is EVENT


def test_every_violation_is_named_with_its_path() -> None:
    bad = event(
        id=5,
        timestamp="yesterday",
        payload__event_type="x",
        payload__source=...,
        payload__tags=["a", "B", "c"],
        payload__data={"secret": 1},
    )
    found = check(EVENT, bad)
    assert list(found.passed) == [0]
    assert sorted(violation.path for violation in found.rejects[1].violations) == [
        "$.id",
        "$.payload.data",
        "$.payload.event_type",
        "$.payload.source",
        "$.payload.tags",
        "$.payload.tags[1]",
        "$.timestamp",
    ]


@pytest.mark.parametrize(
    ("schema", "value", "reason"),
    [
        ({"required": ["a b"]}, {}, "missing_field"),
        ({"type": "object"}, [], "wrong_type"),
        ({"enum": [1]}, 2, "not_allowed"),
        ({"const": 1}, 2, "not_allowed"),
        ({"maximum": 1}, 2, "out_of_range"),
        ({"minItems": 1}, [], "out_of_range"),
        ({"pattern": "a"}, "b", "invalid_format"),
        ({"format": "ipv4"}, "b", "invalid_format"),
        ({"additionalProperties": False}, {"a": 1}, "unknown_field"),
        ({"oneOf": [{"type": "string"}, {"minimum": 3}]}, 1, "schema"),
        (False, 1, "schema"),
    ],
)
def test_reasons(schema: Any, value: Any, reason: str) -> None:
    assert check(value, schema=json.dumps(schema)).rejects[0].reason == reason


def test_every_unknown_field_is_named() -> None:
    schema = {"properties": {"x": {}}, "unevaluatedProperties": False}
    violations = check({"a": 1, "x": 1, "b c": 1}, schema=schema).rejects[0].violations
    assert [violation.path for violation in violations] == ["$.a", '$["b c"]']


def test_messages_do_not_repeat_a_large_value() -> None:
    [violation] = check("x" * 1_000_000, schema={"type": "object"}).rejects[0].violations
    assert len(violation.message) < 100


def test_formats_may_be_remarks_only() -> None:
    value = event(timestamp="yesterday")
    assert list(check(value).rejects) == [0]
    assert check(value, formats=False).rejects == {}


def test_schema_as_text_and_other_drafts() -> None:
    draft4 = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "maximum": 5,
        "exclusiveMaximum": True,
    }
    assert list(check(4, 5, schema=json.dumps(draft4)).rejects) == [1]


@pytest.mark.parametrize(
    "schema",
    ["{", "[]", {"type": "nonsense"}, {"pattern": "("}, {"$schema": "http://example.test/own"}],
)
def test_what_is_no_schema_is_a_config_error(schema: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        make(schema=schema)
    assert caught.value.path == "schema"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("settings", [{}, {"schema": {}, "schema_file": "a"}])
def test_exactly_one_schema(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="exactly one"):
        make(**settings)


def test_references_to_other_documents_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("a schema must not reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    other = tmp_path / "other.json"
    other.write_text("{}")
    for uri in ("http://127.0.0.1:1/schema.json", other.as_uri(), "other.json"):
        with pytest.raises(ConfigError):
            make(schema={"$ref": uri})


async def test_schema_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _write("event.json", json.dumps(SCHEMA))
    stage = make(schema_file="event.json")
    assert "is a schema" in await stage.healthcheck()
    async with stage:
        found = outcome(stage, batch_of([EVENT, {}]))
    assert list(found.rejects) == [1]


@pytest.mark.parametrize("text", [None, '{"type": 5}', "{"])
async def test_a_schema_file_that_is_none(tmp_path: Path, text: str | None) -> None:
    path = str(tmp_path / "event.json")
    if text is not None:
        _write(path, text)
    stage = make(schema_file=path)
    with pytest.raises(Misconfigured, match=r"event\.json"):
        await stage.healthcheck()
    with pytest.raises(Misconfigured, match=r"event\.json"):
        async with stage:
            pass


def _write(path: str, text: str) -> None:
    Path(path).write_text(text)


def test_modes() -> None:
    assert check({}, mode="warn").statuses == {0: FAILED}
    assert check({}, mode="disabled").passed == {0: {}}


def test_structs_are_data_and_what_is_no_data_is_refused() -> None:
    good = Event("1", EVENT["timestamp"], Payload("metric", "s"))
    bad = Event("", EVENT["timestamp"], Payload("metric", "s"))
    nested = {"id": "1", "timestamp": EVENT["timestamp"], "payload": Payload("metric", "s")}
    found = check(good, bad, object(), {"a": "\ud800"}, nested, EVENT)
    assert list(found.passed) == [0, 4, 5]
