"""Schemas that are none are refused, with where; canonical forms are those of the reference."""

from __future__ import annotations

import warnings
from random import Random
from typing import Any

import avro.schema
import pytest

from streamd_avro.builtin import SCHEMAS
from streamd_avro.fingerprints import canonical_form, fingerprint
from streamd_avro.parsing import load, named_types, parse, parse_text
from streamd_avro.schema import Record, SchemaError, describe
from tests.plugins.streamd_avro.generated import schema_of
from tests.plugins.streamd_avro.helpers import record

ENUM = {"type": "enum", "name": "E", "symbols": ["A"]}
FIXED = {"type": "fixed", "name": "F", "size": 1}


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (5, "$: a schema is"),
        (None, "$: a schema is"),
        ({}, '$: "type" must be a string'),
        ({"type": ["null"]}, '$: "type" must be a string'),
        ("strnig", '$: there is no type called "strnig"'),
        ({"type": "array"}, '$: "items" is missing'),
        ({"type": "map"}, '$: "values" is missing'),
        ([], "$: a union needs a branch"),
        (["int", "int"], "$: a union has int twice"),
        (["null", ["int"]], "$: a union holds no union"),
        ([ENUM, "E"], "$: a union has E twice"),
        ({"type": "record", "fields": []}, "$: None is no name"),
        ({"type": "record", "name": "R"}, '$: "fields" is missing'),
        ({"type": "record", "name": "R", "fields": {}}, '$: "fields" must be a list'),
        ({"type": "record", "name": "R", "fields": ["a"]}, "$: a field is an object"),
        (record("1R"), "$: '1R' is no name"),
        (record("é"), "$: 'é' is no name"),
        (record("R\n"), "$: 'R\\n' is no name"),
        (record("int"), '$: a type cannot be called "int"'),
        (record("R", namespace="a..b"), "$: 'a..b' is no namespace"),
        (record("R", namespace=5), "$: 5 is no namespace"),
        (record("R", ("a", "int"), ("a", "int")), '$: the field "a" comes twice'),
        (record("R", ("a", record("R"))), '$.a: the type "R" is defined twice'),
        (record("R", ("a", "int", "x")), "$.a: the default 'x' is no int"),
        (record("R", ("a", "int", True)), "$.a: the default True is no int"),
        (record("R", ("a", ["null", "int"], "x")), "$.a: the default 'x' is no union"),
        (record("R", ("a", record("I", ("b", "int")), {})), "$.a: the default {} is no record I"),
        (record("R", ("a", record("I"), {"x": 1})), "$.a: the default {'x': 1} is no record I"),
        (record("R", ("a", FIXED, "ab")), "$.a: the default 'ab' is no fixed F"),
        (record("R", ("a", "R", {})), "$: nested too deep"),
        ({**ENUM, "symbols": ["A", "A"]}, '$: the symbol "A" comes twice'),
        ({**ENUM, "symbols": ["a-b"]}, "$: 'a-b' is no name"),
        ({**ENUM, "default": "X"}, "$: the default 'X' is not among the symbols"),
        ({**FIXED, "size": -1}, '$: "size" must be'),
        ({**FIXED, "size": True}, '$: "size" must be'),
        (record("R", aliases="x"), '$: "aliases" must be a list'),
        (record("R", aliases=["x-y"]), "$: 'x-y' is no name"),
        (
            {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int", "order": "x"}]},
            '$.a: "order" must be ascending',
        ),
    ],
)
def test_what_is_no_schema_is_refused(schema: Any, told: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse(schema)
    assert str(caught.value).startswith(told)


def test_no_depth_and_no_text_is_a_surprise() -> None:
    schema: Any = "int"
    for _ in range(100_000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(SchemaError):
        parse(schema)
    for text in (b"{", b"\xff", b"[" * 100_000, b""):
        with pytest.raises(SchemaError):
            load(text)
    assert describe(parse_text('{"type": "array", "items": ["null", "int"]}')) == (
        "array of union of null and int"
    )


def test_names_are_resolved_in_their_namespace() -> None:
    inner = record("I", ("again", "x.R"), ("e", {**ENUM, "namespace": ""}))
    parsed = parse(record("R", ("i", inner), ("j", "I"), ("k", "x.I"), namespace="x"))
    assert sorted(named_types(parsed)) == ["E", "x.I", "x.R"]
    assert isinstance(parsed, Record)
    assert parsed.fields[0].type is parsed.fields[1].type is parsed.fields[2].type
    inherited = parse(record("a.b.R", ("e", ENUM), namespace="ignored"))
    assert sorted(named_types(inherited)) == ["a.b.E", "a.b.R"]
    with pytest.raises(SchemaError):
        parse(record("R", ("i", record("I")), ("j", "y.I"), namespace="x"))


def test_a_schema_may_build_on_others() -> None:
    known = named_types(parse(record("Other", namespace="x")))
    parsed = parse(record("R", ("o", "x.Other")), known)
    assert isinstance(parsed, Record)
    assert parsed.fields[0].type is known["x.Other"]


def test_fingerprints_are_those_of_the_reference() -> None:
    schemas = [schema_of(Random(seed)) for seed in range(300)]
    schemas += [SCHEMAS["IngestEvent"][1], SCHEMAS["IngestEvent"][2]]
    compared = 0
    for schema in schemas:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about logical types
            try:
                parse(schema)
            except SchemaError:
                continue
            theirs = avro.schema.make_avsc_object(schema)
            form = theirs.canonical_form
        if "logicalType" in str(schema) or '"namespace"' in form:
            continue  # the reference keeps logical types in its canonical form
        assert canonical_form(schema) == form
        assert fingerprint(schema) == theirs.fingerprint()
        compared += 1
    assert compared > 200


def test_the_fingerprints_of_the_built_in_schemas_never_change() -> None:
    """Records are stored under them."""
    versions = SCHEMAS["IngestEvent"]
    assert {number: fingerprint(schema).hex() for number, schema in versions.items()} == {
        1: "dbe2bbc141f26896",
        2: "5ded0df4db3ff775",
    }
