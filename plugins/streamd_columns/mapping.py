"""The `columns` table of a sink's settings: column name to source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Struct

from streamd.api import ConfigError, doc
from streamd_columns.source import Source, parse_source


class ColumnDef(Struct, frozen=True, forbid_unknown_fields=True):
    """A column with the type that `create_table` gives it."""

    source: Annotated[str, doc("Where the value comes from.", example="payload.amount")]
    type: Annotated[str | None, doc("Type of the column in a table that is created.")] = None


class Mapped(Struct, frozen=True):
    """One column of the table: its name, its source and the type asked for, if any."""

    name: str
    source: Source
    type: str | None = None


def parse_mapping(columns: Mapping[str, str | ColumnDef]) -> tuple[Mapped, ...]:
    """The columns in the order of the settings.

    Raises ConfigError whose path is `columns.<name>`.
    """
    mapped = []
    for name, definition in columns.items():
        if isinstance(definition, str):
            definition = ColumnDef(definition)
        try:
            source = parse_source(definition.source)
        except ValueError as error:
            raise ConfigError(str(error), path=f"columns.{name}") from None
        mapped.append(Mapped(name, source, definition.type))
    return tuple(mapped)
