"""The command `tap`: which stage is meant, and what its answer tells and when it ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import msgspec
import pytest

from streamd.api import StageConfig
from streamd.engine.tap import Outlets
from streamd.engine.tap_limits import Budget
from streamd.settings.model import PipelineSpec
from streamd.tapping import Place, TapRefusedError, TapRequest, find, prepare
from streamd.testing.batches import batch_of
from streamd.testing.harness import pipeline, stage
from streamd.testing.virtual_time import VirtualTimeLoop


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


class Emits(StageConfig, frozen=True):
    streams: tuple[str, ...]

    def emits(self, stage: str) -> tuple[str, ...]:
        return tuple(one.replace("{id}", stage) for one in self.streams)


def spec_of(name: str, *more: Any) -> PipelineSpec:
    late = Emits(streams=("{id}.late",))
    routes = Emits(streams=("big", "small"))
    make: Any = None
    return pipeline(
        stage("source", "in", make, output="raw"),
        stage("validate", "check", make, inputs=("raw",)),
        stage("transform", "route", make, inputs=("raw",), config=routes),
        stage("window", "per_minute", make, inputs=("raw",), config=late),
        stage("sink", "store", make, inputs=("raw",)),
        *more,
        name=name,
    )


ORDERS = spec_of("orders", stage("sink", "only", lambda _context: None))
CLICKS = spec_of("clicks")
BOTH = {"orders": ORDERS, "clicks": CLICKS}


@pytest.mark.parametrize(
    ("name", "of", "place"),
    [
        ("only", None, Place("orders", "only", "sink")),
        ("orders/only", None, Place("orders", "only", "sink")),
        ("clicks/check", None, Place("clicks", "check", "validate")),
        ("check", "clicks", Place("clicks", "check", "validate")),
        ("clicks/check", "clicks", Place("clicks", "check", "validate")),
        ("clicks/in.raw", None, Place("clicks", "in", "source", "raw")),
        ("clicks/check.raw", None, Place("clicks", "check", "validate", "raw")),
        ("clicks/route.big", None, Place("clicks", "route", "transform", "big")),
        ("clicks/route.raw", None, Place("clicks", "route", "transform", "raw")),
        ("clicks/per_minute", None, Place("clicks", "per_minute", "window")),
        (
            "clicks/per_minute.late",
            None,
            Place("clicks", "per_minute", "window", "per_minute.late"),
        ),
        (
            "clicks/per_minute.per_minute",
            None,
            Place("clicks", "per_minute", "window", "per_minute"),
        ),
    ],
)
def test_a_place_is_found_by_its_names(name: str, of: str | None, place: Place) -> None:
    assert find(BOTH, name, of) == place


@pytest.mark.parametrize(
    ("name", "of", "message"),
    [
        ("chekc", "clicks", 'there is no stage chekc, did you mean "check"?'),
        ("zzz", "clicks", "there is no stage zzz; known: check, in, per_minute, route, store"),
        ("check", None, "several pipelines have a stage check: orders/check, clicks/check"),
        ("route.big", None, "orders/route.big, clicks/route.big"),
        ("order/check", None, 'there is no pipeline order, did you mean "orders"?'),
        ("check", "order", 'there is no pipeline order, did you mean "orders"?'),
        ("orders/check", "clicks", "orders/check is not of the pipeline clicks"),
        ("clicks/only", None, "there is no stage only"),
        ("clicks/route.bigg", None, 'route writes no stream bigg, did you mean "big"?'),
        ("clicks/per_minute.main", None, "writes no stream main; known: late, per_minute"),
        ("clicks/store.raw", None, "store writes no stream raw"),
        ("", None, "there is no stage "),
    ],
)
def test_a_place_that_is_not_there_is_refused(name: str, of: str | None, message: str) -> None:
    with pytest.raises(TapRefusedError) as error:
        find(BOTH, name, of)
    assert message in str(error.value)


def refuses(_text: str) -> Any:
    raise ValueError("what is this at column 1")


@pytest.mark.parametrize(
    ("compile_", "message"),
    [
        (refuses, "the filter: what is this at column 1"),
        (lambda _text: None, "no plugin of the daemon knows filters"),
    ],
)
def test_a_filter_that_nobody_understands_is_refused(compile_: Any, message: str) -> None:
    request = TapRequest("check", filter="?")
    with pytest.raises(TapRefusedError, match=message):
        prepare(Daemon().supervisors, request, compile_, Budget())


class Daemon:
    """A daemon with one pipeline, as far as a tap can see it."""

    def __init__(self) -> None:
        self.outlets = Outlets()
        self.outlet = self.outlets.of("clicks", "check")
        self.supervisor: Any = SimpleNamespace(spec=CLICKS, ended=False, outlets=self.outlets)
        self.supervisors: dict[str, Any] = {"clicks": self.supervisor}

    def emit(self, count: int, text: str = "") -> None:
        self.outlet_leaves([{"n": number, "text": text} for number in range(count)])

    def outlet_leaves(self, values: list[Any]) -> None:
        self.outlet.leaves("raw", batch_of(values))


class Wire:
    """The other side of the socket."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.hung_up = anyio.Event()
        self.reads = anyio.Event()
        self.reads.set()
        self.broken = False

    async def send(self, data: bytes) -> None:
        await self.reads.wait()
        await anyio.lowlevel.checkpoint()
        if self.broken:
            raise anyio.BrokenResourceError
        assert data.endswith(b"\n")
        self.lines += map(msgspec.json.decode, data.splitlines())

    async def send_eof(self) -> None:
        self.hung_up.set()  # as a client does that reads the end

    async def receive(self, _most: int = 65536) -> bytes:
        await self.hung_up.wait()
        raise anyio.EndOfStream

    @property
    def events(self) -> list[Any]:
        return [line["event"]["value"]["n"] for line in self.lines if "event" in line]

    def told(self, name: str) -> list[Any]:
        return [line[name] for line in self.lines if name in line]


@asynccontextmanager
async def tapping(daemon: Daemon, wire: Any, **request: Any) -> AsyncIterator[anyio.Event]:
    """A tap on the validator; what is yielded is set when the answer is complete."""
    over = anyio.Event()
    budget = Budget(clock=lambda: 0.0)
    asked = TapRequest("check", **request)
    tap = prepare(daemon.supervisors, asked, lambda _text: None, budget)

    async def answer() -> None:
        await tap.answer(wire)
        over.set()

    async with anyio.create_task_group() as group:
        group.start_soon(answer)
        await anyio.sleep(0.1)
        yield over
        group.cancel_scope.cancel()


async def test_events_are_told_as_they_come_up_to_the_limit() -> None:
    daemon, wire = Daemon(), Wire()
    async with tapping(daemon, wire, limit=5) as over:
        daemon.emit(3)
        await anyio.sleep(0.001)
        assert wire.events == [0, 1, 2]
        daemon.emit(3)
        await over.wait()
    assert wire.lines[0] == {"tapping": "validate clicks/check"}
    assert wire.events == [0, 1, 2, 0, 1]
    assert wire.lines[-1] == {"ended": "the limit is reached", "done": True}


@pytest.mark.parametrize("how", ["hangs up", "is cut off"])
async def test_whoever_goes_takes_the_tap_along(how: str) -> None:
    daemon, wire = Daemon(), Wire()
    async with tapping(daemon, wire) as over:
        assert len(daemon.outlet.leaving) == 1
        if how == "hangs up":
            wire.hung_up.set()
        else:
            wire.broken = True
            daemon.emit(1)
        with anyio.fail_after(6):
            await over.wait()
        assert not daemon.outlet.leaving


async def test_one_who_does_not_read_is_told_later_what_went_by() -> None:
    daemon, wire = Daemon(), Wire()
    async with tapping(daemon, wire):
        wire.reads = anyio.Event()
        for _ in range(200):
            daemon.emit(100, "x" * 1000)
            await anyio.sleep(0.01)
        (tap,) = daemon.outlet.leaving
        waiting = sum(map(len, tap.fetch()))
        assert waiting <= 1024 * 1024
        assert tap.passed_by > 17_000
        wire.reads.set()
        await anyio.sleep(2)
        assert wire.told("passed_by") == [tap.passed_by]


async def test_counts_are_told_now_and_then() -> None:
    daemon, wire = Daemon(), Wire()
    async with tapping(daemon, wire):
        wire.reads = anyio.Event()
        daemon.emit(2000, "x" * 1000)
        wire.reads.set()
        for _ in range(100):
            daemon.outlet_leaves([{"text": "x" * 2_000_000}] * 2)
            await anyio.sleep(0.1)
        assert 8 <= len(wire.told("passed_by")) <= 12


async def test_a_reload_that_leaves_the_stage_leaves_the_tap() -> None:
    daemon, wire = Daemon(), Wire()
    async with tapping(daemon, wire):
        daemon.supervisor.spec = spec_of("clicks", stage("sink", "more", lambda _context: None))
        daemon.supervisors["orders"] = SimpleNamespace(spec=ORDERS, ended=False)
        await anyio.sleep(2)
        daemon.emit(1)
        await anyio.sleep(0.1)
        assert wire.events == [0]
        assert not wire.told("ended")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("the stage goes", "the configuration was reloaded: there is no validate clicks/check"),
        ("another takes its name", "there is no validate clicks/check any more"),
        ("the pipeline ends", "the pipeline clicks has ended"),
        ("the pipeline goes", "the pipeline clicks has ended"),
        ("the pipeline starts again", "the pipeline clicks has ended"),
    ],
)
async def test_what_is_gone_ends_the_tap_with_a_message(change: str, message: str) -> None:
    daemon, wire = Daemon(), Wire()
    make: Any = None
    async with tapping(daemon, wire, limit=100) as over:
        daemon.emit(2)
        if change == "the stage goes":
            daemon.supervisor.spec = pipeline(stage("source", "in", make), name="clicks")
        elif change == "another takes its name":
            daemon.supervisor.spec = pipeline(stage("sink", "check", make), name="clicks")
        elif change == "the pipeline ends":
            daemon.supervisor.ended = True
        elif change == "the pipeline goes":
            del daemon.supervisors["clicks"]
        else:
            daemon.supervisors["clicks"] = Daemon().supervisor
        with anyio.fail_after(5):
            await over.wait()
    assert wire.events == [0, 1], "what was there before is told"
    assert message in wire.lines[-1]["ended"]
    assert "done" not in wire.lines[-1]
    assert not daemon.outlet.leaving
