"""Values to Avro's binary form, by functions that are put together once for a schema.

They check while they write: nothing is cut, rounded to another type, left out or made up. Only a
`float` is rounded, to the 32 bits that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from streamd_avro.defaults import default_bytes
from streamd_avro.logical import Conversion, conversion_of
from streamd_avro.plain import PLAIN, Write, fixed_writer, unexpected, write_string
from streamd_avro.problems import NotEncodable
from streamd_avro.schema import (
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
)
from streamd_avro.sizes import MAX_EMPTY_ITEMS, takes_no_bytes
from streamd_avro.unions import union_writer
from streamd_avro.varint import varint, zigzag

_KEPT = (bytes, bytearray, datetime, date, Decimal)  # types that Avro has a form of its own for


def compile_encoder(schema: Type, *, drop_extra: bool = False) -> Callable[[Any], bytes]:
    """A function that encodes one value, or raises NotEncodable with its path.

    Records may be dicts or Structs; a field that is UNSET is one that the record does not have.
    Fields that the schema does not have are an error unless `drop_extra`.
    """
    write = _Compiler(drop_extra).writer(schema)

    def encode(value: Any) -> bytes:
        out = bytearray()
        try:
            write(value, out)
        except RecursionError:
            raise NotEncodable("nested too deep") from None
        return bytes(out)

    return encode


class _Compiler:
    def __init__(self, drop_extra: bool) -> None:
        self._drop_extra = drop_extra
        self._records: dict[Type, Write] = {}

    def writer(self, schema: Type, *, exactly: bool = False) -> Write:
        """`exactly`: a value must come back as the same text; see `Conversion`."""
        match schema:
            case Record():
                return self._record(schema)
            case Array(items):
                return _array(self.writer(items), takes_no_bytes(items))
            case Map(values):
                return _map(self.writer(values))
            case Union(branches):
                # With a second form at hand, a value is only put into one that keeps it as it is.
                several = sum(branch.kind != "null" for branch in branches) > 1
                return union_writer(
                    schema, [self.writer(branch, exactly=several) for branch in branches]
                )
            case Enum(symbols=symbols):
                return _enum(symbols)
            case Fixed() | Primitive():
                plain = (
                    fixed_writer(schema.size) if isinstance(schema, Fixed) else PLAIN[schema.kind]
                )
                conversion = conversion_of(schema)
                return _converted(conversion, exactly, plain) if conversion else plain

    def _record(self, record: Record) -> Write:
        if record in self._records:
            return self._records[record]
        compiled: list[Write] = []
        # For the fields that refer to the record itself, which are compiled before it is.
        self._records[record] = lambda value, out: compiled[0](value, out)
        fields = [(field.name, self.writer(field.type), _missing(field)) for field in record.fields]
        compiled.append(_record(fields, self._drop_extra))
        self._records[record] = compiled[0]
        return compiled[0]


def _missing(field: Field) -> bytes | None:
    return None if field.default is NO_DEFAULT else default_bytes(field.default, field.type)


def _record(fields: Iterable[tuple[str, Write, bytes | None]], drop_extra: bool) -> Write:
    fields = tuple(fields)
    names = frozenset(name for name, _, _ in fields)

    def write(value: Any, out: bytearray) -> None:
        if type(value) is not dict:
            value = as_dict(value, "a record")
        get, known, name = value.get, 0, ""
        try:
            for name, write_field, missing in fields:
                item = get(name, UNSET)
                if item is not UNSET:
                    known += 1
                    write_field(item, out)
                elif missing is not None:
                    out += missing
                else:
                    raise NotEncodable("missing, and it has no default")
        except NotEncodable as error:
            raise error.within(f".{name}") from None
        if known != len(value) and not drop_extra:
            extra = [key for key in value if key not in names and value[key] is not UNSET]
            if extra:
                raise NotEncodable(f"not in the schema: {', '.join(map(repr, extra[:5]))}")

    return write


def as_dict(value: Any, what: str) -> dict[Any, Any]:
    """A Struct or mapping as a dict, without what is UNSET."""
    if isinstance(value, Struct):
        value = msgspec.to_builtins(value, builtin_types=_KEPT)
    if not isinstance(value, dict):
        raise unexpected(what, value)
    return value


def _array(write_item: Write, empty_items: bool) -> Write:
    def write(value: Any, out: bytearray) -> None:
        if not isinstance(value, list | tuple):
            raise unexpected("an array", value)
        if empty_items and len(value) > MAX_EMPTY_ITEMS:
            raise NotEncodable(f"more than {MAX_EMPTY_ITEMS} items of no bytes")
        if value:
            out += varint(len(value) << 1)
            at = 0
            try:
                for at, item in enumerate(value):  # noqa: B007 - it names the item that failed
                    write_item(item, out)
            except NotEncodable as error:
                raise error.within(f"[{at}]") from None
        out.append(0)

    return write


def _map(write_value: Write) -> Write:
    def write(value: Any, out: bytearray) -> None:
        if type(value) is not dict:
            value = as_dict(value, "a map")
        if value:
            out += varint(len(value) << 1)
            key = ""
            try:
                for key, item in value.items():
                    write_string(key, out)
                    write_value(item, out)
            except NotEncodable as error:
                raise error.within(f"[{key!r}]") from None
        out.append(0)

    return write


def _enum(symbols: tuple[str, ...]) -> Write:
    encoded = {symbol: zigzag(at) for at, symbol in enumerate(symbols)}

    def write(value: Any, out: bytearray) -> None:
        if not isinstance(value, str):
            raise unexpected("a string", value)
        if value not in encoded:
            raise NotEncodable(f"{value!r:.100} is none of {', '.join(symbols)}")
        out += encoded[value]

    return write


def _converted(conversion: Conversion, exactly: bool, plain: Write) -> Write:
    convert = conversion.exactly if exactly else conversion.to_plain
    takes = conversion.takes

    def encode(value: Any) -> bytes:
        out = bytearray()
        plain(convert(value), out)
        return bytes(out)

    # Times and addresses come in crowds. Only text is remembered: 1, 1.0 and True are equal.
    encode_text = lru_cache(maxsize=8192)(encode) if object not in takes else encode

    def write(value: Any, out: bytearray) -> None:
        if type(value) is str:
            out += encode_text(value)
        elif isinstance(value, takes) and (not isinstance(value, bool) or object in takes):
            out += encode(value)
        else:
            raise NotEncodable(f"a {type(value).__name__} has no form in the logical type")

    return write
