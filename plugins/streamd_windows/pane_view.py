"""One tumbling or sliding window as a whole: its panes, over all partitions, read live."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from streamd_windows.aggregates import Cells, Table
from streamd_windows.cells import Group
from streamd_windows.keys import Key
from streamd_windows.layout import Layout
from streamd_windows.shards import COUNT, apart, scatter
from streamd_windows.slices import Slice, Slices


class Owned(NamedTuple):
    """Keys whose results belong to a partition, with `before` others of it before them.

    `shard` is theirs, None if they are of several.
    """

    slice: Slice
    shard: int | None
    before: int
    keys: list[Key]


class WindowView:
    """The window with this end. Nothing is copied: it shows the cells as they are when asked."""

    __slots__ = ("_emitted", "_groups", "_layout", "_slices", "end", "made")

    def __init__(self, slices: Slices, layout: Layout, end: int, made: int) -> None:
        self.end = end
        self.made = made
        self._slices = slices
        self._layout = layout
        self._look()

    def refresh(self, made: int) -> None:
        """Find the groups of cells that have been made since, told by a count of all."""
        if self.made != made:
            self.made = made
            self._look()

    def _look(self) -> None:
        slices, end = self._slices, self.end
        self._groups: list[tuple[Slice, list[Group]]] = []
        self._emitted: list[Group] = []
        # By name: which partition a result belongs to must be the same in every run.
        for name in sorted(slices):
            held = slices[name].body.groups
            groups = [held["p", pane] for pane in self._layout.panes(end) if ("p", pane) in held]
            if groups:
                self._groups.append((slices[name], groups))
            if (emitted := held.get(("e", end))) is not None:
                self._emitted.append(emitted)

    def owned(self) -> Iterator[Owned]:
        """All keys, by the partition that their results belong to: the first that has the key.

        By shard, and in each in the order in which the keys came, pane by pane: whether groups are
        split or not, that too is the same in every run.
        """
        split = any(group.shards for _, groups in self._groups for group in groups)
        shards: Sequence[int | None] = range(COUNT) if split else [None]
        seen: dict[int | None, set[Key]] = {shard: set() for shard in shards}
        for slice_, groups in self._groups:
            before = 0
            for shard in shards:
                keys = _union([part for group in groups for part in group.parts(0, shard)])
                if len(self._groups) > 1:
                    keys = [key for key in keys if key not in seen[shard]]
                    seen[shard].update(keys)
                if shard is None:
                    keys = [key for part in scatter(keys, keys, apart()) for key in part]
                yield Owned(slice_, shard, before, keys)
                before += len(keys)

    def owned_of(self, keys: Iterable[Key]) -> Iterator[tuple[Slice, list[Key]]]:
        """The same for some keys; those that the window does not have are left out."""
        left = dict.fromkeys(keys)
        for slice_, groups in self._groups:
            mine = [key for key in left if any(group.value(0, key) for group in groups)]
            for key in mine:
                del left[key]
            yield slice_, mine

    def columns(self, table: Table, keys: Sequence[Key], shard: int | None) -> list[Cells]:
        """The cells of some keys, merged over panes and partitions; to be read only.

        `shard` is the one of all keys, None if they are of several.
        """
        columns = []
        for number, aggregate in enumerate(table.aggregates):
            parts = [p for _, gs in self._groups for g in gs for p in g.parts(number, shard)]
            columns.append(aggregate.pick(parts, keys))
        return columns

    def count(self, key: Key) -> int:
        """Events of a key."""
        return sum(group.value(0, key) for _, groups in self._groups for group in groups)

    def emitted(self, key: Key) -> tuple[int, int]:
        """How many rows of a key have been emitted, and how many events they had seen."""
        emitted = self._emitted
        return sum(g.value(0, key) for g in emitted), sum(g.value(1, key) for g in emitted)

    def unseen(self, key: Key) -> int:
        """Events of a key that no row has shown."""
        return self.count(key) - self.emitted(key)[1]

    def record(self, group: Group, made: int) -> None:
        """Let `emitted` see a group that has been made since."""
        self.made = made
        if not any(group is held for held in self._emitted):
            self._emitted.append(group)


def _union(parts: Sequence[Cells]) -> list[Key]:
    if len(parts) == 1:
        return list(parts[0])
    union: dict[Key, None] = {}
    for part in parts:
        union.update(dict.fromkeys(part))
    return list(union)
