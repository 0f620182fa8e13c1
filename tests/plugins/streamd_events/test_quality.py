"""Data quality, as a library and as a stage."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from streamd.api import FAILED, ConfigError, Duration, StageConfig, StageContext, Step
from streamd.testing import RecordedMetrics, batch_of, stage_context
from streamd.testing.contracts.step import StepContract, StepSubject
from streamd_events import DataQualityCheck, Event, Payload, validate_payload
from streamd_events.quality_stage import QualityValidator
from tests.plugins.streamd_events.helpers import EVENT, event, outcome

NOW = datetime(2025, 11, 19, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("payload", "score"),
    [
        (EVENT["payload"], 1.0),
        ({}, 0.0),
        ({"event_type": "metric"}, 0.2),
        ({"event_type": "metric", "source": "s"}, 0.4),
        ({"event_type": "metric", "source": "s", "data": {"a": 1}}, 0.5),
        ({"event_type": "metric", "source": "s", "data": {}, "tags": [], "user_id": ""}, 0.4),
        ({"event_type": "metric", "source": "s", "tags": ["a"], "version": "1.0"}, 0.6),
        ({"user_id": "u", "session_id": None, "other": 1}, 0.1),
        (Payload("metric", "s", user_id="u", tags=None), 0.5),
        (None, 0.0),
        ("text", 0.0),
        ([1], 0.0),
    ],
)
def test_completeness(payload: Any, score: float) -> None:
    assert DataQualityCheck.check_completeness(payload) == score


@pytest.mark.parametrize(
    ("timestamp", "fresh"),
    [
        ("2025-11-19T10:30:00Z", True),
        ("2025-11-19T10:29:00Z", True),
        ("2025-11-19T10:28:59Z", False),
        ("2025-11-19T10:31:00Z", True),
        ("2025-11-19T10:31:01Z", False),
        ("2025-11-19T11:29:30+01:00", True),
        ("2025-11-19T10:29:30", True),
        ("0001-01-01T00:00:00+14:00", False),
        ("9999-12-31T23:59:59-14:00", False),
        ("yesterday", False),
        ("", False),
        (None, False),
        (5, False),
    ],
)
def test_freshness(timestamp: Any, fresh: bool) -> None:
    assert DataQualityCheck.check_freshness(timestamp, 60, now=NOW) is fresh


def test_freshness_goes_by_the_clock() -> None:
    now = datetime.now(UTC).isoformat()
    assert DataQualityCheck.check_freshness(now, 60)
    assert not DataQualityCheck.check_freshness("2020-01-01T00:00:00Z", 60)


@pytest.mark.parametrize(
    ("payload", "issues"),
    [
        (EVENT["payload"], []),
        (event(payload__user_id=...)["payload"], ["User action events should include user_id"]),
        (Payload("user_action", "s"), ["User action events should include user_id"]),
        ({"event_type": "api_call"}, ["API call events should include ip_address"]),
        ({"event_type": "error"}, ["Error events should include data"]),
        ({"event_type": "metric", "data": {"a": 1}}, []),
        ({"event_type": "system_event"}, []),
        (None, []),
    ],
)
def test_consistency(payload: Any, issues: list[str]) -> None:
    assert DataQualityCheck.check_consistency(payload) == issues


def test_a_bare_payload_has_errors_and_warnings() -> None:
    assert validate_payload(EVENT["payload"]) == ([], [])
    errors, warnings = validate_payload({"event_type": "user_action", "version": "x"})
    assert [error.path for error in errors] == ["$.source", "$.version"]
    assert warnings == ["User action events should include user_id"]
    assert [error.path for error in validate_payload([])[0]] == ["$"]
    assert validate_payload({**EVENT["payload"], "ip_address": "::1"}, ipv6=True)[0] == []


class Rule:
    class Config(StageConfig, frozen=True):
        pass

    def __init__(self, config: Config, context: StageContext) -> None:
        pass


class NoClicks(Rule):
    """A rule as another plugin would offer it."""

    def __call__(self, payload: Any) -> Iterable[str]:
        if (payload.get("data") or {}).get("action") == "click":
            yield "clicks are of no interest"


class Broken(Rule):
    def __call__(self, payload: Any) -> Iterable[str]:
        return [payload["no such field"]]


def make(
    metrics: RecordedMetrics | None = None,
    offered: dict[str, type] | None = None,
    **settings: Any,
) -> QualityValidator:
    context = stage_context(
        "validate", metrics=metrics, extensions={"quality_rule": offered} if offered else None
    )
    return QualityValidator(QualityValidator.Config(**settings), context)


class Subject(StepSubject):
    def make(self) -> Step:
        return make()


class TestContract(StepContract):
    @pytest.fixture
    def subject(self) -> StepSubject:
        return Subject()


POOR = event(
    payload__user_id=..., payload__session_id=..., payload__ip_address=..., payload__tags=...
)


def test_events_below_the_minimum_are_refused_and_told_why() -> None:
    found = outcome(make(min_score=0.6), batch_of([EVENT, POOR]))
    assert found.passed == {0: EVENT}
    reject = found.rejects[1]
    assert reject.reason == "quality"
    assert "score 0.5, below 0.6" in reject.message
    assert [violation.path for violation in reject.violations] == [
        "$",
        "$.payload.user_id",
        "$.payload.session_id",
        "$.payload.ip_address",
        "$.payload.tags",
        "$.payload",
    ]


def test_the_minimum_itself_passes() -> None:
    assert outcome(make(min_score=0.5), batch_of([POOR])).rejects == {}
    assert outcome(make(min_score=1), batch_of([EVENT])).rejects == {}


def test_a_stale_event_loses_points_if_age_matters() -> None:
    stale = event(timestamp="2025-11-18T10:30:00Z")
    assert outcome(make(min_score=0.95), batch_of([stale])).rejects == {}
    found = outcome(make(min_score=0.95, max_age=Duration("1h")), batch_of([EVENT, stale]))
    assert list(found.rejects) == [1]
    assert found.rejects[1].violations[-1].path == "$.timestamp"


def test_scores_become_metrics() -> None:
    metrics = RecordedMetrics()
    list(make(metrics, max_age=Duration("1h")).process(batch_of([EVENT, POOR])))
    assert metrics.value("quality_score", check="completeness") == pytest.approx(0.8)
    assert metrics.value("quality_score", check="consistency") == 0.5
    assert metrics.value("quality_score", check="freshness") == 1.0
    assert metrics.value("quality_score", check="overall") == pytest.approx(0.75)
    assert metrics.value("quality_scored_events") == 2
    assert metrics.value("quality_score_points") == pytest.approx(1.5)
    assert metrics.value("quality_issues", rule="advised_fields") == 1


def test_rules_of_other_plugins() -> None:
    offered: dict[str, type] = {"no_clicks": NoClicks}
    found = outcome(make(offered=offered, min_score=0.95), batch_of([EVENT]))
    assert found.rejects[0].violations[-1].message == "clicks are of no interest"
    none = make(offered=offered, min_score=0.95, rules=())
    assert outcome(none, batch_of([EVENT])).rejects == {}
    with pytest.raises(ConfigError, match=r"no_click \(known: no_clicks\)"):
        make(offered=offered, rules=("no_click",))


def test_a_rule_that_breaks_costs_one_event() -> None:
    found = outcome(make(offered={"broken": Broken}), batch_of([EVENT, EVENT]))
    assert {reject.error_type for reject in found.rejects.values()} == {"KeyError"}


def test_modes() -> None:
    assert outcome(make(mode="warn"), batch_of([{}])).statuses == {0: FAILED}
    metrics = RecordedMetrics()
    assert outcome(make(metrics, mode="disabled"), batch_of([{}])).passed == {0: {}}
    assert metrics.value("quality_scored_events") == 0


def test_structs_are_scored_like_dicts() -> None:
    struct = Event("1", EVENT["timestamp"], Payload("metric", "s"))
    assert "score 0.3" in outcome(make(), batch_of([struct])).rejects[0].message
