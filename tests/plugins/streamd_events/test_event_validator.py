"""The event validator as a stage: modes, statuses, metrics, decoding and checking in one pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from streamd.api import FAILED, VALID, Reject, Step
from streamd.testing import FakeClock, PlainJson, RecordedMetrics, batch_of, stage_context
from streamd.testing.contracts.step import StepContract, StepSubject
from streamd_events import Event, Payload
from streamd_events.event_validator import EventValidator
from tests.plugins.streamd_events.helpers import (
    EVENT,
    both,
    codec,
    event,
    outcome,
    raw_batch,
    validator,
)

CORPUS = Path(__file__).parents[1] / "streamd_json" / "corpus"
BAD = event(payload__source="", payload__version="x")


class Subject(StepSubject):
    def make(self) -> Step:
        return validator()


class TestContract(StepContract):
    @pytest.fixture
    def subject(self) -> StepSubject:
        return Subject()


def test_decoding_and_checking_in_one_pass_gives_structs() -> None:
    fused, plain = both([EVENT])
    assert type(fused.passed[0]) is Event
    assert type(fused.passed[0].payload) is Payload
    assert fused.passed[0].payload.tags == ["frontend", "conversion"]
    assert plain.passed[0] == EVENT


def test_without_a_failure_the_batch_passes_whole() -> None:
    batch = batch_of([EVENT] * 3)
    assert list(validator().process(batch)) == [batch]


def test_strict_refuses() -> None:
    for found in both([EVENT, BAD, EVENT]):
        assert sorted(found.passed) == [0, 2]
        assert set(found.statuses.values()) == {VALID}
        assert found.rejects[1].error_type == "ValueError"


def test_warn_passes_marks_and_counts() -> None:
    metrics = RecordedMetrics()
    stage = validator(metrics=metrics, mode="warn")
    batch = batch_of([EVENT, BAD, 5, {}])
    with capture_logs() as logs:
        found = outcome(stage, batch)
    assert found.rejects == {}
    assert list(found.passed.values()) == batch.values
    assert list(found.statuses.values()) == [VALID, FAILED, FAILED, FAILED]
    assert batch.statuses is None
    for reason in ("out_of_range", "wrong_type", "missing_field"):
        assert metrics.value("validation_failures", reason=reason) == 1
        assert metrics.value("passed_failures", reason=reason) == 1
    assert sorted(line["reason"] for line in logs) == [
        "missing_field",
        "out_of_range",
        "wrong_type",
    ]
    assert {line["event"] for line in logs} == {"Validation failed"}


def test_warn_keeps_what_an_earlier_stage_has_marked() -> None:
    batch = batch_of([EVENT, BAD, EVENT])
    batch.statuses = [FAILED, VALID, VALID]
    assert list(outcome(validator(mode="warn"), batch).statuses.values()) == [FAILED, FAILED, VALID]


def test_warn_logs_once_a_second_and_reason() -> None:
    clock = FakeClock()
    config = EventValidator.Config(mode="warn")
    stage = EventValidator(config, stage_context("validate", clock=clock))
    with capture_logs() as logs:
        for _ in range(5):
            list(stage.process(batch_of([BAD, BAD])))
        assert len(logs) == 1
        clock.advance(1)
        list(stage.process(batch_of([BAD])))
    assert len(logs) == 2


@pytest.mark.parametrize("settings", [{"mode": "disabled"}, {"enabled": False}])
def test_disabled_lets_everything_pass_unseen(settings: dict[str, Any]) -> None:
    metrics = RecordedMetrics()
    stage = validator(metrics=metrics, **settings)
    batch = batch_of([EVENT, BAD, 5])
    assert list(stage.process(batch)) == [batch]
    assert stage.typed(codec()) is None
    assert metrics.metrics == {}


def test_failures_are_counted_by_the_reason_of_the_first_violation() -> None:
    metrics = RecordedMetrics()
    fused = validator(metrics=metrics).typed(codec())
    assert fused is not None
    raws = [json.dumps(value).encode() for value in (EVENT, BAD, BAD, {})]
    outcome(fused, raw_batch([*raws, b"{", None]))
    assert metrics.value("validation_failures", reason="out_of_range") == 2
    assert metrics.value("validation_failures", reason="missing_field") == 1
    assert metrics.value("validation_failures", reason="malformed_json") == 1
    assert metrics.value("validation_failures", reason="tombstone") == 1
    assert metrics.value("passed_failures", reason="out_of_range") == 0, "the engine counts these"


@pytest.mark.parametrize("mode", ["strict", "warn"])
def test_what_cannot_be_decoded_never_passes(mode: str) -> None:
    """The whole corpus, with a good event beside every bad record."""
    good = json.dumps(EVENT).encode()
    paths = sorted(path for path in CORPUS.rglob("*.bin") if path.parent.name != "accept")
    raws: list[bytes | None] = [None]
    for path in paths:
        raws += [good, path.read_bytes()]
    fused = validator(mode=mode).typed(codec())
    assert fused is not None
    found = outcome(fused, raw_batch(list(raws)))
    assert sorted(found.passed) == list(range(1, len(raws), 2))
    assert all(msgspec.to_builtins(value) == EVENT for value in found.passed.values())
    reasons = [found.rejects[row].reason for row in range(2, len(raws), 2)]
    assert reasons == [path.parent.name for path in paths]


@pytest.mark.parametrize("path", sorted((CORPUS / "accept").iterdir()), ids=lambda path: path.stem)
def test_any_json_that_is_no_event_is_refused(path: Path) -> None:
    fused = validator().typed(codec())
    assert fused is not None
    assert list(outcome(fused, raw_batch([path.read_bytes()])).rejects) == [0]


def test_a_codec_without_types_leaves_decoding_to_the_engine() -> None:
    assert validator().typed(PlainJson()) is None


def test_a_batch_that_is_decoded_already_goes_the_other_way() -> None:
    fused = validator().typed(codec())
    assert fused is not None
    found = outcome(fused, batch_of([EVENT, BAD]))
    assert found.passed == {0: EVENT}


def test_the_last_of_two_keys_by_the_option_of_the_codec() -> None:
    fused = validator().typed(codec(duplicate_keys="last"))
    assert fused is not None
    raw = json.dumps(EVENT).encode()[:-1] + b',"id":"last"}'
    assert outcome(fused, raw_batch([raw])).passed == {0: event(id="last")}


def test_structs_of_an_earlier_stage_are_checked_as_data() -> None:
    payload = Payload(event_type="metric", source="s")
    wrong = Payload(event_type="click", source="")  # type: ignore[arg-type]
    batch = batch_of(
        [
            Event("1", EVENT["timestamp"], payload),
            Event("2", EVENT["timestamp"], wrong),
            {"id": "3", "timestamp": EVENT["timestamp"], "payload": payload},
            {"id": "4", "timestamp": "now", "payload": payload},
        ]
    )
    found = outcome(validator(), batch)
    assert sorted(found.passed) == [0, 2]
    assert found.passed[0] is batch.values[0]


def test_structs_of_other_classes_are_data_too() -> None:
    class Body(msgspec.Struct):
        event_type: str
        source: str

    envelope = {"id": "1", "timestamp": EVENT["timestamp"]}
    batch = batch_of(
        [{**envelope, "payload": Body("metric", "s")}, {**envelope, "payload": Body("metric", "")}]
    )
    found = outcome(validator(), batch)
    assert list(found.passed) == [0]
    assert [violation.path for violation in found.rejects[1].violations] == ["$.payload.source"]


def test_rows_keep_their_numbers_among_undecodable_ones() -> None:
    fused = validator().typed(codec())
    assert fused is not None
    kept = event(more=1)
    values = [b"{", BAD, b"", kept, None, EVENT, event(more=1, id="")]
    raws = [json.dumps(value).encode() if isinstance(value, dict) else value for value in values]
    found = outcome(fused, raw_batch(raws))
    assert {row: reject.reason for row, reject in found.rejects.items()} == {
        0: "malformed_json",
        1: "out_of_range",
        2: "empty",
        4: "tombstone",
        6: "out_of_range",
    }
    assert found.passed[3] == kept
    assert found.passed[5].id == EVENT["id"]


def test_what_is_no_data_at_all_is_refused() -> None:
    batch = batch_of([object(), EVENT, {"id": object()}, "\ud800", {1: 2}], raws=[None] * 5)
    assert list(outcome(validator(), batch).passed) == [1]


@pytest.mark.parametrize(
    "name",
    ["id", "timestamp", *(f"payload__{name}" for name in EVENT["payload"]), "payload", "more"],
)
@pytest.mark.parametrize("value", ["\ud800", ["\ud800"], object(), float("nan"), b"\xff", 1j])
def test_odd_values_of_a_transform_touch_no_other_event(name: str, value: Any) -> None:
    batch = batch_of([EVENT, event(**{name: value}), EVENT], raws=[None] * 3)
    found = outcome(validator(), batch)
    assert {0, 2} <= set(found.passed)


@pytest.mark.parametrize("data", [{"a": object()}, {"a": "\ud800"}, {1: 2}])
def test_data_that_is_no_json_is_refused(data: Any) -> None:
    batch = batch_of([EVENT, event(payload__data=data), EVENT], raws=[None] * 3)
    found = outcome(validator(), batch)
    assert {row: reject.violations[0].path for row, reject in found.rejects.items()} == {
        1: "$.payload.data"
    }


def test_rejects_are_data() -> None:
    [reject] = both([BAD])[0].rejects.values()
    assert isinstance(reject, Reject)
    assert msgspec.json.decode(msgspec.json.encode(reject), type=Reject) == reject
