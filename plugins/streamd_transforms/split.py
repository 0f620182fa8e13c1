"""Send events into streams of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from streamd.api import Batch, ConfigError, Rejects, StageConfig, StageContext, doc
from streamd_transforms.base import (
    Transform,
    expression,
    expression_reject,
    stream_name,
    within,
)


class Split(Transform):
    """Send each event into the streams whose expression holds for it."""

    class Config(StageConfig, frozen=True, kw_only=True):
        routes: Annotated[
            dict[str, str],
            doc("Stream and the expression that leads into it.", example={"big": "amount > 1000"}),
        ]
        match: Annotated[
            Literal["first", "all"],
            doc("Take the first route that fits an event, or every one (the event is copied)."),
        ] = "first"
        otherwise: Annotated[
            str | None,
            doc(
                "Stream of the events that no route fits. By default they stay in their own; with"
                " this nothing is left in it for whatever comes behind."
            ),
        ] = None

        def emits(self, stage: str) -> tuple[str, ...]:  # noqa: ARG002
            rest = () if self.otherwise is None else (self.otherwise,)
            return tuple(dict.fromkeys((*self.routes, *rest)))

        def passes_on(self) -> bool:
            return self.otherwise is None

    def __init__(self, config: Config, context: StageContext) -> None:
        if not config.routes:
            raise ConfigError("name at least one stream", path="routes")
        clock = context.clock.now_ms
        self._routes = []
        for stream, text in config.routes.items():
            setting = within("routes", stream)
            condition = expression(text, setting, clock)
            self._routes.append((stream_name(stream, setting), condition))
        self._first = config.match == "first"
        self._otherwise = config.otherwise
        if config.otherwise is not None:
            stream_name(config.otherwise, "otherwise")

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        routed, errors = self._route(batch)
        results: list[Batch | Rejects] = []
        if errors:
            results.append(Rejects({row: expression_reject(errors[row]) for row in sorted(errors)}))
        taken = set(errors)
        for stream, found in routed:
            rows = [row for row in found if row not in errors] if errors else found
            taken.update(rows)
            if rows:
                results.append(_part(batch, rows, stream))
        if not taken and self._otherwise is None:
            return [batch]
        rest = [row for row in range(len(batch)) if row not in taken]
        if rest:
            results.append(_part(batch, rest, self._otherwise))
        return results

    def _route(self, batch: Batch) -> tuple[list[tuple[str, list[int]]], dict[int, str]]:
        """The rows of each stream, and of those that have none for an expression has failed."""
        routed: list[tuple[str, list[int]]] = []
        errors: dict[int, str] = {}
        rows, values = list(range(len(batch))), batch.values
        for stream, condition in self._routes:
            failed: dict[int, str] = {}
            found = condition.filter_indices(values, None, failed)
            routed.append((stream, [rows[at] for at in found]))
            errors.update((rows[at], message) for at, message in failed.items())
            if self._first and (found or failed):
                done = failed.keys() | set(found)
                left = [at for at in range(len(rows)) if at not in done]
                rows = [rows[at] for at in left]
                values = [values[at] for at in left]
        return routed, errors


def _part(batch: Batch, rows: list[int], stream: str | None) -> Batch:
    if len(rows) == len(batch):
        return batch.replace(batch.values, stream=stream)
    return batch.take(rows, stream=stream)
