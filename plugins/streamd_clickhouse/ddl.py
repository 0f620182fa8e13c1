"""The statements that the sink sends, as pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from streamd_clickhouse.config import ClickHouseConfig, Target
from streamd_columns import Mapped

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DEFAULT_ORDER = "(event_type, created_at, id)"
_DEFAULT_PARTITION = "toYYYYMM(created_at)"
_CREATED_AT = "created_at DateTime DEFAULT now()"


def quote_name(name: str) -> str:
    """An identifier, in backticks where it needs them."""
    if _BARE.fullmatch(name):
        return name
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def quote_text(text: str) -> str:
    """A string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def table_name(target: Target) -> str:
    return f"{quote_name(target.database)}.{quote_name(target.table)}"


def create_database(target: Target) -> str:
    return f"CREATE DATABASE IF NOT EXISTS {quote_name(target.database)}"


def create_table(
    config: ClickHouseConfig, target: Target, columns: Sequence[Mapped], *, has_datetime64: bool
) -> str:
    """The table of the mapping. The default mapping also gets `created_at`, set by the server."""
    default = not config.columns
    definitions = [
        f"{quote_name(column.name)} {column.type or _type_for(column, has_datetime64)}"
        for column in columns
    ]
    if default:
        definitions.append(_CREATED_AT)
    statement = (
        f"CREATE TABLE IF NOT EXISTS {table_name(target)} ({', '.join(definitions)})"
        f" ENGINE = {config.engine}"
    )
    # Only the MergeTree family has keys.
    sorted_engine = "MergeTree" in config.engine
    order = config.order_by or (_DEFAULT_ORDER if default else "tuple()")
    if sorted_engine or config.order_by:
        statement += f" ORDER BY {order}"
    partition = config.partition_by or (_DEFAULT_PARTITION if default and sorted_engine else None)
    return statement if partition is None else f"{statement} PARTITION BY {partition}"


def _type_for(column: Mapped, has_datetime64: bool) -> str:
    if column.source.in_ms:
        return "DateTime64(3, 'UTC')" if has_datetime64 else "DateTime"
    return "Int64" if column.source.kind == "offset" else "String"


def describe_table(target: Target) -> str:
    return f"DESCRIBE TABLE {table_name(target)}"


def find_database(target: Target) -> str:
    """Returns a row if the database exists."""
    return f"SELECT 1 FROM system.databases WHERE name = {quote_text(target.database)}"


def find_table(target: Target) -> str:
    """Returns a row if the table exists."""
    database, table = quote_text(target.database), quote_text(target.table)
    return f"SELECT 1 FROM system.tables WHERE database = {database} AND name = {table}"


def insert_into(target: Target, names: Iterable[str]) -> str:
    return f"INSERT INTO {table_name(target)} ({', '.join(map(quote_name, names))}) VALUES"


def settings_known(names: Iterable[str]) -> str:
    """Returns a row for each of these settings that the server has."""
    quoted = ", ".join(map(quote_text, names))
    return f"SELECT name FROM system.settings WHERE name IN ({quoted})"
