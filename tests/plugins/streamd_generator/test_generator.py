"""The generator: the same events each time, at the rate, until the count."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import anyio
import msgspec
import pytest

from streamd.api import ConfigError, Control, Source
from streamd.testing import FakeClock, FakeControl, stage_context
from streamd.testing.contracts import SourceContract, SourceSubject
from streamd.testing.contracts.source import drain, positions_after, raws_of
from streamd_generator import GeneratorSource

TYPES = {"user_action", "system_event", "api_call", "error", "metric"}
START = "2025-11-19T10:30:00Z"


def generator(control: Control | None = None, **settings: Any) -> GeneratorSource:
    config = msgspec.convert(settings, GeneratorSource.Config)
    return GeneratorSource(config, stage_context("source", control=control))


async def all_of(**settings: Any) -> list[bytes]:
    async with generator(**{"rate": 0, **settings}) as source:
        return raws_of(await drain(source, settings["count"]))


class Generated(SourceSubject):
    live = False

    def __init__(self, **settings: Any) -> None:
        self.settings = {"rate": 0, "start": START, **settings}
        self.count = 0

    def make(self, control: Control) -> Source:
        return generator(control, count=self.count, **self.settings)

    async def feed(self, count: int) -> list[bytes]:
        self.count = count
        return await all_of(count=count, **self.settings)


class TestContract(SourceContract):
    @pytest.fixture(params=[{}, {"partitions": 3}, {"invalid": 0.3}, {"rate": 1e6}], ids=str)
    def subject(self, request: pytest.FixtureRequest) -> Generated:
        return Generated(**request.param)


@pytest.mark.parametrize("partitions", [1, 3])
async def test_numbers_every_event_once(partitions: int) -> None:
    events = [msgspec.json.decode(raw) for raw in await all_of(count=100, partitions=partitions)]
    assert sorted(int(event["id"].removeprefix("evt_")) for event in events) == list(range(100))


async def test_has_the_shape_of_an_event() -> None:
    for raw in await all_of(count=2000, start=START):
        event = msgspec.json.decode(raw)
        payload = event["payload"]
        assert set(event) == {"id", "timestamp", "payload"}
        assert datetime.fromisoformat(event["timestamp"]).tzinfo is not None
        assert payload["event_type"] in (
            "user_action",
            "system_event",
            "api_call",
            "error",
            "metric",
        )
        assert 1 <= len(payload["source"]) <= 100
        assert isinstance(payload["data"], dict)
        assert len(payload["tags"]) <= 10


async def test_seeds_differ_and_repeat() -> None:
    first, again = await all_of(count=50, start=START), await all_of(count=50, start=START)
    other = await all_of(count=50, start=START, seed=1)
    assert first == again
    assert sum(a != b for a, b in zip(first, other, strict=True)) > 40


async def test_goes_on_with_the_same_sequence_wherever_it_was_cut() -> None:
    settings: dict[str, Any] = {
        "rate": 0,
        "count": 100,
        "partitions": 3,
        "start": START,
        "invalid": 0.1,
    }
    async with generator(**settings) as source:
        whole = raws_of(await drain(source, 100))
    for before in (1, 40, 99):
        async with generator(**settings) as source:
            read = await drain(source, before, max_events=7)
        async with generator(FakeControl(positions_after(read)), **settings) as source:
            rest = await drain(source, 100 - len(raws_of(read)), max_events=11)
        assert sorted(raws_of(read) + raws_of(rest)) == sorted(whole)


async def test_times_of_a_fixed_start_follow_the_rate() -> None:
    async with generator(rate=1000, start=START, count=5) as source:
        batches = await drain(source, 5, max_events=5)
    timestamps = [moment for batch in batches for moment in batch.timestamps]
    assert timestamps == [1_763_548_200_000 + n for n in range(5)]
    assert [msgspec.json.decode(raw)["timestamp"] for raw in raws_of(batches)] == [
        f"2025-11-19T10:30:00.00{n}Z" for n in range(5)
    ]


async def test_times_are_the_clocks_by_default() -> None:
    clock = FakeClock(1_763_548_200_007)
    config = GeneratorSource.Config(rate=0, count=1)
    async with GeneratorSource(config, stage_context("source", clock=clock)) as source:
        (batch,) = await source.poll(10, 1.0)
    assert list(batch.timestamps) == [1_763_548_200_007]
    assert b"2025-11-19T10:30:00.007Z" in raws_of([batch])[0]


@pytest.mark.parametrize(
    ("share", "least", "most"), [(0.0, 0, 0), (0.2, 300, 500), (1.0, 2000, 2000)]
)
async def test_share_of_invalid_events(share: float, least: int, most: int) -> None:
    valid = await all_of(count=2000, start=START)
    mixed = await all_of(count=2000, start=START, invalid=share)
    spoilt = [b for a, b in zip(valid, mixed, strict=True) if a != b]
    assert least <= len(spoilt) <= most
    if spoilt:
        assert len({_fault(raw) for raw in spoilt}) == 6, "every kind of fault occurs"


def _fault(raw: bytes) -> str:
    try:
        payload = msgspec.json.decode(raw)["payload"]
    except msgspec.DecodeError:
        return "malformed"
    faults = {
        "type": payload["event_type"] == "no_such_type",
        "source": not payload["source"],
        "ip": payload["ip_address"].startswith("999"),
        "tags": len(payload["tags"]) > 10,
        "user": len(payload["user_id"]) > 50,
    }
    (fault,) = [name for name, there in faults.items() if there]
    return fault


async def test_keeps_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        waited.append(seconds)
        now += seconds

    monkeypatch.setattr("streamd_generator.source.anyio.current_time", lambda: now)
    monkeypatch.setattr("streamd_generator.source.anyio.sleep", sleep)
    async with generator(rate=4.0) as source:
        assert len(raws_of(await source.poll(100, 1.0))) == 1
        assert waited == [pytest.approx(0.25)]
        now += 0.5
        assert len(raws_of(await source.poll(100, 1.0))) == 2
        assert await source.poll(100, 0.1) == []
        now += 3600.0
        assert len(raws_of(await source.poll(100, 1.0))) == 4, "one second's events at most"


@pytest.mark.parametrize("start", ["yesterday", "2025-11-19T10:30:00"])
def test_start_is_checked(start: str) -> None:
    with pytest.raises(ConfigError) as caught:
        generator(start=start)
    assert caught.value.path == "start"


@pytest.mark.parametrize(
    "settings", [{"rate": -1}, {"partitions": 0}, {"invalid": 2}, {"count": -1}]
)
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        generator(**settings)


async def test_an_endless_one_is_never_exhausted() -> None:
    async with generator(rate=0) as source:
        with anyio.fail_after(10):
            await source.poll(10, 0.0)
        assert not source.exhausted()
