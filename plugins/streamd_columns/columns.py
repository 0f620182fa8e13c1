"""The values of a batch as columns, one list comprehension or `map` per column.

A path is read part by part over the whole batch, and columns under one parent share the read of
the parent: `payload.a` and `payload.b` look `payload` up once per event.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from operator import attrgetter, itemgetter
from typing import Any

import msgspec

from streamd.api import VALID, Batch, split_partition
from streamd_columns.source import Path, Source
from streamd_transforms.expressions import MISSING, Missing
from streamd_transforms.expressions.values import find_field, find_item

_NOT_ENCODABLE = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Unfit:
    """Stands in a column for a value that could not be made; no column type takes it."""

    __slots__ = ("message",)

    def __init__(self, message: str) -> None:
        self.message = message

    def __repr__(self) -> str:
        return self.message


class Columns:
    """The columns of one batch. A field that an event does not have is MISSING, a null None."""

    def __init__(self, batch: Batch, encoder: msgspec.json.Encoder) -> None:
        self._batch = batch
        self._encode = encoder.encode
        # Events that nobody has decoded have no fields; raw bytes, keys and places they have.
        values = batch.values if batch.decoded else [MISSING] * len(batch)
        self._paths: dict[Path, list[Any]] = {(): values}

    def of(self, source: Source) -> list[Any]:
        """One value per row. The list may be shared: do not change it."""
        batch, rows = self._batch, len(self._batch)
        match source.kind:
            case "path" | "ms":
                return self._path(source.path)
            case "json":
                return self._encoded(self._path(source.path), self._encode)
            case "text":
                return self._encoded(self._path(source.path), self._text)
            case "status":
                return [VALID] * rows if batch.statuses is None else list(batch.statuses)
            case "raw":
                return [None] * rows if batch.raws is None else list(batch.raws)
            case "offset":
                return list(batch.offsets)
            case "timestamp":
                return list(batch.timestamps)
            case "key":
                return [None] * rows if batch.keys is None else list(batch.keys)
            case "header":
                return self._header(source.name)
            case "partition":
                return self.partitions()
            case "topic":
                return _spread(batch, lambda partition: split_partition(partition)[0])

    def partitions(self) -> list[str]:
        """The partition of each row."""
        return _spread(self._batch, str)

    def _path(self, path: Path) -> list[Any]:
        column = self._paths.get(path)
        if column is None:
            column = self._paths[path] = _step(self._path(path[:-1]), path[-1])
        return column

    def _encoded(self, values: list[Any], encode: Callable[[Any], Any]) -> list[Any]:
        try:
            if Missing not in set(map(type, values)):
                return [encode(value) for value in values]
        except _NOT_ENCODABLE:
            pass
        return [value if value is MISSING else _encoded_one(encode, value) for value in values]

    def _text(self, value: Any) -> Any:
        return value if value is None or isinstance(value, str | bytes) else self._encode(value)

    def _header(self, name: str) -> list[Any]:
        headers = self._batch.headers
        if headers is None:
            return [MISSING] * len(self._batch)
        return [dict(row).get(name, MISSING) if row else MISSING for row in headers]


def _spread(batch: Batch, name: Callable[[str], str]) -> list[str]:
    column: list[str] = []
    for span in batch.spans:
        column += [name(span.partition)] * span.rows
    return column


def _step(parents: list[Any], part: str | int) -> list[Any]:
    """One part of a path for all rows: fast where all parents are alike and have it."""
    if not parents:
        return []
    kinds = set(map(type, parents))
    first = type(parents[0])
    if len(kinds) == 1 and isinstance(part, str):
        try:
            if first is dict:
                return list(map(itemgetter(part), parents))
            if issubclass(first, msgspec.Struct) and _is_plain(first, part):
                values = list(map(attrgetter(part), parents))
                if msgspec.UnsetType not in set(map(type, values)):
                    return values
        except (KeyError, AttributeError):
            pass
    if isinstance(part, int):
        return [find_item(parent, part) for parent in parents]
    known: set[type] = set()
    return [find_field(parent, part, known) for parent in parents]


def _is_plain(cls: type[msgspec.Struct], name: str) -> bool:
    """Whether the field's name on the wire is the attribute's."""
    wire, attributes = cls.__struct_encode_fields__, cls.__struct_fields__
    return (name, name) in zip(wire, attributes, strict=True)


def _encoded_one(encode: Callable[[Any], Any], value: Any) -> Any:
    try:
        return encode(value)
    except _NOT_ENCODABLE as error:
        return Unfit(f"cannot be written as JSON: {error}")


def iso_text(ms: int) -> str:
    """A time in milliseconds since the epoch as ISO 8601 text in UTC.

    Raises OverflowError outside of the years 1 to 9999.
    """
    moment = EPOCH + timedelta(milliseconds=ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
