"""ClickHouse's column types: what fits into them and how it is written."""

from streamd_clickhouse.types.base import FIT_ERRORS, ColumnType, Misfit, shown
from streamd_clickhouse.types.parse import UnknownType, parse_type
from streamd_clickhouse.types.text import varint

__all__ = ["FIT_ERRORS", "ColumnType", "Misfit", "UnknownType", "parse_type", "shown", "varint"]
