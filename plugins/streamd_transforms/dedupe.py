"""Let each event through once."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Literal

from msgspec import Meta

from streamd.api import Batch, ConfigError, Duration, Rejects, StageConfig, StageContext, doc
from streamd_transforms.base import Transform, stream_name
from streamd_transforms.keys import Keys
from streamd_transforms.memory import Memory


class Dedupe(Transform):
    """Drop events whose key was seen within a time to live."""

    class Config(StageConfig, frozen=True, kw_only=True):
        key: Annotated[
            str | tuple[str, ...],
            doc("Path, or paths, whose values make an event the same as another."),
        ] = "id"
        ttl: Annotated[
            Duration,
            doc("How far apart in time two events with the same key are no duplicates any more."),
        ] = Duration("1h")
        time: Annotated[
            Literal["record", "processing"],
            doc(
                "The time that counts: the record's own timestamp, for which a replay comes to the"
                " same verdicts, or that of the machine when the event passes."
            ),
        ] = "record"
        scope: Annotated[
            Literal["pipeline", "partition"],
            doc(
                "Look for duplicates in all partitions that this pipeline reads, or only in the"
                " event's own."
            ),
        ] = "pipeline"
        max_keys: Annotated[
            Annotated[int, Meta(ge=1)],
            doc("Most keys remembered per source partition; beyond it the oldest are forgotten."),
        ] = 100_000
        without_key: Annotated[
            Literal["keep", "reject"],
            doc('What happens to an event that lacks a part of the key (missing, null or "").'),
        ] = "keep"
        duplicates: Annotated[
            str | None, doc("Stream for the duplicates. By default they are dropped and counted.")
        ] = None

        def emits(self, stage: str) -> tuple[str, ...]:  # noqa: ARG002
            return () if self.duplicates is None else (self.duplicates,)

        def state_key(self) -> str:
            """What was seen stays true when the time to live or a bound changes."""
            return json.dumps([self.time, *self.paths().values()])

        def paths(self) -> dict[str, str]:
            """The paths of the key, by the settings that name them."""
            if isinstance(self.key, str):
                return {"key": self.key}
            return {f"key[{at}]": path for at, path in enumerate(self.key)}

    def __init__(self, config: Config, context: StageContext) -> None:
        if not config.key:
            raise ConfigError("name at least one path", path="key")
        if config.ttl < 0.001:
            raise ConfigError("expected at least 1ms", path="ttl")
        if config.duplicates is not None:
            stream_name(config.duplicates, "duplicates")
        self._keys = Keys(config.paths())
        self._config = config
        self._now = context.clock.now_ms
        self._log = context.log
        self._memory = Memory(
            round(config.ttl * 1000), config.max_keys, shared=config.scope == "pipeline"
        )
        counter = context.metrics.counter
        self._dropped = counter("duplicate_events_total", "Events whose key was seen before.")
        self._evicted = counter(
            "dedupe_evicted_keys_total", "Keys forgotten before their time, as there were too many."
        )
        self._held = context.metrics.gauge("dedupe_keys", "Keys remembered.")

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        keys, rejects = self._keys.of(batch.values)
        if self._config.without_key == "reject" and None in keys:
            nothing = self._keys.reject_without()
            rejects = {row: nothing for row, key in enumerate(keys) if key is None} | rejects
        evicted = self._memory.evicted
        rows = [row for row in self._unseen(batch, keys) if row not in rejects]
        self._report(len(batch) - len(rows) - len(rejects), self._memory.evicted - evicted)
        if len(rows) == len(batch):
            return [batch]
        results: list[Batch | Rejects] = [Rejects(rejects)] if rejects else []
        if rows:
            results.append(batch.take(rows))
        if self._config.duplicates is not None:
            rest = batch.without({*rows, *rejects})
            rest.stream = self._config.duplicates
            results.append(rest)
        return results

    def assign(self, partitions: Collection[str], rows: Iterable[tuple[str, bytes, bytes]]) -> None:
        self._memory.assign(partitions, rows)
        self._held.set(len(self._memory))

    def revoke(self, partitions: Collection[str]) -> None:
        self._memory.revoke(partitions)
        self._held.set(len(self._memory))

    def take_changes(self) -> Sequence[tuple[str, bytes, bytes | None]]:
        return self._memory.take_changes()

    def _unseen(self, batch: Batch, keys: list[bytes | None]) -> list[int]:
        record_time = self._config.time == "record"
        times = batch.timestamps if record_time else [self._now()] * len(batch)
        if len(batch.spans) == 1:
            return self._memory.unseen(batch.spans[0].partition, keys, times)
        rows: list[int] = []
        first = 0
        for span in batch.spans:
            end = first + span.rows
            found = self._memory.unseen(span.partition, keys[first:end], times[first:end])
            rows += [first + index for index in found]
            first = end
        return rows

    def _report(self, dropped: int, evicted: int) -> None:
        if dropped:
            self._dropped.inc(dropped)
        if evicted:
            if self._memory.evicted == evicted:
                self._log.warning(
                    "More keys than max_keys: older duplicates will pass",
                    max_keys=self._config.max_keys,
                )
            self._evicted.inc(evicted)
        self._held.set(len(self._memory))
