"""State by source partition: what comes and goes with a partition, and how it is named.

A step downstream of another window reads partitions such as `per_minute:events:3`. Their state
belongs to `events:3`, the partition that the engine assigns, and is stored under its name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

from streamd_windows.packing import pack, pack_key, unpack, unpack_key

Changes = list[tuple[str, bytes, bytes | None]]
SubKey = tuple[Any, ...]

NEVER = -(1 << 62)
_META = "m"


class Body(Protocol):
    """What a kind of window keeps of one partition. A `SubKey` starts with a letter but not m."""

    def changes(self) -> Iterable[tuple[SubKey, bytes | None]]:
        """What has changed since the last call; None where it is gone. Removals come first."""
        ...

    def restore(self, rows: list[tuple[SubKey, bytes]]) -> None:
        """Become what these rows hold; called once, on a new body."""
        ...


class Slice:
    """One partition as a window sees it.

    - `high`: the latest event time seen (ms), `NEVER` before the first event.
    - `floor`: the watermark up to which windows were closed while this partition was here: what
      it brings below that is late, even if its own time is behind.
    - `over`: what was up to here has been forgotten, whatever lateness is allowed from now on.
    - `fired`: the window end up to which every window has been emitted whole, and `done`: how
      many rows of the next one have been emitted.
    - `sequence`: the offset of the next result.
    - `steady`: a replay gives each result the offset that it had.
    - `heard`, `idle`, `queued`: see `Watermarks`.
    """

    __slots__ = (
        "body",
        "changed",
        "done",
        "fired",
        "floor",
        "heard",
        "high",
        "idle",
        "name",
        "over",
        "prefix",
        "queued",
        "root",
        "sequence",
        "steady",
    )

    def __init__(self, name: str, root: str, body: Any) -> None:
        self.name = name
        self.root = root
        self.prefix = name[: len(name) - len(root)]
        self.body = body
        self.high = NEVER
        self.floor = NEVER
        self.over = NEVER
        self.fired = NEVER
        self.done = 0
        self.sequence = 0
        self.steady = True
        self.changed = False
        self.heard = 0.0
        self.idle = False
        self.queued = False

    @property
    def derived(self) -> bool:
        """Whether it is the partition of another window's results."""
        return bool(self.prefix)

    def key(self, parts: SubKey) -> bytes:
        return pack_key((self.prefix, *parts))

    def changes(self) -> Changes:
        out: Changes = [(self.root, self.key(sub), data) for sub, data in self.body.changes()]
        if self.changed or out:
            meta = self.high, self.floor, self.fired, self.done, self.sequence
            out.append((self.root, self.key((_META,)), pack((*meta, self.over, self.steady))))
            self.changed = False
        return out

    def restore(self, rows: list[tuple[SubKey, bytes]]) -> None:
        own = [data for sub, data in rows if sub[0] == _META]
        if own:
            self.high, self.floor, self.fired, self.done, self.sequence, *rest = unpack(own[0])
            self.over, self.steady = rest or (NEVER, True)  # state of old has five parts
        self.body.restore([row for row in rows if row[0][0] != _META])


class Slices(dict[str, Slice]):
    """The partitions that are ours, by name."""

    def __init__(self, new_body: Callable[[str], Any]) -> None:
        super().__init__()
        self._new_body = new_body
        self._assigned: set[str] = set()

    def assign(
        self, partitions: Collection[str], rows: Iterable[tuple[str, bytes, bytes]]
    ) -> list[Slice]:
        """Take partitions over with their state; returns them, derived ones included.

        All or, if state cannot be read, none: whoever tries again must not find them empty.
        """
        found: dict[str, list[tuple[SubKey, bytes]]] = {name: [] for name in partitions}
        roots = {name: name for name in partitions}
        for root, key, data in rows:
            prefix, *sub = unpack_key(key)
            roots[prefix + root] = root
            found.setdefault(prefix + root, []).append((tuple(sub), data))
        taken = []
        for name, state in found.items():
            if name in self:
                continue
            slice_ = Slice(name, roots[name], self._new_body(name))
            slice_.restore(state)
            taken.append(slice_)
        self._assigned.update(partitions)
        self.update((slice_.name, slice_) for slice_ in taken)
        return taken

    def revoke(self, partitions: Collection[str]) -> list[Slice]:
        """Forget partitions and what derives from them; returns what is gone."""
        self._assigned.difference_update(partitions)
        gone = [s for s in self.values() if s.root in partitions or s.name in partitions]
        for slice_ in gone:
            del self[slice_.name]
        return gone

    def of(self, name: str) -> tuple[Slice, bool]:
        """The slice of a batch's partition, and whether it is new (a derived partition)."""
        held = self.get(name)
        if held is not None:
            return held, False
        root = max((r for r in self._assigned if name.endswith(f":{r}")), key=len, default=name)
        slice_ = self[name] = Slice(name, root, self._new_body(name))
        return slice_, True

    def waver(self) -> None:
        """A replay of what has come may give other results: tell the next life."""
        for slice_ in self.values():
            if slice_.steady:
                slice_.steady, slice_.changed = False, True

    def changes(self) -> Changes:
        """What has changed in all of them."""
        return [change for slice_ in self.values() for change in slice_.changes()]
