"""Aggregations: commutative monoids over columns of cells, and the language that names them."""

from streamd_windows.aggregates.base import Aggregate, Cells, Custom, Order
from streamd_windows.aggregates.numbers import Count
from streamd_windows.aggregates.parse import Column, parse_aggregates
from streamd_windows.aggregates.table import Table

__all__ = [
    "Aggregate",
    "Cells",
    "Column",
    "Count",
    "Custom",
    "Order",
    "Table",
    "parse_aggregates",
]
