"""The event that the tables of expressions are about."""

import datetime
import decimal
from typing import Any

EVENT: dict[str, Any] = {
    "payload": {
        "age": 30,
        "amount": 20.5,
        "tier": "gold",
        "odd-key": 7,
        "nothing": None,
        "flag": True,
        "class": {"from": "a keyword"},
        "__typename": "Order",
    },
    "items": [{"id": 1}, {"id": 2}],
    "tags": ["a", "b"],
    "empty": "",
    "big": 2**60 + 1,
    "price": decimal.Decimal("1.10"),
    "at": datetime.datetime(2024, 1, 31, 12, tzinfo=datetime.UTC),
    "né": "accent",
    "blob": b"xyz",
}
