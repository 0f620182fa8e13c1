"""Which branch of a union a value goes into: the first, in the order below, that takes it whole."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from streamd_avro.logical import conversion_of
from streamd_avro.plain import Write
from streamd_avro.problems import NotEncodable
from streamd_avro.schema import Fixed, Primitive, Type, Union, describe
from streamd_avro.varint import zigzag

_TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (float, int),
    "double": (float, int),
    "bytes": (bytes, bytearray),
    "fixed": (bytes, bytearray),
    "string": (str,),
    "enum": (str,),
    "array": (list, tuple),
    "map": (dict, Struct),
    "record": (dict, Struct),
}
_KNOWN = (
    *(type(None), bool, int, float, str, bytes, bytearray, list, tuple, dict),
    *(Decimal, datetime, date),
)

# Among branches that take the same Python type: integers before floats, double before float (a
# float has a double's precision), and text that can hold anything last.
_RANKS = {"double": 1, "float": 2, "json": 3}


def union_writer(union: Union, writers: Sequence[Write]) -> Write:
    """Writes the number of a branch and the value with the writer of that branch.

    Raises NotEncodable if no branch takes the value.
    """
    branches = [
        (zigzag(at), write, _accepts(branch), _rank(branch))
        for at, (branch, write) in enumerate(zip(union.branches, writers, strict=True))
    ]
    branches.sort(key=lambda branch: branch[3])

    if len(branches) == 2 and union.branches[0].kind == "null":
        return _optional(writers[1])

    def candidates(kind: type) -> tuple[tuple[bytes, Write], ...]:
        return tuple(
            (prefix, write) for prefix, write, takes, _ in branches if _is_taken(kind, takes)
        )

    table = {kind: candidates(kind) for kind in _KNOWN}

    def write(value: Any, out: bytearray) -> None:
        kind = type(value)
        fitting = table.get(kind)
        if fitting is None:
            fitting = table[kind] = candidates(kind)
        if len(fitting) == 1:
            prefix, write_branch = fitting[0]
            out += prefix
            write_branch(value, out)
            return
        start = len(out)
        for prefix, write_branch in fitting:
            try:
                out += prefix
                write_branch(value, out)
            except NotEncodable:
                del out[start:]
            else:
                return
        raise NotEncodable(f"a value of type {kind.__name__} fits no branch of {describe(union)}")

    return write


def _optional(write_branch: Write) -> Write:
    """The commonest union of all, null or something."""

    def write(value: Any, out: bytearray) -> None:
        if value is None:
            out.append(0)
        else:
            out.append(2)
            write_branch(value, out)

    return write


def _accepts(branch: Type) -> tuple[type, ...]:
    conversion = conversion_of(branch) if isinstance(branch, Primitive | Fixed) else None
    return _TYPES[branch.kind] if conversion is None else conversion.takes


def _is_taken(kind: type, takes: tuple[type, ...]) -> bool:
    if kind is bool:
        return bool in takes or object in takes
    return issubclass(kind, takes)


def _rank(branch: Type) -> int:
    logical = branch.logical if isinstance(branch, Primitive | Fixed) else None
    return _RANKS.get(logical.name if logical else branch.kind, 0)
