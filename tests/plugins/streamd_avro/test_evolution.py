"""The guidelines, one by one, and where they differ from Avro's own rules."""

from __future__ import annotations

from typing import Any

import pytest

from streamd_avro import SchemaEvolution
from streamd_avro.builtin import SCHEMAS
from streamd_avro.evolution import LEVELS
from streamd_avro.schema import SchemaError
from tests.plugins.streamd_avro.helpers import record

ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
BASE = record("R", ("a", "int"), ("b", "string"))


def both(old: Any, new: Any) -> tuple[bool, bool]:
    backward = SchemaEvolution.is_backward_compatible(old, new)
    return backward, SchemaEvolution.is_forward_compatible(old, new)


def with_field(*field: Any) -> Any:
    return record("R", ("a", "int"), ("b", "string"), field)


@pytest.mark.parametrize(
    ("old", "new", "backward", "forward"),
    [
        (BASE, BASE, True, True),
        (BASE, with_field("c", "int", 0), True, True),
        (BASE, with_field("c", ["null", "int"], None), True, True),
        (BASE, with_field("c", ["null", "int"]), True, True),
        (BASE, with_field("c", "int"), False, True),
        (BASE, record("R", ("a", "int")), False, False),
        (with_field("c", "int", 0), BASE, False, False),
        (BASE, record("R", ("b", "string"), ("a", "int")), True, True),
        (BASE, record("R", ("a", "long"), ("b", "string")), True, False),
        (BASE, record("R", ("a", "string"), ("b", "string")), False, False),
        (record("R", ("a", "long")), record("R", ("a", "int")), False, False),
        (record("R", ("a", "int")), record("R", ("a", ["null", "int"])), True, False),
        (record("R", ("a", ["null", "int"])), record("R", ("a", "int")), False, False),
        (record("R", ("a", ["null", "int"])), record("R", ("a", ["int", "null"])), True, True),
        (record("R", ("u", ["int"])), record("R", ("u", ["int", "string"])), True, False),
        (record("R", ("e", ENUM)), record("R", ("e", {**ENUM, "symbols": ["A"]})), False, True),
        (
            record("R", ("e", ENUM)),
            record("R", ("e", {**ENUM, "symbols": ["A", "B", "C"]})),
            True,
            False,
        ),
        (
            record("R", ("e", {**ENUM, "default": "A"})),
            record("R", ("e", {**ENUM, "symbols": ["A", "C"], "default": "A"})),
            True,
            True,
        ),
        (BASE, record("Other", ("a", "int"), ("b", "string")), False, False),
        (
            {"type": "array", "items": BASE},
            {"type": "array", "items": with_field("c", "int")},
            False,
            True,
        ),
        (
            {"type": "map", "values": ["null", BASE]},
            {"type": "map", "values": ["null", record("R", ("a", "int"))]},
            False,
            False,
        ),
        (
            record("N", ("next", ["null", "N"])),
            record("N", ("next", ["null", "N"]), ("x", "int")),
            False,
            True,
        ),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
            {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 1},
            False,
            False,
        ),
        ({"type": "long", "logicalType": "timestamp-millis"}, "long", True, False),
    ],
)
def test_guidelines(old: Any, new: Any, backward: bool, forward: bool) -> None:
    assert both(old, new) == (backward, forward)
    full = SchemaEvolution.is_fully_compatible(old, new)
    assert full == (backward and forward)


def test_a_renamed_field_is_kept_for_new_readers_only() -> None:
    new = record("R", ("a", "int"), ("c", "string"))
    assert both(BASE, new) == (False, False)
    new["fields"][1]["aliases"] = ["b"]
    assert both(BASE, new) == (True, False)


def test_the_built_in_versions_follow_the_guidelines() -> None:
    first, second = SCHEMAS["IngestEvent"][1], SCHEMAS["IngestEvent"][2]
    assert both(first, second) == (True, True)
    assert both(second, first) == (False, False)
    assert SchemaEvolution.is_fully_compatible(first, second, "avro")


def test_where_avro_itself_differs() -> None:
    removed = record("R", ("a", "int"))
    assert SchemaEvolution.is_backward_compatible(BASE, removed, "avro")
    assert not SchemaEvolution.is_backward_compatible(BASE, removed)
    without_default = with_field("c", ["null", "int"])
    assert not SchemaEvolution.is_backward_compatible(BASE, without_default, "avro")
    assert SchemaEvolution.is_backward_compatible(BASE, without_default)
    narrower = record("R", ("a", ["int", "string"])), record("R", ("a", "int"))
    assert SchemaEvolution.is_forward_compatible(*narrower, "avro")
    assert not SchemaEvolution.is_forward_compatible(*narrower)


def test_every_broken_guideline_is_named() -> None:
    old = record("R", ("gone", "int"), ("i", record("I", ("x", "int"), ("y", "int"))))
    new = record("R", ("i", record("I", ("x", "string"), ("z", "int"))), ("more", "int"))
    told = [(p.path, p.rule) for p in SchemaEvolution.problems(old, new, "BACKWARD")]
    assert told == [
        ("$.gone", "field_removed"),
        ("$.i.x", "type_mismatch"),
        ("$.i.y", "field_removed"),
        ("$.i.z", "required_field_added"),
        ("$.more", "required_field_added"),
    ]
    told = [(p.path, p.rule) for p in SchemaEvolution.problems(old, new, "FORWARD")]
    assert told == [
        ("$.gone", "field_removed"),
        ("$.i.x", "type_changed"),
        ("$.i.y", "field_removed"),
    ]


def test_what_is_no_schema_has_no_verdict() -> None:
    for level in LEVELS:
        with pytest.raises(SchemaError):
            SchemaEvolution.problems(BASE, {"type": "recrod"}, level)
