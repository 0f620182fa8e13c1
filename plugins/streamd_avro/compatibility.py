"""Avro's rules of schema resolution: whether what one schema wrote can be read with another.

Every pair of types that the two schemas bring together is a claim. All claims are assumed to hold,
and those that do not are struck out until nothing changes: so recursion needs no special care.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from streamd_avro.schema import (
    NO_DEFAULT,
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Named,
    Primitive,
    Record,
    Type,
    Union,
    describe,
    unqualified,
)

PROMOTIONS = frozenset(
    (
        ("int", "long"),
        ("int", "float"),
        ("int", "double"),
        ("long", "float"),
        ("long", "double"),
        ("float", "double"),
        ("string", "bytes"),
        ("bytes", "string"),
    )
)


class Problem(NamedTuple):
    """A rule that is broken, and where: `$.payload.tags[]`, a field within the schema."""

    path: str
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.rule}: {self.message}"


Pair = tuple[Type, Type]
Part = tuple[str, Pair]


class Claim(NamedTuple):
    """What reading one type with another comes down to.

    `faults` are broken rules of the pair itself. All of `needs` must hold, and one of `choices`
    (None: there is no choice to make).
    """

    faults: tuple[Problem, ...] = ()
    needs: tuple[Part, ...] = ()
    choices: tuple[Pair, ...] | None = None


class Verdicts:
    """Which pairs of types can be read; asks only once about each."""

    def __init__(self) -> None:
        self._claims: dict[Pair, Claim] = {}
        self._bad: set[Pair] = set()

    def readable(self, reader: Type, writer: Type) -> bool:
        """Whether all that `writer` may have written can be read as `reader`."""
        pair = (reader, writer)
        if pair not in self._claims:
            self._add(pair)
        return pair not in self._bad

    def claim(self, pair: Pair) -> Claim:
        """The claim of a pair that `readable` has met."""
        return self._claims[pair]

    def _add(self, pair: Pair) -> None:
        waiting, new = [pair], []
        while waiting:
            one = waiting.pop()
            if one not in self._claims:
                claim = self._claims[one] = claim_of(*one)
                new.append(one)
                waiting += [needed for _, needed in claim.needs]
                waiting += claim.choices or ()
        changed = True
        while changed:
            struck = [one for one in new if one not in self._bad and not self._holds(one)]
            self._bad.update(struck)
            changed = bool(struck)

    def _holds(self, pair: Pair) -> bool:
        faults, needs, choices = self._claims[pair]
        bad = self._bad
        return (
            not faults
            and not any(needed in bad for _, needed in needs)
            and (choices is None or any(choice not in bad for choice in choices))
        )


def problems_of_reading(reader: Type, writer: Type) -> list[Problem]:
    """Every rule that is broken where data of `writer` is read as `reader`; none: it always works.

    Paths are those of the reader's schema.
    """
    verdicts = Verdicts()
    if verdicts.readable(reader, writer):
        return []
    seen: set[Pair] = set()
    return list(dict.fromkeys(_explain(verdicts, (reader, writer), "$", seen)))


def _explain(verdicts: Verdicts, pair: Pair, path: str, seen: set[Pair]) -> Iterator[Problem]:
    if pair in seen or verdicts.readable(*pair):
        return
    seen.add(pair)
    claim = verdicts.claim(pair)
    for fault in claim.faults:
        yield fault._replace(path=path + fault.path)
    for step, needed in claim.needs:
        yield from _explain(verdicts, needed, path + step, seen)
    if claim.choices is not None and not any(verdicts.readable(*one) for one in claim.choices):
        reader, writer = pair
        # Where one branch is meant for it, what is wrong with that branch is the answer.
        meant = [one for one in claim.choices if is_alike(*one)]
        if meant:
            yield from _explain(verdicts, meant[0], path, seen)
        else:
            message = f"{describe(reader)} has no branch for {describe(writer)}"
            yield Problem(path, "missing_union_branch", message)


def is_alike(reader: Type, writer: Type) -> bool:
    """Whether the types are of one kind and, where they have names, of one name."""
    if isinstance(reader, Record | Enum | Fixed) and isinstance(writer, Record | Enum | Fixed):
        return reader.kind == writer.kind and names_match(reader, writer)
    return reader.kind == writer.kind


def claim_of(reader: Type, writer: Type) -> Claim:
    """The rules of the specification for one pair of types."""
    match reader, writer:
        case _, Union(branches):
            return Claim(needs=tuple(("", (reader, branch)) for branch in branches))
        case Union(branches), _:
            return Claim(choices=tuple((branch, writer) for branch in branches))
        case Array(mine), Array(theirs):
            return Claim(needs=(("[]", (mine, theirs)),))
        case Map(mine), Map(theirs):
            return Claim(needs=(("{}", (mine, theirs)),))
        case Fixed(), Fixed():
            return Claim((*_name_faults(reader, writer), *_fixed_faults(reader, writer)))
        case Enum(), Enum():
            return Claim((*_name_faults(reader, writer), *_enum_faults(reader, writer)))
        case Record(), Record():
            return _claim_of_records(reader, writer)
        case Primitive(mine), Primitive(theirs) if mine == theirs or (theirs, mine) in PROMOTIONS:
            return Claim(tuple(_decimal_faults(reader, writer)))
    message = f"{describe(writer)} cannot be read as {describe(reader)}"
    return Claim((Problem("", "type_mismatch", message),))


def _claim_of_records(reader: Record, writer: Record) -> Claim:
    faults = list(_name_faults(reader, writer))
    needs = []
    for field in reader.fields:
        theirs = writers_field(field, writer)
        if theirs is not None:
            needs.append((f".{field.name}", (field.type, theirs.type)))
        elif field.default is NO_DEFAULT:
            message = "the reader requires it, the writer does not have it, and it has no default"
            faults.append(Problem(f".{field.name}", "missing_default", message))
    return Claim(tuple(faults), tuple(needs))


def writers_field(field: Field, writer: Record) -> Field | None:
    """The field of the writer that a field of the reader takes its value from."""
    by_name = {one.name: one for one in writer.fields}
    names = (field.name, *field.aliases)
    return next((by_name[name] for name in names if name in by_name), None)


def names_match(reader: Named, writer: Named) -> bool:
    """Names without their namespaces are equal, or one of the reader's aliases is the writer."""
    return unqualified(reader.name) == unqualified(writer.name) or writer.name in reader.aliases


def symbol_map(reader: Enum, writer: Enum) -> Mapping[str, str | None]:
    """What each of the writer's symbols is to the reader; None: nothing."""
    return {
        symbol: symbol if symbol in reader.symbols else reader.default for symbol in writer.symbols
    }


def _name_faults(reader: Named, writer: Named) -> Iterator[Problem]:
    if not names_match(reader, writer):
        yield Problem("", "name_mismatch", f"{describe(writer)} is not {describe(reader)}")


def _enum_faults(reader: Enum, writer: Enum) -> Iterator[Problem]:
    lost = [symbol for symbol, mine in symbol_map(reader, writer).items() if mine is None]
    if lost:
        message = f"the reader does not know {', '.join(lost)} and has no default"
        yield Problem("", "missing_enum_symbols", message)


def _fixed_faults(reader: Fixed, writer: Fixed) -> Iterator[Problem]:
    if reader.size != writer.size:
        yield Problem("", "fixed_size", f"{writer.size} bytes cannot be read as {reader.size}")
    yield from _decimal_faults(reader, writer)


def _decimal_faults(reader: Primitive | Fixed, writer: Primitive | Fixed) -> Iterator[Problem]:
    mine, theirs = reader.logical, writer.logical
    if mine and theirs and mine.name == theirs.name == "decimal" and mine != theirs:
        yield Problem(
            "",
            "decimal_mismatch",
            f"({theirs.precision}, {theirs.scale}) is not ({mine.precision}, {mine.scale})",
        )
