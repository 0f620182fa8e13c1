"""Avro's binary form to values, by functions that are put together once for two schemas.

The rules of schema resolution are applied when the functions are made: reading with another schema
costs what reading with the same one does. Anything that a writer of the schema cannot have written
is refused; no input can recurse or allocate beyond its own size.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct as Layout
from typing import Any, NoReturn

from streamd_avro.compatibility import (
    PROMOTIONS,
    Verdicts,
    is_alike,
    names_match,
    symbol_map,
)
from streamd_avro.containers import (
    Read,
    Step,
    read_array,
    read_map,
    read_optional,
    read_record,
    read_union,
)
from streamd_avro.defaults import default_bytes
from streamd_avro.logical import Conversion, conversion_of
from streamd_avro.problems import Malformed, Unresolvable
from streamd_avro.schema import (
    INT_MAX,
    INT_MIN,
    NO_DEFAULT,
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Primitive,
    Record,
    Type,
    Union,
    describe,
    is_optional,
)
from streamd_avro.sizes import takes_no_bytes
from streamd_avro.varint import read_long

_TOO_SHORT = "it ends in the middle of a value"
_FLOAT, _DOUBLE = Layout("<f"), Layout("<d")


def compile_decoder(
    writer: Type, reader: Type | None = None, *, omit_null: bool = False
) -> Callable[[bytes, int], Any]:
    """A function that decodes what `writer` has written, from a position to the very end.

    With `reader` values are resolved to that schema. With `omit_null` a field that is null, and is
    null by default, is left out of its record.

    The function raises Malformed, or Unresolvable if the reader has no place for a value.
    """
    read = _Compiler(omit_null).reader(writer, writer if reader is None else reader)

    def decode(data: bytes, start: int = 0) -> Any:
        try:
            value, end = read(data, start)
        except IndexError:
            raise Malformed(_TOO_SHORT) from None
        except RecursionError:
            raise Malformed("nested too deep") from None
        left = len(data) - end
        if left:
            raise Malformed(f"{left} bytes are left over" if left > 0 else _TOO_SHORT)
        return value

    return decode


class _Compiler:
    def __init__(self, omit_null: bool) -> None:
        self._omit_null = omit_null
        self._verdicts = Verdicts()
        self._records: dict[tuple[Type, Type], Read] = {}

    def reader(self, writer: Type, reader: Type) -> Read:
        match writer, reader:
            case Union(branches), _:
                same = writer is reader
                readers = [self.reader(one, one if same else reader) for one in branches]
                if len(readers) == 2 and readers[0] is read_null:
                    return read_optional(readers[1])
                return read_union(readers)
            case _, Union(branches):
                return self.reader(writer, self._branch(writer, branches))
            case Record(), Record() if writer is reader or names_match(reader, writer):
                return self._record(writer, reader)
            case Array(theirs), Array(mine):
                return read_array(self.reader(theirs, mine), takes_no_bytes(theirs))
            case Map(theirs), Map(mine):
                return read_map(self.reader(theirs, mine), read_string)
            case Enum(), Enum() if names_match(reader, writer):
                return _enum(writer, reader)
            case Fixed(), Fixed() if reader.size == writer.size and names_match(reader, writer):
                return _converted(_fixed(writer.size), conversion_of(reader))
            case Primitive(theirs), Primitive(mine) if theirs == mine:
                return _converted(_PLAIN[mine], conversion_of(reader))
            case Primitive(theirs), Primitive(mine) if (theirs, mine) in PROMOTIONS:
                return _converted(_promoted(theirs, mine), conversion_of(reader))
        return _mismatch(f"{describe(writer)} cannot be read as {describe(reader)}")

    def _branch(self, writer: Type, branches: list[Type]) -> Type:
        """The reader's branch for a type: its very like if there is one, else one that reads it."""
        like = [branch for branch in branches if is_alike(branch, writer)]
        readable = [one for one in branches if self._verdicts.readable(one, writer)]
        both = [one for one in like if one in readable]
        return (both or readable or like or branches)[0]

    def _record(self, writer: Record, reader: Record) -> Read:
        key = (writer, reader)
        if key in self._records:
            return self._records[key]
        compiled: list[Read] = []
        # For the fields that refer to the record itself, which are compiled before it is.
        self._records[key] = lambda data, at: compiled[0](data, at)
        steps: list[Step] = []
        left = list(reader.fields)
        for theirs in writer.fields:
            mine = [field for field in left if _takes_from(field, theirs, writer)]
            left = [field for field in left if field not in mine]
            steps += [self._step(theirs, field, last=field is mine[-1]) for field in mine]
            if not mine:
                steps.append((None, self.reader(theirs.type, theirs.type), False, True))
        defaults = [self._default(field) for field in left]
        compiled.append(read_record(steps, defaults))
        self._records[key] = compiled[0]
        return compiled[0]

    def _step(self, theirs: Field, mine: Field, *, last: bool) -> Step:
        omit = self._omit_null and mine.default is None and is_optional(mine.type)
        return mine.name, self.reader(theirs.type, mine.type), omit, last

    def _default(self, field: Field) -> tuple[str, Read, bytes]:
        if field.default is NO_DEFAULT:
            fault = f'the writer does not have the field "{field.name}", and it has no default'
            return field.name, _mismatch(fault), b""
        data = default_bytes(field.default, field.type)
        if self._omit_null and field.default is None:
            return "", read_null, data
        return field.name, self.reader(field.type, field.type), data


def _takes_from(field: Field, theirs: Field, writer: Record) -> bool:
    names = [one.name for one in writer.fields]
    return next((n for n in (field.name, *field.aliases) if n in names), None) == theirs.name


def _mismatch(message: str) -> Read:
    def read(data: bytes, at: int) -> NoReturn:  # noqa: ARG001
        raise Unresolvable(message)

    return read


def _converted(read_plain: Read, conversion: Conversion | None) -> Read:
    if conversion is None:
        return read_plain
    convert = conversion.from_plain

    def read(data: bytes, at: int) -> tuple[Any, int]:
        plain, end = read_plain(data, at)
        try:
            return convert(plain), end
        except (ValueError, OverflowError) as error:
            raise Malformed(str(error)) from None

    return read


def _enum(writer: Enum, reader: Enum) -> Read:
    symbols = list(symbol_map(reader, writer).items())

    def read(data: bytes, at: int) -> tuple[str, int]:
        number, at = read_long(data, at)
        if not 0 <= number < len(symbols):
            raise Malformed(f"an enum of {len(symbols)} symbols has no number {number}")
        symbol, mine = symbols[number]
        if mine is None:
            raise Unresolvable(f"the reader's enum has no {symbol} and no default")
        return mine, at

    return read


def _promoted(theirs: str, mine: str) -> Read:
    read_plain = _PLAIN[theirs]
    if mine == "long" or theirs == "float":
        return read_plain
    if mine == "string":
        return read_string  # bytes and strings are written alike; what is no UTF-8 is refused
    if mine == "bytes":
        return read_bytes

    def read(data: bytes, at: int) -> tuple[float, int]:
        number, at = read_plain(data, at)
        return float(number), at

    return read


def read_null(data: bytes, at: int) -> tuple[None, int]:  # noqa: ARG001
    return None, at


def _boolean(data: bytes, at: int) -> tuple[bool, int]:
    byte = data[at]
    if byte > 1:
        raise Malformed(f"a boolean is 0 or 1, not {byte}")
    return byte == 1, at + 1


def _int(data: bytes, at: int) -> tuple[int, int]:
    number, at = read_long(data, at)
    if not INT_MIN <= number <= INT_MAX:
        raise Malformed(f"{number} does not fit in an int")
    return number, at


def _float(data: bytes, at: int) -> tuple[float, int]:
    return _FLOAT.unpack(_slice(data, at, at + 4))[0], at + 4


def _double(data: bytes, at: int) -> tuple[float, int]:
    return _DOUBLE.unpack(_slice(data, at, at + 8))[0], at + 8


def read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = read_long(data, at)
    if size < 0:
        raise Malformed("a length below zero")
    return _slice(data, at, at + size), at + size


def read_string(data: bytes, at: int) -> tuple[str, int]:
    size = data[at]
    if size < 128 and not size & 1:  # the common case without a call
        start = at + 1
        end = start + (size >> 1)
    else:
        size, start = read_long(data, at)
        if size < 0:
            raise Malformed("a length below zero")
        end = start + size
    # A string that ends behind the data is found out at the very end, with everything after it.
    try:
        return data[start:end].decode(), end
    except UnicodeDecodeError as error:
        raise Malformed(f"a string is no UTF-8: {error.reason}") from None


def _fixed(size: int) -> Read:
    def read(data: bytes, at: int) -> tuple[bytes, int]:
        return _slice(data, at, at + size), at + size

    return read


def _slice(data: bytes, start: int, end: int) -> bytes:
    if end > len(data):
        raise IndexError
    return data[start:end]


_PLAIN: dict[str, Read] = {
    "null": read_null,
    "boolean": _boolean,
    "int": _int,
    "long": read_long,
    "float": _float,
    "double": _double,
    "bytes": read_bytes,
    "string": read_string,
}
