"""Sinks in memory, which fail when the test says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import anyio
import anyio.lowlevel

from streamd.api import (
    Batch,
    BatchLimits,
    Misconfigured,
    Permanent,
    Reject,
    Rejected,
    Retryable,
    StageContext,
)
from streamd.testing.scenarios.matching import fits, plain
from streamd.testing.scenarios.model import Fault
from streamd.testing.scenarios.script import Row, Rows


class VirtualSink:
    """Keeps what is written, but for what the faults and `encode` refuse."""

    batch = BatchLimits()

    def __init__(
        self,
        rows: Rows,
        faults: Sequence[Fault] = (),
        encode: Callable[[Sequence[Any]], Any] | None = None,
    ) -> None:
        self._rows = rows
        self._faults = faults
        self._encode = encode
        self._struck = [0] * len(faults)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    async def write(self, batch: Batch) -> None:
        await anyio.lowlevel.checkpoint()
        now, values = anyio.current_time(), [plain(value) for value in batch.values]
        rejects = self._refused(batch) | self._strike(values, now)
        self._rows += [Row(now, value) for at, value in enumerate(values) if at not in rejects]
        if rejects:
            raise Rejected(rejects)

    def _refused(self, batch: Batch) -> dict[int, Reject]:
        try:
            if self._encode is not None:
                self._encode(batch.values)
        except Rejected as error:
            return error.rows
        return {}

    def _strike(self, values: Sequence[Any], now: float) -> dict[int, Reject]:
        """Rows that a fault rejects. Raises the error of a fault that names none."""
        for number, fault in enumerate(self._faults):
            over = fault.lasts is not None and now >= fault.at + fault.lasts
            used_up = fault.times is not None and self._struck[number] >= fault.times
            rows = [
                row
                for row, value in enumerate(values)
                if fault.where is None or fits(plain(fault.where), value)
            ]
            if now < fault.at or over or used_up or not rows:
                continue
            self._struck[number] += 1
            if fault.error == "rejected":
                return dict.fromkeys(rows, Reject(fault.reason, fault.message))
            raise _ERRORS[fault.error](fault.message)
        return {}


_ERRORS: Mapping[str, type[Exception]] = {
    "retryable": Retryable,
    "permanent": Permanent,
    "misconfigured": Misconfigured,
}


class CodecWatch:
    """A sink's context that remembers whether the sink has asked for its codec."""

    def __init__(self, context: StageContext) -> None:
        self._context = context
        self.asked = False

    def __getattr__(self, name: str) -> Any:
        self.asked = self.asked or name == "codec"
        return getattr(self._context, name)
