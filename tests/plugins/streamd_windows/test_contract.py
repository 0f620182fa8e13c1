"""What every step does, done by every kind of window."""

from __future__ import annotations

from typing import Any

import pytest

from streamd.api import Batch, Step
from streamd.testing import FakeClock, batch_of, sample_event
from streamd.testing.batches import START_MS
from streamd.testing.contracts.step import PARTITIONS, StepContract, StepSubject
from streamd_windows import JoinStage, SessionStage, SlidingStage, TumblingStage
from tests.plugins.streamd_windows.harness import make

KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "tumbling": (TumblingStage, {"size": "7s"}),
    "early": (TumblingStage, {"size": "7s", "early_events": 2, "allowed_lateness": "3s"}),
    "sliding": (SlidingStage, {"size": "10s", "slide": "4s"}),
    "session": (SessionStage, {"gap": "2s"}),
}


class WindowSubject(StepSubject):
    per_event = False

    def __init__(self, kind: str) -> None:
        self.cls, self.settings = KINDS[kind]

    def make(self) -> Step:
        stage: Step = make(
            self.cls,
            FakeClock(START_MS),
            key=["payload.user_id"],
            out_of_orderness="2s",
            idle_after="500ms",
            aggregate={"n": "count()", "total": "sum(payload.data.number)"},
            **self.settings,
        )
        return stage


class TestWindows(StepContract):
    @pytest.fixture(params=KINDS)
    def subject(self, request: pytest.FixtureRequest) -> StepSubject:
        return WindowSubject(request.param)


class JoinSubject(StepSubject):
    per_event = False

    def make(self) -> Step:
        stage: Step = make(
            JoinStage,
            FakeClock(START_MS),
            left="left",
            right="main",
            on=["payload.user_id"],
            within="3s",
            kind="full",
            out_of_orderness="2s",
            idle_after="500ms",
        )
        return stage

    def batch(self, first: int, count: int, partition: str = PARTITIONS[0]) -> Batch:
        events = [sample_event(number) for number in range(first, first + count)]
        made = batch_of(events, first=first, partition=partition)
        made.stream = "left" if first % 40 < 20 else "main"
        return made


class TestJoins(StepContract):
    @pytest.fixture
    def subject(self) -> StepSubject:
        return JoinSubject()
