"""Result rows, and batches of them that the engine takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from streamd.api import Batch, Span
from streamd_windows.identity import Identities
from streamd_windows.keys import Key, key_dict
from streamd_windows.rows import Chunk
from streamd_windows.times import to_text

TimeFormat = Literal["ms", "rfc3339"]
Panes = Literal["replace", "keep"]


class ResultRows:
    """Makes the rows of one stage.

    With `panes = "keep"` each pane of a window has an id of its own, else they replace each other.
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
        self.ids = Identities(pipeline, stage)
        self._keep_panes = panes == "keep"
        self.one_name = names[0] if len(names) == 1 else None
        self.show: Callable[[int], Any] = to_text if time_format == "rfc3339" else int

    def rows(
        self,
        span: tuple[int, int],
        keys: Sequence[Key],
        panes: Sequence[int],
        columns: tuple[Sequence[str], Sequence[tuple[Any, ...]]],
        watermark: int | None,
    ) -> list[dict[str, Any]]:
        """One row per key of a window `span` (start, end); `columns` are names and values."""
        start, end = span
        window = f"{start}/{end}"
        if self._keep_panes:
            ids = [self.ids.row(window, key, pane) for key, pane in zip(keys, panes, strict=True)]
        else:
            ids = self.ids.rows(window, keys)
        # Copies of one row: a window may have a million, and most of a row is the same in all.
        copy = self._blank(columns[0], start, end, watermark).copy
        rows = []
        for id_, key, pane in zip(ids, self._shown(keys), panes, strict=True):
            row = copy()
            row["id"] = id_
            row["key"] = key
            row["pane"] = pane
            rows.append(row)
        return _filled(rows, *columns)

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
        show, identity, keep = self.show, self.ids.row, self._keep_panes
        copy = self._blank(names, 0, 0, None).copy
        keys = self._shown([window[2] for window in windows])
        rows = []
        for (start, end, key, pane, mark), shown in zip(windows, keys, strict=True):
            row = copy()
            row["id"] = identity(
                f"{start}" if grow else f"{start}/{end}", key, pane if keep else None
            )
            row["start"] = show(start)
            row["end"] = show(end)
            row["key"] = shown
            row["pane"] = pane
            row["watermark"] = None if mark is None else show(mark)
            rows.append(row)
        return _filled(rows, names, results)

    def _blank(
        self, names: Sequence[str], start: int, end: int, watermark: int | None
    ) -> dict[str, Any]:
        fixed = {
            "window": self.stage,
            "id": "",
            "start": self.show(start),
            "end": self.show(end),
            "key": None,
            "pane": 0,
            "watermark": None if watermark is None else self.show(watermark),
        }
        return fixed | dict.fromkeys(names)

    def _shown(self, keys: Sequence[Key]) -> list[dict[str, Any]]:
        """Each key as its row shows it."""
        names, one = self.names, self.one_name
        if one is None:
            return [key_dict(names, key) for key in keys]
        return [{one: key} if type(key) is str else key_dict(names, key) for key in keys]


def _filled(
    rows: list[dict[str, Any]], names: Sequence[str], results: Sequence[tuple[Any, ...]]
) -> list[dict[str, Any]]:
    """The rows with their results, given by row in the order of the names."""
    for at, name in enumerate(names):
        for row, values in zip(rows, results, strict=True):
            row[name] = values[at]
    return rows


def batches(stage: str, chunks: Iterable[Chunk], *, repeats: bool = True) -> list[Batch]:
    """Batches of one partition each, with offsets that go on where its last batch ended.

    One per partition where no window comes twice. With `repeats` a row may follow one of its window
    and key that another partition owned: then it is in a later batch than that one, so that the
    last to come is the newest.
    """
    runs: list[list[Chunk]] = []
    newest: dict[str, int] = {}  # partition to its last run
    shown: dict[tuple[Any, ...], int] = {}  # window and key to the run that they were last in
    for chunk in chunks:
        name = chunk.slice.name
        rows = chunk.values if repeats else ()
        places = [(row["start"], *row["key"].values()) for row in rows]
        at = newest.get(name, -1)
        if at < 0 or any(shown.get(place, -1) > at for place in places):
            at = newest[name] = len(runs)
            runs.append([])
        runs[at].append(chunk)
        shown.update(dict.fromkeys(places, at))
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
