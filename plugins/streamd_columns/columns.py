"""The values of a batch as columns, one list comprehension or `map` per column.

A path is read part by part over the whole batch, and columns under one parent share the read of
the parent: `payload.a` and `payload.b` look `payload` up once per event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter, itemgetter
from typing import Any

import msgspec

from streamd.api import VALID, Batch, split_partition
from streamd_columns.source import Path, Source
from streamd_expressions import MISSING, Missing
from streamd_expressions.values import find_field, find_item

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
    """The columns of a batch, or of the rows from `start` to `stop` of it.

    A field that an event does not have is MISSING, a null is None.
    """

    def __init__(
        self,
        batch: Batch,
        encoder: msgspec.json.Encoder,
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        self._batch = batch
        self._window = slice(start, len(batch) if stop is None else min(stop, len(batch)))
        self.rows = self._window.stop - start
        self._encode = encoder.encode
        # Events that nobody has decoded have no fields; raw bytes, keys and places they have.
        values = batch.values[self._window] if batch.decoded else [MISSING] * self.rows
        self._paths: dict[Path, list[Any]] = {(): values}

    def of(self, source: Source) -> list[Any]:
        """One value per row. The list may be shared: do not change it."""
        batch = self._batch
        match source.kind:
            case "path" | "ms":
                return self._path(source.path)
            case "json":
                return self._encoded(self._path(source.path), self._encode)
            case "text":
                return self._encoded(self._path(source.path), self._text)
            case "status":
                return self._part(batch.statuses, VALID)
            case "raw":
                return self._part(batch.raws, None)
            case "offset":
                return self._part(batch.offsets, None)
            case "timestamp":
                return self._part(batch.timestamps, None)
            case "key":
                return self._part(batch.keys, None)
            case "header":
                name, rows = source.name, self._part(batch.headers, None)
                return [dict(row).get(name, MISSING) if row else MISSING for row in rows]
            case "partition":
                return self._spread([span.partition for span in batch.spans])
            case "topic":
                return self._spread([split_partition(span.partition)[0] for span in batch.spans])

    def _part(self, column: Sequence[Any] | None, default: Any) -> list[Any]:
        return [default] * self.rows if column is None else list(column[self._window])

    def _spread(self, names: list[str]) -> list[str]:
        """The name of its span for each row."""
        column: list[str] = []
        first = 0
        for name, span in zip(names, self._batch.spans, strict=True):
            last = first + span.rows
            inside = min(last, self._window.stop) - max(first, self._window.start)
            column += [name] * inside
            first = last
        return column

    def _path(self, path: Path) -> list[Any]:
        column = self._paths.get(path)
        if column is None:
            column = self._paths[path] = _step(self._path(path[:-1]), path[-1])
        return column

    def _encoded(self, values: list[Any], encode: Callable[[Any], Any]) -> list[Any]:
        try:
            if Missing not in set(map(type, values)):
                return list(map(encode, values))
        except _NOT_ENCODABLE:
            pass
        return [value if value is MISSING else _encoded_one(encode, value) for value in values]

    def _text(self, value: Any) -> Any:
        return value if value is None or isinstance(value, str | bytes) else self._encode(value)


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
