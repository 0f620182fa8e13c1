"""Aggregations: commutative monoids over columns of cells, and the language that names them."""

from streamd_windows.aggregates.base import Aggregate, Cells, Custom, Order
from streamd_windows.aggregates.numbers import Count
from streamd_windows.aggregates.parse import Column, parse_aggregates

__all__ = ["Aggregate", "Cells", "Column", "Count", "Custom", "Order", "parse_aggregates"]
