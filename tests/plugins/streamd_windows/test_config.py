"""Settings: what is refused, what a change does to state, what a person is told."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamd.api import ConfigError
from streamd.testing import stage_context
from streamd_windows import (
    JoinStage,
    SessionStage,
    SlidingStage,
    TumblingStage,
    streamd_plugins,
)
from tests.plugins.streamd_windows.harness import converted, make

JOIN: dict[str, Any] = {"left": "a", "right": "b", "on": ["k"], "within": "1s"}
PACKAGE = Path(__file__).resolve().parents[3] / "plugins" / "streamd_windows"


@pytest.mark.parametrize(
    ("cls", "settings", "path"),
    [
        (TumblingStage, {"size": "0s"}, "size"),
        (TumblingStage, {"size": "1s", "key": ["a b"]}, "key[0]"),
        (TumblingStage, {"size": "1s", "time": "a b"}, "time"),
        (TumblingStage, {"size": "1s", "aggregate": {"n": "sum(a b)"}}, "aggregate.n"),
        (TumblingStage, {"size": "1s", "aggregate": {"start": "count()"}}, "aggregate.start"),
        (TumblingStage, {"size": "1s", "aggregate": {"p": "percentiles(v, nan)"}}, "aggregate.p"),
        (SlidingStage, {"size": "1s", "slide": "2s"}, "slide"),
        (SlidingStage, {"size": "1s", "slide": "0s"}, "slide"),
        (SlidingStage, {"size": "1h", "slide": "7ms"}, "slide"),
        (SessionStage, {"gap": "0s"}, "gap"),
        (JoinStage, {**JOIN, "right": "a"}, "right"),
        (JoinStage, {**JOIN, "on": []}, "on"),
        (JoinStage, {**JOIN, "right_on": ["a", "b"]}, "right_on"),
        (JoinStage, {**JOIN, "right_on": ["a b"]}, "right_on[0]"),
    ],
)
def test_a_wrong_setting_is_named(cls: Any, settings: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as error:
        make(cls, **settings)
    assert error.value.path == path


def test_a_join_reads_its_streams() -> None:
    config = converted(JoinStage, JOIN)
    assert config.reads() == ("a", "b")
    assert config.emits("pairs") == ("pairs.late",)
    assert converted(TumblingStage, {"size": "1s"}).reads() == ()


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, True),
        ({"out_of_orderness": "1s", "allowed_lateness": "3s", "early_every": "1s"}, True),
        ({"idle_after": "1s", "time_format": "rfc3339", "aligned": True}, True),
        ({"size": "1m"}, True),
        ({"size": "61s"}, False),
        ({"key": ["b"]}, False),
        ({"time": "t"}, False),
        ({"aggregate": {"n": "count()", "m": "count()"}}, False),
        ({"offset": "1s"}, False),
    ],
)
def test_state_is_kept_where_it_means_the_same(change: dict[str, Any], kept: bool) -> None:
    base: dict[str, Any] = {"size": "60s", "key": ["a"], "aggregate": {"n": "count()"}}
    before = converted(TumblingStage, base).state_key()
    assert (converted(TumblingStage, {**base, **change}).state_key() == before) == kept


def test_a_join_of_another_kind_starts_anew() -> None:
    """An inner join does not keep who has had a partner, which a left join must know."""
    keys = {converted(JoinStage, {**JOIN, "kind": k}).state_key() for k in ("inner", "left")}
    assert len(keys) == 2


def test_kinds_never_share_state() -> None:
    keys = {
        converted(TumblingStage, {"size": "5s"}).state_key(),
        converted(SlidingStage, {"size": "5s", "slide": "5s"}).state_key(),
        converted(SessionStage, {"gap": "5s"}).state_key(),
    }
    assert len(keys) == 3


def test_a_person_is_told_what_several_daemons_need() -> None:
    base = {"size": "5s"}
    assert "one daemon" in converted(TumblingStage, base).notes()[0]
    keyed = converted(TumblingStage, {**base, "key": ["payload.user"]})
    assert "keyed by payload.user" in keyed.notes()[0]
    assert "aligned = true" in keyed.notes()[0]
    assert "several daemons" in converted(JoinStage, {**JOIN, "aligned": True}).notes()[0]


def test_every_setting_has_a_description() -> None:
    for plugin in streamd_plugins():
        described = msgspec.inspect.type_info(plugin.cls.Config)  # type: ignore[attr-defined]
        assert isinstance(described, msgspec.inspect.StructType)
        for field in described.fields:
            assert isinstance(field.type, msgspec.inspect.Metadata), field.name
            assert (field.type.extra_json_schema or {}).get("description"), field.name


@pytest.mark.parametrize(
    "sample", sorted((PACKAGE / "samples").glob("*.toml")), ids=lambda p: p.stem
)
def test_samples_can_be_built(sample: Path) -> None:
    classes: dict[str, Any] = {plugin.name: plugin.cls for plugin in streamd_plugins()}
    built = 0
    for pipeline in tomllib.loads(sample.read_text())["pipeline"].values():
        for table in pipeline["window"]:
            own = {k: v for k, v in table.items() if k not in ("id", "plugin", "inputs")}
            cls = classes[table["plugin"]]
            cls(converted(cls, own), stage_context("window", stage=table["id"]))
            built += 1
    assert built


def test_there_are_samples() -> None:
    assert list((PACKAGE / "samples").glob("*.toml"))


def test_aligned_without_a_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="without a key"):
        TumblingStage(
            converted(TumblingStage, {"size": "60s", "aligned": True}), stage_context("window")
        )
