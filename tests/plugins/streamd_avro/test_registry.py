"""Versions stay what they are, survive, and follow the rules of their subject."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamd_avro import SchemaRegistry, get_schema_registry
from streamd_avro.evolution import LEVELS, Level
from streamd_avro.registry import (
    FILE,
    ImmutableVersionError,
    IncompatibleSchemaError,
    IncompatibleSchemaWarning,
)
from streamd_avro.schema import NotRegisteredError, SchemaError
from tests.plugins.streamd_avro.helpers import record

ONE = record("Order", ("id", "string"))
OPTIONAL = record("Order", ("id", "string"), ("note", ["null", "string"], None))
REQUIRED = record("Order", ("id", "string"), ("note", "string"))
EMPTY = record("Order")


@pytest.fixture
def registry(tmp_path: Path) -> SchemaRegistry:
    return SchemaRegistry(tmp_path / "deep" / FILE)


def test_the_event_is_built_in(registry: SchemaRegistry, tmp_path: Path) -> None:
    assert registry.list_versions("IngestEvent") == [1, 2]
    assert registry.compatibility("IngestEvent") == "NONE"
    first, second = (registry.get_schema("IngestEvent", version) for version in (1, 2))
    fields = [[f["name"] for f in s["fields"][2]["type"]["fields"]] for s in (first, second)]
    assert fields[0] == ["event_type", "source", "data"]
    assert fields[1][3:] == ["user_id", "session_id", "tags", "ip_address", "version"]
    assert registry.get_schema("IngestEvent") == second
    for spelling in ("2", "v2"):
        assert registry.get_schema("IngestEvent", spelling) == second
    assert list(tmp_path.iterdir()) == [], "reading makes no file"


def test_versions_persist(registry: SchemaRegistry, tmp_path: Path) -> None:
    assert registry.register_schema("Order", 1, ONE) == 1
    assert registry.register_schema("Order", "v2", OPTIONAL) == 2
    again = SchemaRegistry(tmp_path / "deep" / FILE)
    assert again.list_names() == ["IngestEvent", "Order"]
    assert again.list_versions("Order") == [1, 2]
    assert again.get_schema("Order", 1) == ONE
    assert again.compatibility("Order") == "BACKWARD"
    assert again.list_versions("Nothing") == []


def test_a_version_never_changes(registry: SchemaRegistry) -> None:
    registry.register_schema("Order", 2, ONE)
    registry.register_schema("Order", 2, ONE)
    registry.register_schema("Order", 4, OPTIONAL)
    for version, schema in ((2, OPTIONAL), (1, ONE), (3, ONE)):
        with pytest.raises(ImmutableVersionError) as caught:
            registry.register_schema("Order", version, schema)
        assert "the latest is 4" in str(caught.value)
    with pytest.raises(ImmutableVersionError):
        registry.register_schema("IngestEvent", 2, ONE)
    registry.register_schema("IngestEvent", 1, registry.get_schema("IngestEvent", 1))
    assert registry.list_versions("Order") == [2, 4]


@pytest.mark.parametrize(
    ("name", "version"),
    [("Nothing", None), ("IngestEvent", 3), ("IngestEvent", 0), ("IngestEvent", "x"), ("", 1)],
)
def test_what_is_not_there_is_told_with_what_is(
    registry: SchemaRegistry, name: str, version: Any
) -> None:
    with pytest.raises(NotRegisteredError) as caught:
        registry.get_schema(name, version)
    assert "1, 2" in str(caught.value) or "IngestEvent" in str(caught.value)


@pytest.mark.parametrize("version", [0, -1, "v", "1.0", True, "²", 1.0])
def test_versions_are_numbers_above_zero(registry: SchemaRegistry, version: Any) -> None:
    with pytest.raises(NotRegisteredError):
        registry.register_schema("Order", version, ONE)


def test_no_schema_and_no_name_is_registered(registry: SchemaRegistry) -> None:
    with pytest.raises(SchemaError):
        registry.register_schema("Order", 1, {"type": "recrod"})
    with pytest.raises(SchemaError):
        registry.register_schema("", 1, ONE)
    with pytest.raises(ValueError, match="no compatibility level"):
        registry.register_schema("Order", 1, ONE, level="SIDEWAYS")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no compatibility level"):
        registry.set_compatibility("Order", "backward")  # type: ignore[arg-type]
    assert registry.list_names() == ["IngestEvent"]


# Histories, the last step of which a level lets through or not.
STEPS: dict[str, tuple[Any, ...]] = {
    "adds an optional field": (ONE, OPTIONAL),
    "adds a required field": (ONE, REQUIRED),
    "removes a field": (ONE, EMPTY),
    "adds a field, then requires it": (ONE, OPTIONAL, REQUIRED),
    "makes a field optional, then removes it": (REQUIRED, OPTIONAL, ONE),
}
_ADDS, _REQUIRES, _REMOVES, _TIGHTENS, _GIVES_UP = STEPS
ALLOWED: dict[str, set[str]] = {
    "NONE": set(STEPS),
    "BACKWARD": {_ADDS, _REMOVES, _GIVES_UP},
    "BACKWARD_TRANSITIVE": {_ADDS, _REMOVES, _GIVES_UP},
    "FORWARD": {_ADDS, _REQUIRES, _TIGHTENS, _GIVES_UP},
    "FORWARD_TRANSITIVE": {_ADDS, _REQUIRES, _TIGHTENS},
    "FULL": {_ADDS, _GIVES_UP},
    "FULL_TRANSITIVE": {_ADDS},
}


@pytest.mark.filterwarnings("ignore::streamd_avro.registry.IncompatibleSchemaWarning")
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("level", LEVELS)
def test_levels(registry: SchemaRegistry, level: Level, step: str) -> None:
    *earlier, last = STEPS[step]
    for number, schema in enumerate(earlier, start=1):
        registry.register_schema("Order", number, schema, level="NONE")
    registry.set_compatibility("Order", level)
    number = len(earlier) + 1
    if step in ALLOWED[level]:
        assert registry.register_schema("Order", number, last) == number
    else:
        with pytest.raises(IncompatibleSchemaError) as caught:
            registry.register_schema("Order", number, last)
        assert caught.value.problems
        assert "$.note" in str(caught.value) or "$.id" in str(caught.value)
        assert registry.list_versions("Order") == list(range(1, number)), "nothing was stored"


def test_transitive_levels_look_at_all_versions(registry: SchemaRegistry) -> None:
    """The last one reads version 2, which gave the field up, but not version 1."""
    as_text = record("Order", ("id", "string"), ("n", "string", ""))
    as_number = record("Order", ("id", "string"), ("n", "int", 0))
    for level, allowed in (("BACKWARD", True), ("BACKWARD_TRANSITIVE", False)):
        registry.register_schema(level, 1, as_text, level=level)  # type: ignore[arg-type]
        registry.register_schema(level, 2, ONE)
        if allowed:
            registry.register_schema(level, 3, as_number)
        else:
            with pytest.raises(IncompatibleSchemaError) as caught:
                registry.register_schema(level, 3, as_number)
            assert [problem.path for problem in caught.value.problems] == ["$.n"]


def test_a_refusal_names_each_field_and_rule(registry: SchemaRegistry) -> None:
    registry.register_schema("Order", 1, record("Order", ("a", "string"), ("b", "int")))
    worse = record("Order", ("a", "int"), ("b", "int"), ("c", "int"))
    with pytest.raises(IncompatibleSchemaError) as caught:
        registry.register_schema("Order", 2, worse)
    assert str(caught.value).splitlines() == [
        "Order version 2 is not compatible (BACKWARD):",
        "  $.c: missing_default: the reader requires it, the writer does not have it,"
        " and it has no default",
        "  $.a: type_mismatch: string cannot be read as int",
    ]
    with pytest.raises(IncompatibleSchemaError) as caught:
        registry.register_schema("Order", 2, record("Order", ("b", "int")), mode="guideline")
    assert [problem.rule for problem in caught.value.problems] == ["field_removed"]


def test_without_a_level_an_incompatible_version_is_warned_of(registry: SchemaRegistry) -> None:
    with pytest.warns(IncompatibleSchemaWarning, match=r"IngestEvent version 3 .*\n.*\$\.id"):
        registry.register_schema("IngestEvent", 3, record("IngestEvent", ("id", "int")))
    assert registry.list_versions("IngestEvent") == [1, 2, 3]
    compatible = record("IngestEvent", ("id", "int"), ("n", "int", 0))
    registry.register_schema("IngestEvent", 4, compatible)  # a warning would be an error here


def test_the_level_can_be_set_with_the_first_version(registry: SchemaRegistry) -> None:
    registry.register_schema("Order", 1, ONE, level="FULL")
    assert registry.compatibility("Order") == "FULL"
    registry.set_compatibility("IngestEvent", "FULL_TRANSITIVE")
    assert registry.compatibility("IngestEvent") == "FULL_TRANSITIVE"


def test_processes_that_register_the_same_version_do_not_both_win(tmp_path: Path) -> None:
    code = """
import sys
from streamd_avro import get_schema_registry
schema = {"type": "record", "name": "R", "fields": [{"name": sys.argv[2], "type": "int"}]}
try:
    get_schema_registry(sys.argv[1]).register_schema("R", 1, schema)
except ValueError:
    sys.exit(3)
"""
    path = tmp_path / FILE
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(path), f"f{number}"])
        for number in range(4)
    ]
    assert sorted(run.wait(60) for run in runs) == [0, 3, 3, 3]
    assert SchemaRegistry(path).list_versions("R") == [1]


def test_a_file_that_is_no_registry_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_bytes(b"no database" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        SchemaRegistry(path).list_names()


def test_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    get_schema_registry().register_schema("Order", 1, ONE)
    assert (tmp_path / "var" / FILE).exists()
    assert get_schema_registry() is get_schema_registry(tmp_path / "var" / FILE)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    get_schema_registry().register_schema("Order", 1, ONE)
    assert (tmp_path / "state" / FILE).exists()
