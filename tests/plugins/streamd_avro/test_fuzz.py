"""Damage of every kind, to records and to schemas: it is refused or taken, and nothing else."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

import pytest

from streamd_avro.decoding import compile_decoder
from streamd_avro.encoding import compile_encoder
from streamd_avro.evolution import LEVELS, SchemaEvolution
from streamd_avro.parsing import parse
from streamd_avro.problems import Malformed, NotEncodable, Unresolvable
from streamd_avro.schema import SchemaError
from tests.plugins.streamd_avro.generated import changed, schema_of, value_of

SEEDS = range(1500)


def damaged(chance: Random, data: bytes) -> bytes:
    copied = bytearray(data)
    match chance.randrange(5):
        case 0:
            return data[: chance.randrange(len(data) + 1)]
        case 1:
            return data + chance.randbytes(chance.randrange(1, 4))
        case 2:
            at = chance.randrange(len(data) + 1)
            return data[:at] + chance.randbytes(2) + data[at:]
        case 3:
            return chance.randbytes(chance.randrange(30))
        case _ if copied:
            copied[chance.randrange(len(copied))] = chance.choice((0, 1, 127, 128, 255))
    return bytes(copied)


def test_damaged_records_are_refused_or_taken() -> None:
    """What is taken is a value of the schema: it can be written, and read again as the same."""
    refused = taken = 0
    for seed in SEEDS:
        chance = Random(seed)
        try:
            schema = parse(schema_of(chance))
            value = value_of(chance, schema)
        except (SchemaError, RecursionError):
            continue
        encode, decode = compile_encoder(schema), compile_decoder(schema)
        try:
            data = encode(value)
        except NotEncodable:
            continue  # bytes that are no decimal of the schema
        for _ in range(5):
            try:
                found = decode(damaged(chance, data), 0)
            except Malformed:
                refused += 1
                continue
            taken += 1
            again = encode(found)
            # Not the values: two NaNs are never equal.
            assert encode(decode(again, 0)) == again
    assert refused > 1000
    assert taken > 500


def test_any_two_schemas_can_be_put_together() -> None:
    """Reading with a schema that does not fit ends in one of two errors, or in a value."""
    outcomes = {"value": 0, "refused": 0}
    for seed in SEEDS:
        chance = Random(seed)
        source = schema_of(chance)
        try:
            writer = parse(source)
            reader = parse(changed(chance, source) if seed % 2 else schema_of(chance))
            data = compile_encoder(writer)(value_of(chance, writer))
            compile_decoder(writer, reader)(data, 0)
            outcomes["value"] += 1
        except (SchemaError, RecursionError, NotEncodable):
            continue
        except (Malformed, Unresolvable):
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 200


ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    1.5,
    "",
    "x",
    "int",
    [],
    {},
    ["int"],
    {"type": "int"},
    "a.b",
)


def broken(chance: Random, schema: Any) -> Any:
    """The schema with something odd in one place, of whatever kind the place is."""
    holder: list[Any] = [copy.deepcopy(schema)]
    places: list[tuple[Any, Any]] = [(holder, 0)]
    for at, key in places:
        inside = at[key]
        if isinstance(inside, dict | list):
            places += [
                (inside, one)
                for one in (inside if isinstance(inside, dict) else range(len(inside)))
            ]
    at, key = chance.choice(places)
    at[key] = chance.choice(ODD)
    return holder[0]


def test_broken_schemas_are_refused_or_taken() -> None:
    refused = 0
    for seed in SEEDS:
        chance = Random(seed)
        schema = schema_of(chance)
        odd = broken(chance, schema)
        try:
            parse(odd)
            compile_decoder(parse(odd))
            compile_encoder(parse(odd))
            for level in LEVELS:
                SchemaEvolution.problems(schema, odd, level, chance.choice(("avro", "guideline")))
        except SchemaError as error:
            assert str(error).startswith("$")  # noqa: PT017
            refused += 1
    assert refused > 500


VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**31, 2**63, 10**5000, 1.5, float("nan"), "", "x", "\ud800", b"x"),
    *([], [None], {}, {"a": 1}, {1: 2}, (1,), {1}, object(), int, ..., "2025-11-19T10:30:00Z"),
)


@pytest.mark.parametrize("drop", [False, True])
def test_no_value_is_a_surprise(drop: bool) -> None:
    for seed in SEEDS:
        chance = Random(seed)
        try:
            schema = parse(schema_of(chance))
        except SchemaError:
            continue
        encode = compile_encoder(schema, drop_extra=drop)
        for value in chance.sample(VALUES, 8):
            for one in (value, {"a": value, "b": {"a": value}}):
                try:
                    encode(one)
                except NotEncodable as error:
                    assert len(str(error)) < 1000  # noqa: PT017
