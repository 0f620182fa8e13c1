"""From problems to rejects, and from rejects to what a validator stage yields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated, Literal

import streamd.api
from streamd.api import (
    FAILED,
    VALID,
    Batch,
    Reject,
    Rejects,
    StageConfig,
    StageContext,
    Violation,
    doc,
)
from streamd_events.problems import MAX_PROBLEMS, Problem

_FAILURES = "Events that failed validation, by the reason of their first violation."


class ModeConfig(StageConfig, frozen=True, kw_only=True):
    """The settings that all validators share."""

    enabled: Annotated[
        bool,
        doc("False: let everything pass unseen.", example="${VALIDATION_ENABLED:-true}"),
    ] = True
    mode: Annotated[
        Literal["strict", "warn", "disabled"],
        doc(
            "`strict`: an event that fails goes to the policies. `warn`: it passes with the status "
            "`failed`, is counted and logged. `disabled`: everything passes unseen.",
            example="${VALIDATION_MODE:-strict}",
        ),
    ] = "strict"


def reject_of(problems: Iterable[Problem]) -> Reject:
    """The reject of an event with these problems, the first of which gives the reason."""
    found = list(islice(problems, MAX_PROBLEMS)) or [Problem("invalid", "$", "not valid")]
    violations = [Violation(problem.path, problem.message) for problem in found]
    if len(found) == MAX_PROBLEMS:
        violations[-1] = Violation("$", f"more than {MAX_PROBLEMS - 1} violations")
    first = f"{found[0].path}: {found[0].message}"
    message = first if len(found) == 1 else f"{first} (the first of {len(found)} violations)"
    return Reject(found[0].reason, message[:1000], tuple(violations))


class Verdicts:
    """Gives effect to the mode of a stage: rejects or marks rows, counts and logs them."""

    def __init__(self, config: ModeConfig, context: StageContext) -> None:
        self.active = config.enabled and config.mode != "disabled"
        self._warn = config.mode == "warn"
        self._log, self._clock = context.log, context.clock
        self._metrics = context.metrics
        self._counters: dict[str, streamd.api.Counter] = {}
        self._logged: dict[str, int] = {}

    def apply(
        self,
        batch: Batch,
        failures: Mapping[int, Reject],
        undecodable: Mapping[int, Reject] | None = None,
    ) -> Iterator[Batch | Rejects]:
        """What comes of a decoded batch of which some rows failed.

        `undecodable` rows have no value: they are rejected in every mode.
        """
        if not failures and not undecodable:
            yield batch
            return
        gone = dict(undecodable or {})
        self._count([*failures.values(), *gone.values()])
        if self._warn:
            batch = _mark(batch, failures)
            self._metrics.validation_failed(failures.values())
            self._say(failures)
        else:
            gone.update(failures)
        if gone:
            yield Rejects(dict(sorted(gone.items())))
            batch = batch.without(gone)
        if len(batch):
            yield batch

    def _count(self, rejects: Iterable[Reject]) -> None:
        for reason, count in Counter(reject.reason for reject in rejects).items():
            if reason not in self._counters:
                self._counters[reason] = self._metrics.counter(
                    "validation_failures", _FAILURES, reason=reason
                )
            self._counters[reason].inc(count)

    def _say(self, failures: Mapping[int, Reject]) -> None:
        """At most one line per reason and second; in strict mode the engine sees the rejects."""
        second = self._clock.now_ms() // 1000
        examples = {reject.reason: reject.message for reject in failures.values()}
        for reason, count in Counter(reject.reason for reject in failures.values()).items():
            if self._logged.get(reason) != second:
                self._logged[reason] = second
                self._log.warning(
                    "Validation failed", reason=reason, events=count, example=examples[reason][:200]
                )


def _mark(batch: Batch, failures: Mapping[int, Reject]) -> Batch:
    before = batch.statuses or [VALID] * len(batch)
    marked = batch.replace(batch.values)
    marked.statuses = [FAILED if row in failures else status for row, status in enumerate(before)]
    return marked
