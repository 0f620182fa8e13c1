"""Every transform does what every step must."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from streamd.api import Duration, Step
from streamd.testing import sample_event, stage_context
from streamd.testing.contracts import StepContract, StepSubject
from streamd_transforms import Dedupe, Explode, Filter, Map, Python, Split, streamd_plugins


class Subject(StepSubject):
    """A transform with its settings, over events as dicts or as Structs."""

    def __init__(self, cls: Any, typed: bool = False, **settings: Any) -> None:
        self.cls, self.typed, self.settings = cls, typed, settings

    def make(self) -> Step:
        step: Step = self.cls(self.cls.Config(**self.settings), stage_context())
        return step

    def event(self, number: int) -> Any:
        event = sample_event(number)
        event["payload"]["items"] = [{"n": item} for item in range(number % 4)]
        if self.cls is Dedupe:
            event["id"] = f"evt_{number * number % 17}"
        return msgspec.convert(event, Typed) if self.typed else event

    def __repr__(self) -> str:
        return f"{self.cls.__name__}{'-typed' if self.typed else ''}-{self.settings}"


class TypedPayload(msgspec.Struct, frozen=True):
    event_type: str
    source: str
    user_id: str
    data: dict[str, Any]
    tags: list[str]
    version: str | msgspec.UnsetType
    items: list[dict[str, Any]]
    session_id: str | msgspec.UnsetType = msgspec.UNSET


class Typed(msgspec.Struct, frozen=True):
    id: str
    timestamp: str
    payload: TypedPayload


def rename_all(event: Any) -> Any:
    return {**event, "seen": True} if isinstance(event, dict) else None


SETTINGS: list[tuple[Any, dict[str, Any]]] = [
    (Filter, {"condition": "payload.data.number % 2 == 0"}),
    (Filter, {"condition": "payload.data.number > 3", "action": "drop"}),
    (
        Map,
        {
            "rename": {"payload.user_id": "user.id"},
            "convert": {"payload.version": "float"},
            "set": {"payload.data.twice": "payload.data.number * 2", "whole": "$"},
            "remove": ("payload.tags", "nothing"),
        },
    ),
    (Map, {"keep": ("id", "payload.data.number")}),
    (Split, {"routes": {"odd": "payload.data.number % 2 == 1"}}),
    (
        Split,
        {
            "routes": {"odd": "payload.data.number % 2", "third": "payload.data.number % 3 == 0"},
            "match": "all",
            "otherwise": "rest",
        },
    ),
    (Explode, {"path": "payload.items", "index_field": "payload.at"}),
    (
        Explode,
        {
            "path": "payload.items",
            "into": "$",
            "keep_parent": ("timestamp",),
            "empty": "keep",
            "missing": "keep",
        },
    ),
    (Dedupe, {}),
    (Dedupe, {"key": ("id", "payload.user_id"), "ttl": Duration("5s"), "duplicates": "again"}),
    (Dedupe, {"scope": "partition", "max_keys": 3}),
]


def subjects() -> Iterator[Subject]:
    for cls, settings in SETTINGS:
        yield Subject(cls, **settings)
        yield Subject(cls, typed=True, **settings)
    yield Subject(Python, function=f"{__name__}.rename_all")


class TestContract(StepContract):
    @pytest.fixture(params=list(subjects()), ids=repr)
    def subject(self, request: pytest.FixtureRequest) -> Subject:
        subject: Subject = request.param
        return subject


def test_every_transform_is_registered_under_its_name() -> None:
    plugins = {plugin.name: plugin for plugin in streamd_plugins()}
    assert set(plugins) == {"filter", "map", "split", "explode", "dedupe", "python"}
    for name, plugin in plugins.items():
        assert plugin.role == "transform"
        assert plugin.cls.__name__.lower() == name
        assert plugin.cls.__doc__
