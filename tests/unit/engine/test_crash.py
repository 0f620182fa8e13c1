"""The crash test: whenever the process dies, nothing is lost and windows are exact.

The process is killed at seeded awaits, again and again, until a life runs to its end. Beside the
engine stand its broken variants; the same test must find each of them out.
"""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest

from streamd.api import (
    DEAD_LETTERS,
    Batch,
    BatchLimits,
    DeadLetter,
    Failure,
    Reject,
    Rejected,
    Rejects,
    Retry,
    Retryable,
    Span,
    StageConfig,
    Verdict,
)
from streamd.engine.intake import Intake
from streamd.engine.ledger import Epoch, Ledger
from streamd.engine.pipeline import Pipeline
from streamd.engine.slot import Item, Slot
from streamd.settings.model import PipelineOptions
from streamd.testing.crash import run_for
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemorySink, MemorySource, MemoryStore, MemoryTopic

EVENTS, PARTITIONS, WINDOW = 240, 2, 10


class CountWindow:
    """Counts and sums every ten events of a partition: the smallest thing that must be exact."""

    def __init__(self, _context: Any) -> None:
        self._open: dict[str, tuple[int, int]] = {}
        self._touched: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        return None

    def process(self, batch: Batch) -> Iterable[Batch]:
        (span,) = batch.spans
        count, total = self._open.get(span.partition, (0, 0))
        results = []
        for value, offset in zip(batch.values, batch.offsets, strict=True):
            count, total = count + 1, total + value["n"]
            if count == WINDOW:
                results.append((offset, {"window": f"{span.partition}/{offset}", "total": total}))
                count, total = 0, 0
        self._open[span.partition] = (count, total)
        self._touched.add(span.partition)
        if results:
            offsets = [offset for offset, _ in results]
            yield Batch(
                [row for _, row in results],
                offsets=offsets,
                timestamps=offsets,
                spans=[Span(f"w:{span.partition}", offsets[0], offsets[-1] + 1, len(offsets))],
            )

    def assign(self, partitions: Collection[str], rows: Iterable[tuple[str, bytes, bytes]]) -> None:
        for partition, _, value in rows:
            self._open[partition] = msgspec.msgpack.decode(value, type=tuple[int, int])

    def revoke(self, partitions: Collection[str]) -> None:
        for partition in partitions:
            self._open.pop(partition, None)

    def take_changes(self) -> Sequence[tuple[str, bytes, bytes | None]]:
        changes: list[tuple[str, bytes, bytes | None]] = [
            (partition, b"open", msgspec.msgpack.encode(self._open[partition]))
            for partition in sorted(self._touched)
        ]
        self._touched.clear()
        return changes


class RefuseSome:
    """Rejects every number that ends in 7."""

    def __init__(self, _context: Any) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        return None

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        bad = [row for row, value in enumerate(batch.values) if value["n"] % 10 == 7]
        if bad:
            yield Rejects({row: Reject("seven", "ends in 7") for row in bad})
        yield batch.without(bad)


class TryAgain:
    def decide(self, failure: Failure) -> Verdict | None:
        return DeadLetter() if isinstance(failure.error, Rejected) else Retry(0.1)


class World:
    """What a crash does not touch: the broker, the stores behind the sinks, the checkpoints."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.topic = MemoryTopic(PARTITIONS)
        for number in range(EVENTS):
            event = msgspec.json.encode({"id": f"e{number}", "n": number})
            self.topic.add(event, number % PARTITIONS)
        self.store = MemoryStore()
        self.rows: list[Any] = []
        self.windows: list[Any] = []
        self.dead: list[Any] = []
        self.lives = 0

    def flaky(self, _batch: Batch) -> None:
        if self.random.random() < 0.2:
            raise Retryable("a passing fault")

    async def live(self) -> None:
        spec = pipeline(
            stage("source", "in", lambda context: MemorySource(self.topic, context)),
            stage("validate", "refuse", RefuseSome),
            stage("window", "w", CountWindow),
            self._sink("out", self.rows),
            self._sink("windows", self.windows, inputs=("w",)),
            self._sink("dlq", self.dead, inputs=(DEAD_LETTERS,)),
            policies=[TryAgain()],
            options=PipelineOptions(batch_events=7, epoch_events=40, max_events=120),
        )
        self.lives += 1
        await Pipeline(spec, surroundings(self.store, state_dir=Path("unused"))).run()

    def _sink(self, name: str, rows: list[Any], inputs: tuple[str, ...] = ("main",)) -> Any:
        def make(_context: Any) -> MemorySink:
            return MemorySink(rows, fail=self.flaky, torn=True)

        return stage("sink", name, make, inputs=inputs, batch=BatchLimits(rows=16))


def exact_windows() -> dict[str, int]:
    """The windows of a run that nothing disturbs."""
    totals = {}
    for partition in range(PARTITIONS):
        kept = [
            (offset, number)
            for offset, number in enumerate(range(partition, EVENTS, PARTITIONS))
            if number % 10 != 7
        ]
        for first in range(0, len(kept) - WINDOW + 1, WINDOW):
            window = kept[first : first + WINDOW]
            totals[f"events:{partition}/{window[-1][0]}"] = sum(number for _, number in window)
    return totals


def crash_and_check(seed: int) -> None:
    """Kill and restart until a life ends by itself, then hold what is stored against the law."""
    world = World(seed)
    kills = random.Random(seed)
    while run_for(kills.randrange(40, 1500), world.live) is None:
        assert world.lives < 200, "no life gets far enough: progress is lost"
    stored = Counter(row["n"] for row in world.rows)
    expected = {number for number in range(EVENTS) if number % 10 != 7}
    assert set(stored) == expected, f"lost {sorted(expected - set(stored))}"
    dead = {doc["original_message"]["n"] for doc in world.dead}
    refused = set(range(EVENTS)) - expected
    assert dead == refused, f"lost dead letters {sorted(refused - dead)}"
    windows: dict[str, set[int]] = {}
    for row in world.windows:
        windows.setdefault(row["window"], set()).add(row["total"])
    exact = {name: {total} for name, total in exact_windows().items()}
    assert windows == exact, "windows are not exact"
    committed = {p: c.position for p, c in world.topic.committed.items()}
    assert committed == {p: len(records) for p, records in world.topic.records.items()}


def crash_many(seeds: int) -> None:
    for seed in range(seeds):
        crash_and_check(seed)


@pytest.mark.parametrize("seed", range(60))
def test_a_kill_at_any_await_loses_nothing_and_keeps_windows_exact(seed: int) -> None:
    crash_and_check(seed)


def test_a_kill_at_each_single_await_of_a_life() -> None:
    whole = run_for(10**9, World(1).live)
    assert whole is not None
    for step in range(1, whole, 7):
        world = World(1)
        assert run_for(step, world.live) is None
        assert run_for(10**9, world.live) is not None
        assert {row["n"] for row in world.rows} == {n for n in range(EVENTS) if n % 10 != 7}
        totals = {(row["window"], row["total"]) for row in world.windows}
        assert totals == set(exact_windows().items())


def ack_before_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a batch counts as done once it is taken from the queue."""
    deliver = Slot._deliver

    async def broken(self: Slot, items: list[Item]) -> None:
        for item in items:
            for epoch in item.epochs:
                self._ledger.done(epoch)
        self._progressed()
        await deliver(self, [item._replace(epochs=()) for item in items])

    monkeypatch.setattr(Slot, "_deliver", broken)


def state_after_the_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: an epoch's positions come from one moment, its changes of state from a later one."""
    close, save = Intake._close, MemoryStore.save
    stateful: list[Any] = []

    def broken_close(self: Intake) -> None:
        stateful[:] = list(self._stateful.items())
        kept, self._stateful = self._stateful, {}
        close(self)
        self._stateful = kept

    async def broken_save(self: MemoryStore, *args: Any) -> None:
        args[2].changes.extend(
            (name, StageConfig().state_key(), *change)
            for name, step in stateful
            for change in step.take_changes()
        )
        await save(self, *args)

    monkeypatch.setattr(Intake, "_close", broken_close)
    monkeypatch.setattr(MemoryStore, "save", broken_save)


def commit_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a closed epoch is committed while its batches are still in the slots."""
    find = Ledger._find

    def closed(self: Ledger) -> list[Epoch]:
        return [epoch for epoch in self._epochs if epoch.cut is not None]

    def lenient(self: Ledger, number: int) -> Epoch:
        retired = number < self.oldest.number
        return Epoch(number, 0.0, pending=9) if retired else find(self, number)

    monkeypatch.setattr(Ledger, "completed", closed)
    monkeypatch.setattr(Ledger, "_find", lenient)


@pytest.mark.parametrize(
    ("sabotage", "finding"),
    [
        (ack_before_write, "lost"),
        (state_after_the_cut, "windows"),
        (commit_without_waiting, "lost"),
    ],
)
def test_a_broken_engine_is_found_out(
    sabotage: Callable[[pytest.MonkeyPatch], None],
    finding: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sabotage(monkeypatch)
    with pytest.raises(AssertionError, match=finding):
        crash_many(60)
