"""The results of a join: pairs, and events alone."""

from __future__ import annotations

from typing import Any

from streamd_windows.aggregates.ordered import shown
from streamd_windows.join_buffer import LEFT, Pair
from streamd_windows.join_queue import Held
from streamd_windows.keys import key_dict
from streamd_windows.results import ResultRows


class JoinRows:
    """Makes the rows of one stage."""

    def __init__(self, results: ResultRows) -> None:
        self._results = results

    def pairs(self, side: int, pairs: list[Pair]) -> list[dict[str, Any]]:
        """Rows of pairs whose first event is of this side."""
        results, rows = self._results, []
        stage, names, show, identity = (
            results.stage,
            results.names,
            results.show,
            results.ids.hashed,
        )
        one = results.one_name
        for pair in pairs:
            left, right = pair if side == LEFT else (pair[1], pair[0])
            key, first, last = left.key, left.time, right.time
            difference = last - first
            if difference < 0:
                first, last = last, first
            places = (
                (left.partition, left.offset, left.nth),
                (right.partition, right.offset, right.nth),
            )
            row = {
                "window": stage,
                "id": identity(*places),
                "start": show(first),
                "end": show(last),
                "key": {one: key} if one and type(key) is str else key_dict(names, key),
                "left": shown(left.value),
                "right": shown(right.value),
                "time_diff": difference,
            }
            rows.append(row)
        return rows

    def alone(self, held: Held) -> dict[str, Any]:
        """The row of an event that has found no partner."""
        results, place = self._results, (held.partition, held.offset, held.nth)
        left = held.side == LEFT
        value = shown(held.value)
        return {
            "window": results.stage,
            "id": results.ids.hashed(*((place, None) if left else (None, place))),
            "start": results.show(held.time),
            "end": results.show(held.time),
            "key": key_dict(results.names, held.key),
            "left": value if left else None,
            "right": None if left else value,
            "time_diff": None,
        }
