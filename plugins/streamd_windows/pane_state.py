"""What one partition holds of tumbling and sliding windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from streamd.api import Misconfigured
from streamd_windows.aggregates import Count, Table
from streamd_windows.cells import Group
from streamd_windows.shards import OTHER_LAYOUT, PieceName, Shard
from streamd_windows.slices import SubKey

# "p": the aggregates of a pane, by its start. "e": what has been emitted of a window, by its end:
# how many rows of a key, and how many events they had seen.
Kind = Literal["p", "e"]
Name = tuple[Kind, int]

_EMITTED = Table([Count(), Count()], [None, None])


class PaneBody:
    """Groups of cells by name; a group that is dropped leaves nothing."""

    __slots__ = ("_gone", "_partition", "_tables", "_touched", "groups")

    def __init__(self, table: Table, partition: str) -> None:
        self.groups: dict[Name, Group] = {}
        self._tables = {"p": table, "e": _EMITTED}
        self._partition = partition
        self._touched: set[Name] = set()
        self._gone: list[SubKey] = []

    def touch(self, kind: Kind, at: int) -> Group:
        """A group to add to, made if need be."""
        name: Name = (kind, at)
        self._touched.add(name)
        group = self.groups.get(name)
        if group is None:
            group = self.groups[name] = Group(self._tables[kind], self._partition)
        return group

    def drop(self, name: Name) -> list[Shard]:
        """Forget a group. Returns its shards, which may take long to free."""
        group = self.groups.pop(name)
        self._touched.discard(name)
        self._gone += [(*name, *piece) for piece, _ in group.drop()]
        return group.shards

    def changes(self) -> Iterator[tuple[SubKey, bytes | None]]:
        for sub in self._gone:
            yield sub, None
        for kind, at in sorted(self._touched):
            for piece, data in self.groups[kind, at].take():
                yield (kind, at, *piece), data
        self._gone = []
        self._touched.clear()

    def restore(self, rows: list[tuple[SubKey, bytes]]) -> None:
        pieces: dict[Name, list[tuple[PieceName, bytes]]] = {}
        for (kind, at, *piece), data in rows:
            if len(piece) != 2:
                raise Misconfigured(OTHER_LAYOUT)
            pieces.setdefault((kind, at), []).append(((piece[0], piece[1]), data))
        for name in sorted(pieces):
            group = self.groups[name] = Group(self._tables[name[0]], self._partition)
            group.restore(pieces[name])
