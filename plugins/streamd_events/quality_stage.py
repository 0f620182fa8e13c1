"""The `quality` validator: events below a score are rejected, scores become metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple, Self

from msgspec import Meta

import streamd.api
from streamd.api import Batch, ConfigError, Duration, Reject, Rejects, StageContext, doc
from streamd_events.problems import Problem
from streamd_events.quality import (
    BUILT_IN_RULES,
    OPTIONAL_FIELDS,
    REQUIRED_FIELDS,
    DataQualityCheck,
    Rule,
    field,
    present,
)
from streamd_events.verdicts import ModeConfig, Verdicts, reject_of

_CHECKS = ("completeness", "consistency", "freshness", "overall")


class Score(NamedTuple):
    """What is known of one event; `issues` holds (rule, sentence) pairs."""

    overall: float
    completeness: float
    fresh: bool
    issues: list[tuple[str, str]]


class QualityValidator:
    """Score events by completeness, freshness and consistency; refuse those below a minimum."""

    class Config(ModeConfig, frozen=True, kw_only=True):
        min_score: Annotated[
            float,
            doc("Lowest score that passes.", example="${DATA_QUALITY_MIN_SCORE:-0.5}"),
            Meta(ge=0, le=1),
        ] = 0.5
        issue_penalty: Annotated[
            float,
            doc("What each consistency issue, and not being fresh, takes from the score."),
            Meta(ge=0, le=1),
        ] = 0.1
        max_age: Annotated[
            Duration | None,
            doc("How far the timestamp of a fresh event is from now. None: age does not matter."),
        ] = None
        rules: Annotated[
            tuple[str, ...] | None,
            doc("Consistency rules of other plugins to use beside the built-in ones. None: all."),
        ] = None

    def __init__(self, config: Config, context: StageContext) -> None:
        """Raises ConfigError for a rule that no plugin offers."""
        self._config = config
        self._clock = context.clock
        self._verdicts = Verdicts(config, context)
        self._rules = _rules(config.rules, context)
        self._metrics = context.metrics
        self._means = {
            check: context.metrics.gauge(
                "quality_score", "Data quality of the last batch, 0 to 1, by check.", check=check
            )
            for check in _CHECKS
        }
        self._points = context.metrics.counter(
            "quality_score_points", "Sum of the overall scores of all events."
        )
        self._scored = context.metrics.counter("quality_scored_events", "Events that were scored.")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        """Events stay as they are."""
        if not self._verdicts.active or not len(batch):
            return [batch]
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        scores: list[Score] = []
        failures: dict[int, Reject] = {}
        for row, event in enumerate(batch.values):
            try:
                score = self._score(event, now)
            except Exception as error:  # a rule is somebody else's code
                failures[row] = streamd.api.reject_of(error)
                continue
            scores.append(score)
            if score.overall < self._config.min_score:
                failures[row] = self._refuse(event, score)
        self._observe(scores)
        return self._verdicts.apply(batch, failures)

    def _score(self, event: Any, now: datetime) -> Score:
        payload, max_age = field(event, "payload"), self._config.max_age
        completeness = DataQualityCheck.check_completeness(payload)
        issues = [(name, issue) for name, rule in self._rules for issue in rule(payload)]
        fresh = max_age is None or DataQualityCheck.check_freshness(
            field(event, "timestamp"), max_age, now=now
        )
        penalty = self._config.issue_penalty * (len(issues) + (not fresh))
        return Score(max(0.0, round(completeness - penalty, 9)), completeness, fresh, issues)

    def _refuse(self, event: Any, score: Score) -> Reject:
        payload = field(event, "payload")
        lacking = [name for name in REQUIRED_FIELDS + OPTIONAL_FIELDS if not present(payload, name)]
        return reject_of(
            [
                Problem(
                    "quality", "$", f"score {score.overall:g}, below {self._config.min_score:g}"
                ),
                *(Problem("quality", f"$.payload.{name}", "absent or empty") for name in lacking),
                *(Problem("quality", "$.payload", issue) for _, issue in score.issues),
                *([] if score.fresh else [Problem("quality", "$.timestamp", "not fresh")]),
            ]
        )

    def _observe(self, scores: Sequence[Score]) -> None:
        if not scores:
            return
        sums = {
            "completeness": sum(score.completeness for score in scores),
            "consistency": sum(not score.issues for score in scores),
            "freshness": sum(score.fresh for score in scores),
            "overall": sum(score.overall for score in scores),
        }
        for check, total in sums.items():
            self._means[check].set(total / len(scores))
        self._points.inc(sums["overall"])
        self._scored.inc(len(scores))
        for rule, count in Counter(rule for score in scores for rule, _ in score.issues).items():
            self._metrics.counter(
                "quality_issues", "Consistency issues by the rule that found them.", rule=rule
            ).inc(count)


def _rules(wanted: Sequence[str] | None, context: StageContext) -> list[tuple[str, Rule]]:
    offered = context.extensions.get("quality_rule", {})
    names = sorted(offered) if wanted is None else wanted
    for name in names:
        if name not in offered:
            known = ", ".join(sorted(offered)) or "none"
            raise ConfigError(f"no plugin offers the quality rule {name} (known: {known})",
                              path="rules")  # fmt: skip
    built_in = [("advised_fields", rule) for rule in BUILT_IN_RULES]
    return built_in + [(name, _build(offered[name], context)) for name in names]


def _build(cls: Any, context: StageContext) -> Rule:
    rule: Rule = cls(cls.Config(), context)
    return rule
