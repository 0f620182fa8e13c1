"""For plugin authors who want no batches: a plain function of one event as a step."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from typing import Any, Self

from streamd.api.batch import Batch
from streamd.api.errors import Reject
from streamd.api.roles import Rejects


class FunctionStep:
    """A step that calls `function(event)` for each event.

    The function returns the new event, None to remove it, or a list of events to replace it. An
    exception rejects that event alone. It must not mutate the event that it is given.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        rows: list[int] = []
        values: list[Any] = []
        rejects: dict[int, Reject] = {}
        function = self.function
        for row, event in enumerate(batch.values):
            try:
                result = function(event)
            except Exception as error:
                rejects[row] = reject_of(error)
                continue
            if isinstance(result, list):
                rows.extend([row] * len(result))
                values.extend(result)
            elif result is not None:
                rows.append(row)
                values.append(result)
        if rejects:
            yield Rejects(rejects)
        if rows:
            yield batch.take(rows, values)


def reject_of(error: Exception, *, reason: str = "exception") -> Reject:
    """The reject that stands for an exception raised while one event was processed."""
    return Reject(
        reason,
        str(error),
        error_type=type(error).__name__,
        traceback="".join(traceback.format_exception(error)),
    )
