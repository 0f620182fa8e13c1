"""Which columns of the server's table the sink writes, and from what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from streamd.api import Misconfigured
from streamd_clickhouse.rows import Column
from streamd_clickhouse.types import UnknownType, parse_type
from streamd_columns import Mapped

_COMPUTED = frozenset({"MATERIALIZED", "ALIAS"})


def plan_columns(
    described: Iterable[Sequence[Any]], mapping: Sequence[Mapped], *, table: str, explicit: bool
) -> tuple[Column, ...]:
    """The mapped columns with their types. Columns that nobody maps are left to the server.

    `described` is the answer to DESCRIBE TABLE. Raises Misconfigured if the mapping does not
    match it.
    """
    types = {row[0]: (row[1], row[2]) for row in described}
    absent = [column.name for column in mapping if column.name not in types]
    if absent:
        raise Misconfigured(_absent_columns(absent, list(types), table, explicit))
    columns = []
    for column in mapping:
        spelling, default_kind = types[column.name]
        if default_kind in _COMPUTED:
            raise Misconfigured(
                f"{table}: column {column.name} is {default_kind}, the server computes it;"
                " take it out of columns"
            )
        try:
            columns.append(Column(column.name, column.source, spelling, parse_type(spelling)))
        except UnknownType:
            raise Misconfigured(
                f"{table}: column {column.name} has the type {spelling}, which this sink does not"
                " write; leave it to the server or change its type"
            ) from None
    return tuple(columns)


def _absent_columns(absent: list[str], names: list[str], table: str, explicit: bool) -> str:
    if not explicit:
        return (
            f"{table} is not the default table (no column {', '.join(absent)}): say in columns"
            f" where its columns come from. It has {', '.join(names)}"
        )
    said = []
    for name in absent:
        near = get_close_matches(name, names, 1)
        said.append(f"{name} (did you mean {near[0]}?)" if near else name)
    return f"{table} has no column {', '.join(said)}. It has {', '.join(names)}"
