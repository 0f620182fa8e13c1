"""Result rows, and batches of them that the engine takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, Literal

from streamd.api import Batch, Span
from streamd_windows.keys import Key, key_dict
from streamd_windows.packing import pack_key, packed_key
from streamd_windows.rows import Chunk
from streamd_windows.times import to_text

TimeFormat = Literal["ms", "rfc3339"]
Panes = Literal["replace", "keep"]


class ResultRows:
    """Makes the rows of one stage.

    The id of a row is a hash of pipeline, stage, window and key, and of the pane too with
    `panes = "keep"`: the same in every run, so that a sink overwrites what a replay sends again.
    """

    def __init__(
        self,
        pipeline: str,
        stage: str,
        names: Sequence[str],
        *,
        time_format: TimeFormat = "ms",
        panes: Panes = "replace",
    ) -> None:
        self.stage = stage
        self.names = names
        self.keep_panes = panes == "keep"
        self._seed = packed_key((pipeline, stage))
        self._base = blake2b(self._seed, digest_size=16)
        self.one_name = names[0] if len(names) == 1 else None
        self.show: Callable[[int], Any] = to_text if time_format == "rfc3339" else int

    def identity(self, *parts: Any) -> str:
        """A deterministic id: 32 hexadecimal digits."""
        digest = self._base.copy()
        digest.update(pack_key(parts))
        return digest.hexdigest()

    def rows(
        self,
        span: tuple[int, int],
        keys: Sequence[Key],
        panes: Sequence[int],
        columns: tuple[Sequence[str], Sequence[tuple[Any, ...]]],
        watermark: int | None,
    ) -> list[dict[str, Any]]:
        """One row per key of a window `span` (start, end); `columns` are names and values."""
        start, end = self.show(span[0]), self.show(span[1])
        mark = None if watermark is None else self.show(watermark)
        base = blake2b(self._seed + pack_key(span), digest_size=16)
        stage, key_names, one, keep = self.stage, self.names, self.one_name, self.keep_panes
        names, results = columns
        rows = []
        for key, pane, values in zip(keys, panes, results, strict=True):
            digest = base.copy()
            digest.update(packed_key((key, pane)) if keep else packed_key(key))
            shown = {one: key} if one and type(key) is str else key_dict(key_names, key)
            row = {
                "window": stage,
                "id": digest.hexdigest(),
                "start": start,
                "end": end,
                "key": shown,
                "pane": pane,
                "watermark": mark,
            }
            row.update(zip(names, values, strict=True))
            rows.append(row)
        return rows

    def each(
        self,
        windows: Sequence[tuple[int, int, Key, int, int | None]],
        names: Sequence[str],
        results: Sequence[tuple[Any, ...]],
        *,
        grow: bool,
    ) -> list[dict[str, Any]]:
        """Rows of windows that are each their own: (start, end, key, pane, watermark).

        With `grow` they may be shown again with a later end, which is then no part of the id.
        """
        show, stage, key_names, one = self.show, self.stage, self.names, self.one_name
        keep, identity = self.keep_panes, self.identity
        rows = []
        for start, end, key, pane, mark in windows:
            parts = (start, key) if grow else (start, end, key)
            row = {
                "window": stage,
                "id": identity(*parts, pane) if keep else identity(*parts),
                "start": show(start),
                "end": show(end),
                "key": {one: key} if one and type(key) is str else key_dict(key_names, key),
                "pane": pane,
                "watermark": None if mark is None else show(mark),
            }
            rows.append(row)
        for at, name in enumerate(names):
            for row, values in zip(rows, results, strict=True):
                row[name] = values[at]
        return rows


def batches(stage: str, chunks: Iterable[Chunk], *, repeats: bool = True) -> list[Batch]:
    """Batches of one partition each, with offsets that go on where its last batch ended.

    One per partition where no row comes twice. With `repeats` a row may replace one that another
    partition owned: then it is in a later batch than that one, so that the last to come stays.
    """
    runs: list[list[Chunk]] = []
    newest: dict[str, int] = {}  # partition to its last run
    shown: dict[str, int] = {}  # row id to the run that it was last in
    for chunk in chunks:
        name = chunk.slice.name
        ids = [row["id"] for row in chunk.values] if repeats else []
        at = newest.get(name, -1)
        if at < 0 or any(shown.get(id_, -1) > at for id_ in ids):
            at = newest[name] = len(runs)
            runs.append([])
        runs[at].append(chunk)
        shown.update(dict.fromkeys(ids, at))
    return [_batch(stage, parts) for parts in runs]


def _batch(stage: str, parts: list[Chunk]) -> Batch:
    slice_ = parts[0].slice
    values = [value for part in parts for value in part.values]
    times = [time for part in parts for time in part.times]
    first = slice_.sequence
    slice_.sequence = stop = first + len(values)
    slice_.changed = True
    span = Span(f"{stage}:{slice_.name}", first, stop, len(values))
    return Batch(values, offsets=range(first, stop), timestamps=times, spans=[span])
