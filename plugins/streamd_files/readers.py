"""What the file source reads from: files or standard input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from streamd.api import Batch, Counter
from streamd_files.lines import LineSplitter


class Reader(Protocol):
    """The methods are those of a source, which see."""

    async def open(self) -> None: ...

    def close(self) -> None: ...

    def check(self) -> str: ...

    def exhausted(self) -> bool: ...

    async def poll(self, most: int, timeout: float) -> list[Batch]: ...

    def committed(self, positions: Mapping[str, int]) -> None: ...


def take_batch(
    lines: LineSplitter, most: int, *, partition: str, timestamp: int, cut: Counter
) -> Batch | None:
    """Up to `most` waiting lines as a batch; None if none wait.

    `timestamp` is in milliseconds since the epoch; `cut` counts the lines that were too long.
    """
    if not lines.waiting:
        return None
    if lines.cut:
        cut.inc(lines.cut)
        lines.cut = 0
    raws, offsets, stop = lines.take(most)
    return Batch.of_raws(
        raws,
        partition=partition,
        offsets=offsets,
        timestamps=[timestamp] * len(raws),
        stop=stop,
    )
