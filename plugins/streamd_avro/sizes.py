"""How few bytes a value can take: where that is none, a count could ask for any number of items."""

from __future__ import annotations

from streamd_avro.schema import Fixed, Primitive, Record, Type

MAX_EMPTY_ITEMS = 10_000
"""Items of an array whose items take no bytes. Ten bytes of input must not fill the memory."""


def takes_no_bytes(schema: Type) -> bool:
    """Whether there is a value of no bytes at all."""
    return _is_empty(schema, {})


def _is_empty(schema: Type, known: dict[Type, bool]) -> bool:
    match schema:
        case Primitive(kind):
            return kind == "null"
        case Fixed(size=size):
            return size == 0
        case Record(fields=fields):
            if schema not in known:
                known[schema] = True  # for a record that holds itself the other fields decide
                known[schema] = all(_is_empty(field.type, known) for field in fields)
            return known[schema]
        case _:
            return False
