"""Taps: what they show of each stage, and that nothing they do is felt by the pipeline."""

import base64
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.api import (
    DEAD_LETTERS,
    FAILED,
    VALID,
    Batch,
    Codec,
    DeadLetter,
    Drop,
    Reject,
    Rejected,
    Rejects,
    Retryable,
)
from streamd.engine.pipeline import Pipeline
from streamd.engine.tap import Outlet, Outlets, Tap
from streamd.engine.tap_limits import Budget, Thinning
from streamd.settings.model import PipelineSpec
from streamd.testing.batches import batch_of
from streamd.testing.harness import pipeline, reload, stage, surroundings
from streamd.testing.memory import MemoryStore
from tests.unit.engine.doubles import Plain, Through, Verdicts, mark, sink, source, topic_of

BURY = Verdicts({Rejected: DeadLetter()})


def tap_on(outlet: Outlet, **options: Any) -> Tap:
    endless = Budget(clock=lambda: 0.0)
    return Tap(outlet, options.pop("budget", endless), random=Random(7), **options)


def shown(tap: Tap) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in tap.fetch()]


def values(tap: Tap) -> list[Any]:
    return [one["value"] for one in shown(tap)]


def events(count: int) -> Batch:
    return batch_of([{"n": number} for number in range(count)])


# --- how much of it ---------------------------------------------------------------------------


@given(st.integers(1, 50), st.lists(st.integers(0, 70), max_size=30), st.integers())
def test_exactly_one_in_n_is_chosen_from_each_n_that_follow_each_other(
    n: int, batches: list[int], seed: int
) -> None:
    thinning, first, chosen = Thinning(n, Random(seed)), 0, []
    for count in batches:
        rows = list(thinning.rows(count))
        assert all(0 <= row < count for row in rows)
        chosen += [first + row for row in rows]
        first += count
    whole = first // n
    assert [place // n for place in chosen[:whole]] == list(range(whole))
    assert len(chosen) <= whole + 1


@given(st.floats(1, 20), st.integers())
def test_any_share_can_be_chosen(one_in: float, seed: int) -> None:
    chosen = list(Thinning(one_in, Random(seed)).rows(2000))
    assert chosen == sorted(set(chosen))
    assert abs(len(chosen) - 2000 / one_in) <= 2


def test_events_that_come_round_robin_are_all_seen() -> None:
    chosen = Thinning(10, Random(1)).rows(1000)
    assert {place % 10 for place in chosen} == set(range(10))


def test_a_budget_is_a_share_of_the_time_and_saves_up_what_was_overdrawn() -> None:
    now = 0.0
    budget = Budget(0.1, 0.02, lambda: now)
    spent = 0.0
    for _ in range(10_000):
        if budget.open():
            started, now = now, now + 0.003
            spent += now - started
            budget.spent(started)
        now += 0.001
    assert spent / now == pytest.approx(0.1, abs=0.005)
    now += 100
    assert budget.open()
    started, now = now, now + 5
    budget.spent(started)
    now += 40
    assert not budget.open()
    now += 20
    assert budget.open()


def test_what_there_is_no_time_for_goes_by_and_is_counted() -> None:
    ticks = iter(range(10**9))
    outlet = Outlet("p", "s")
    with tap_on(outlet, budget=Budget(0.1, 6, lambda: float(next(ticks)))) as tap:
        for _ in range(50):
            outlet.leaves("main", events(100))
        seen = len(tap.fetch())
        assert 0 < seen < 5000
        assert seen + tap.passed_by == 5000


def test_the_buffer_is_bounded_and_what_does_not_fit_is_counted() -> None:
    outlet = Outlet("p", "s")
    batch = batch_of([{"text": "x" * 1000}] * 500)
    with tap_on(outlet) as tap:
        for _ in range(20):
            outlet.leaves("main", batch)
        lines = tap.fetch()
        assert 900_000 < sum(map(len, lines)) <= 1024 * 1024
        assert len(lines) + tap.passed_by == 10_000
        outlet.leaves("main", batch)
        assert len(tap.fetch()) == 500, "there is room again"
        outlet.leaves("main", batch_of([{"text": "x" * 2_000_000}] * 3))
        assert len(tap.fetch()) == 1, "the largest event can be seen"


def test_a_full_buffer_costs_no_look_at_the_events() -> None:
    outlet = Outlet("p", "s")
    calls: list[int] = []

    def condition(found: Any, _errors: Any) -> Any:
        calls.append(len(found))
        return range(len(found))

    with tap_on(outlet, condition=condition) as tap:
        outlet.leaves("main", batch_of([{"text": "x" * 2_000_000}]))
        outlet.leaves("main", events(1000))
        assert (sum(calls), tap.passed_by) == (1, 1000)


def test_a_limit_ends_the_tap_and_leaves_the_outlet() -> None:
    outlet = Outlet("p", "s")
    with tap_on(outlet, limit=150) as tap, tap_on(outlet) as other:
        outlet.leaves("main", events(100))
        assert not tap.ended
        outlet.leaves("main", events(100))
        assert (tap.ended, tap.done) == ("the limit is reached", True)
        assert outlet.leaving == (other,)
        assert len(shown(tap)) == 150
        assert tap.passed_by == 0
    assert not outlet.leaving


def test_a_sample_that_is_filtered_and_limited() -> None:
    outlet = Outlet("p", "s")

    def even(found: Any, errors: dict[int, str]) -> list[int]:
        errors.update({at: "ends in 5" for at, v in enumerate(found) if v["n"] % 10 == 5})
        return [at for at, value in enumerate(found) if value["n"] % 2 == 0]

    with tap_on(outlet, one_in=10, limit=7, condition=even) as tap:
        for first in range(0, 1000, 100):
            outlet.leaves("main", batch_of([{"n": first + at} for at in range(100)]))
        found = [value["n"] for value in values(tap)]
        assert len(found) == 7
        assert all(number % 2 == 0 for number in found)
        assert tap.cannot_judge > 0
        assert tap.reason == "ends in 5"


@pytest.mark.parametrize("condition", [lambda *_: 1 / 0, lambda *_: [7_000], lambda *_: None])
def test_a_filter_that_breaks_ends_its_tap_alone(condition: Any) -> None:
    outlet = Outlet("p", "s")
    with tap_on(outlet, condition=condition) as broken, tap_on(outlet) as other:
        outlet.leaves("main", events(3))
        assert broken.ended.startswith("the tap has failed")
        assert not broken.done
        assert outlet.leaving == (other,)
        assert len(shown(other)) == 3


# --- what is shown of an event ------------------------------------------------------------------


def test_all_that_is_known_of_an_event_is_shown() -> None:
    outlet = Outlet("orders", "check")
    batch = batch_of(
        [{"a": 1}, {"a": 2}],
        partition="topic:3",
        first=41,
        keys=[b"k", b"\xff"],
        headers=[[("h", b"v")], None],
        timestamps=[5, 6],
    )
    batch.statuses = [VALID, FAILED]
    with tap_on(outlet) as tap:
        outlet.leaves("main", batch)
        first, second = shown(tap)
    place = {"pipeline": "orders", "stage": "check", "stream": "main", "partition": "topic:3"}
    assert first == {
        **place,
        "offset": 41,
        "timestamp": 5,
        "key": "k",
        "headers": [["h", "v"]],
        "value": {"a": 1},
    }
    assert second == {
        **place,
        "offset": 42,
        "timestamp": 6,
        "key": "base64:/w==",
        "validation_status": FAILED,
        "value": {"a": 2},
    }


class Point(msgspec.Struct):
    x: int


class Unknown:
    def __repr__(self) -> str:
        return "something"


@pytest.mark.parametrize(
    ("value", "field", "text"),
    [
        (b'{"a": [1, null]}', "value", {"a": [1, None]}),
        (b"\xff\x00", "bytes", base64.b64encode(b"\xff\x00").decode()),
        (None, "value", None),
        (Point(3), "value", {"x": 3}),
        ({"a": math.nan, "b": [math.inf, None]}, "value", {"a": "nan", "b": ["inf", None]}),
        ({"a": Unknown()}, "value", {"a": "something"}),
        ({"a": b"\xff"}, "value", {"a": "/w=="}),
        ("\ud800", "value", "'\\ud800'"),
        ("null", "value", "null"),
    ],
)
def test_every_value_has_a_form(value: Any, field: str, text: Any) -> None:
    outlet = Outlet("p", "s")
    with tap_on(outlet) as tap:
        outlet.leaves("main", batch_of([value], raws=[b""]))
        (one,) = shown(tap)
        assert one[field] == text
        assert not tap.ended


def test_what_travels_with_a_value_has_a_form_too() -> None:
    outlet = Outlet("p", "s")
    batch = batch_of([b"\xff", 1], raws=[b"", b""], headers=[[("\udcff", b"x")], None])
    with tap_on(outlet) as tap:
        outlet.leaves("main", batch)
        one, two = shown(tap)
        assert (one["headers"], one["bytes"]) == ("[['\\udcff', 'x']]", "/w==")
        assert two["value"] == 1
        assert not tap.ended


def test_so_has_what_a_condition_says() -> None:
    def confused(values: Sequence[Any], errors: dict[int, str]) -> Sequence[int]:
        errors[0] = "what is \udcff"
        return []

    outlet = Outlet("p", "s")
    with tap_on(outlet, condition=confused) as tap:
        outlet.leaves("main", events(1))
        assert (tap.cannot_judge, tap.reason) == (1, "'what is \\udcff'")


def test_what_is_shown_is_what_left_whatever_a_later_stage_does_to_it() -> None:
    outlet = Outlet("p", "s")
    batch = events(1)
    with tap_on(outlet) as tap:
        outlet.leaves("main", batch)
        batch.values[0]["n"] = "changed"
        assert values(tap) == [{"n": 0}]


def test_an_outlet_is_the_same_for_a_name_as_long_as_somebody_holds_it() -> None:
    outlets = Outlets()
    held = outlets.of("p", "s")
    assert outlets.of("p", "s") is held
    assert outlets.of("p", "t") is not held
    assert outlets.of("q", "s") is not held


# --- in a pipeline --------------------------------------------------------------------------


class Splits(Plain):
    """Sends odd events to `odd`, and marks the others."""

    def process(self, batch: Batch) -> Iterable[Batch]:
        odd = [row for row, value in enumerate(batch.values) if value["n"] % 2]
        rest = batch.without(odd)
        return [
            batch.take(odd, stream="odd"),
            rest.replace([{**value, "by": "split"} for value in rest.values]),
        ]


class Typed(Splits):
    """The same, decoding in the same pass."""

    def typed(self, codec: Codec) -> "Through":
        def process(batch: Batch) -> list[Batch | Rejects]:
            found, rejects = codec.decode(batch.raws or ())
            good = [row for row in range(len(batch)) if row not in rejects]
            read = batch.take(good, [found[row] for row in good])
            return [Rejects(rejects), *self.process(read)]

        return Through(process)


class Sums(Plain):
    """A window: emits what it has counted when time passes."""

    def __init__(self, _context: Any = None) -> None:
        self.count = 0

    def process(self, batch: Batch) -> Iterable[Batch]:
        self.count += len(batch)
        late = [row for row, value in enumerate(batch.values) if value["n"] == 3]
        return [batch.take(late, stream="sums.late")]

    def next_wake(self) -> float:
        return 1.0

    def tick(self, now: float) -> list[Batch]:
        if now < 5 or not self.count:
            return []
        count, self.count = self.count, 0
        return [batch_of([{"count": count}], partition="sums:events:0")]


async def run(
    spec: PipelineSpec, folder: Path, taps: dict[str, dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """What taps show of a whole life, by the stage that they are on."""
    around = surroundings(MemoryStore(), state_dir=folder)
    with ExitStack() as stack:
        put = {
            name: stack.enter_context(tap_on(around.outlets.of("test", name), **options))
            for name, options in taps.items()
        }
        await Pipeline(spec, around).run()
        assert not any(tap.ended or tap.passed_by for tap in put.values())
        return {name: shown(tap) for name, tap in put.items()}


def streams(found: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(one["stream"], one["value"]["n"]) for one in found]


@pytest.mark.parametrize("validator", [Splits, Typed])
async def test_each_stage_shows_what_leaves_it(
    validator: Callable[..., Any], tmp_path: Path
) -> None:
    topic = topic_of(6)
    topic.add(b"{")
    rows: list[Any] = []
    spec = pipeline(
        source(topic),
        stage("validate", "split", validator),
        mark("later"),
        stage("window", "sums", Sums),
        sink(rows),
        sink([], "odds", inputs=("odd",)),
        sink([], "totals", inputs=("sums", "sums.late")),
        sink([], "dead", inputs=(DEAD_LETTERS,)),
        policies=[BURY],
    )
    taps = ["in", "split", "mark", "sums", "out", "odds", "totals", "dead"]
    found = await run(spec, tmp_path, {name: {} for name in taps})
    assert streams(found["in"]) == [("main", number) for number in range(6)]
    assert all("by" not in one["value"] for one in found["in"])
    assert sorted(streams(found["split"])) == [
        *(("main", number) for number in (0, 2, 4)),
        *(("odd", number) for number in (1, 3, 5)),
    ]
    assert {one["value"].get("by") for one in found["split"]} == {None, "split"}
    assert [one["value"]["by"] for one in found["mark"]] == ["later"] * 3
    (total,) = found["sums"]
    assert (total["stream"], total["partition"]) == ("sums", "sums:events:0")
    assert total["value"] == {"count": 3}
    assert [one["value"] for one in found["out"]] == rows
    assert [one["offset"] for one in found["out"]] == [0, 2, 4]
    assert "stream" not in found["out"][0]
    assert [one["value"]["n"] for one in found["odds"]] == [1, 3, 5]
    assert [one["value"] for one in found["totals"]] == [{"count": 3}]
    assert [one["value"]["topic"] for one in found["dead"]] == ["events"]


async def test_where_nobody_looks_nothing_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        pytest.fail("a tap is at work")

    monkeypatch.setattr(Outlet, "leaves", never)
    rows: list[Any] = []
    spec = pipeline(source(topic_of(5)), mark("x"), stage("window", "sums", Sums), sink(rows))
    around = surroundings(MemoryStore(), state_dir=tmp_path)
    with tap_on(around.outlets.of("test", "elsewhere")):
        await Pipeline(spec, around).run()
    assert len(rows) == 5


async def test_one_stream_of_a_stage(tmp_path: Path) -> None:
    spec = pipeline(
        source(topic_of(6)),
        stage("window", "sums", Sums),
        stage("transform", "split", Splits),
        sink([], "all", inputs=("main", "odd", "sums", "sums.late")),
    )
    found = await run(spec, tmp_path, {"split": {"stream": "odd"}, "sums": {"stream": "sums.late"}})
    assert streams(found["split"]) == [("odd", number) for number in (1, 3, 5)]
    assert streams(found["sums"]) == [("sums.late", 3)]


async def test_of_a_sink_only_what_it_has_stored_is_shown(tmp_path: Path) -> None:
    rows: list[Any] = []
    fails = iter([True, True, False])

    def fail(batch: Batch) -> None:
        if next(fails, False):
            raise Retryable("down")
        if bad := [row for row, value in enumerate(batch.values) if value["n"] == 2]:
            raise Rejected({row: Reject("two", "no") for row in bad})

    spec = pipeline(
        source(topic_of(5)), sink(rows, fail=fail), policies=[Verdicts({Rejected: Drop("x")})]
    )
    found = await run(spec, tmp_path, {"out": {}})
    assert [one["value"]["n"] for one in found["out"]] == [0, 1, 3, 4]


@pytest.mark.parametrize("verdict", [DeadLetter(), Drop("unwanted")])
async def test_what_stages_refuse_is_shown_with_the_reason(verdict: Any, tmp_path: Path) -> None:
    def process(batch: Batch) -> list[Any]:
        bad = [row for row, value in enumerate(batch.values) if value["n"] == 1]
        return [Rejects({row: Reject("one", "no one") for row in bad}), batch.without(bad)]

    def fail(batch: Batch) -> None:
        raise Rejected({0: Reject("first", "not the first")})

    topic = topic_of(3)
    topic.add(b"{")
    topic.add(b'{"n": 1, "n": ')
    spec = pipeline(
        source(topic),
        stage("validate", "check", lambda _context: Through(process)),
        sink([], fail=fail),
        sink([], "dead", inputs=(DEAD_LETTERS,)),
        policies=[Verdicts({Rejected: verdict})],
    )
    rejects = {"rejects": True}
    found = await run(spec, tmp_path, {"in": rejects, "check": rejects, "out": rejects})
    assert [base64.b64decode(one["bytes"]) for one in found["in"]] == [b"{", b'{"n": 1, "n": ']
    assert {one["error"]["reason"] for one in found["in"]} == {"malformed"}
    (checked,) = found["check"]
    assert checked["error"] == {"type": "ValueError", "reason": "one", "message": "no one"}
    assert (checked["value"]["n"], checked["offset"]) == (1, 1)
    assert [one["value"]["n"] for one in found["out"]] == [0]


async def test_a_tap_goes_on_over_reloads_and_lives(tmp_path: Path) -> None:
    topic = topic_of(2)
    around = surroundings(MemoryStore(), state_dir=tmp_path)
    src = source(topic, endless=True)
    with tap_on(around.outlets.of("test", "mark")) as tap:
        for life_number in range(2):
            life = Pipeline(pipeline(src, mark("old"), sink([])), around)
            async with anyio.create_task_group() as group:
                group.start_soon(life.run)
                await anyio.sleep(1)
                await reload(life, pipeline(src, mark("new"), sink([])))
                topic.add(b'{"n": 100}')
                await anyio.sleep(3)
                group.cancel_scope.cancel()
            marks = [value["by"] for value in values(tap)]
            assert marks == ["old", "old", "new"] if not life_number else ["new"]
