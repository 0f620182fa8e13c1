"""From events to table columns, for sinks that write tables: the `columns` of their settings.

A library that sinks build on; it offers no stage of its own.
"""

from streamd_columns.columns import Columns, Unfit
from streamd_columns.mapping import ColumnDef, Mapped, parse_mapping
from streamd_columns.source import SYNTAX, Source, parse_source
from streamd_expressions import MISSING, Missing

__all__ = [
    "MISSING",
    "SYNTAX",
    "ColumnDef",
    "Columns",
    "Mapped",
    "Missing",
    "Source",
    "Unfit",
    "parse_mapping",
    "parse_source",
]
