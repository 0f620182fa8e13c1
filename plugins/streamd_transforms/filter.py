"""Let only some events through."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from streamd.api import Batch, Rejects, StageConfig, StageContext, doc
from streamd_transforms.base import Transform, expression, expression_reject


class Filter(Transform):
    """Keep the events that meet a condition, or drop them."""

    class Config(StageConfig, frozen=True, kw_only=True):
        condition: Annotated[
            str, doc("Expression that tells which events are meant.", example='kind == "order"')
        ]
        action: Annotated[
            Literal["keep", "drop"],
            doc("Keep only the events for which the condition holds, or drop just these."),
        ] = "keep"

    def __init__(self, config: Config, context: StageContext) -> None:
        self._condition = expression(config.condition, "condition", context.clock.now_ms)
        self._drops = config.action == "drop"
        self._filtered = context.metrics.counter(
            "filtered_events_total", "Events that a filter has taken out of its stream."
        )

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        errors: dict[int, str] = {}
        rows = self._condition.filter_indices(batch.values, None, errors)
        if self._drops:
            gone = errors.keys() | set(rows)
            rows = [row for row in range(len(batch)) if row not in gone]
        if filtered := len(batch) - len(rows) - len(errors):
            self._filtered.inc(filtered)
        if len(rows) == len(batch):
            return [batch]
        results: list[Batch | Rejects] = []
        if errors:
            results.append(Rejects({row: expression_reject(errors[row]) for row in errors}))
        if rows:
            results.append(batch.take(rows))
        return results
