"""What every aggregation is: a commutative monoid over cells, one cell per key.

The same events give the same result in whatever order they come and however they are split into
parts that are merged later; restoring from a checkpoint and merging partitions rest on this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from streamd_windows.keys import Key
from streamd_windows.packing import pack_block, unpack_block

# Where an event stands: (event time, partition, offset). Decides first and last.
Order = tuple[int, str, int]
Cells = dict[Key, Any]

# What msgpack holds as a list.
_LISTED = (tuple, set, frozenset)


class Aggregate:
    """One column of a window: cells by key. The methods work on cells, `self` has settings only.

    A cell is never None. `ordered` says that `update` needs to know where the events stand, `plain`
    that `encode` and `decode` return what they are given.
    """

    ordered = False
    plain = False

    def cells(self) -> Cells:
        """No cells yet."""
        return {}

    def update(
        self, cells: Cells, keys: Sequence[Key], values: Sequence[Any], order: Sequence[Order]
    ) -> int:
        """Add one value per key, in place. Returns how many values were missing or of no use.

        `order` is empty unless `ordered`. A missing value is None.
        """
        raise NotImplementedError

    def merge(self, mine: Any, other: Any) -> Any:
        """The cell of both. May reuse and change `mine`, never `other`."""
        raise NotImplementedError

    def copy(self, cell: Any) -> Any:
        """A cell that may be changed without changing this one."""
        return cell

    def result(self, cell: Any) -> Any:
        """What the row shows; `cell` is None where no value came."""
        return cell

    def encode(self, cell: Any) -> Any:
        """The cell as what msgpack can hold, exactly."""
        return cell

    def decode(self, data: Any, partition: str) -> Any:  # noqa: ARG002
        """The inverse of `encode`; `partition` is where the cell's events come from."""
        return data

    def encode_all(self, cells: Cells, keys: Iterable[Key]) -> list[Any]:
        """The encoded cells of these keys, None where there is none."""
        if self.plain:
            return list(map(cells.get, keys))
        encode, get = self.encode, cells.get
        return [None if (cell := get(key)) is None else encode(cell) for key in keys]

    def absorb_encoded(
        self, into: Cells, keys: Sequence[Key], data: Sequence[Any], partition: str
    ) -> None:
        """Merge what `encode_all` gave for these keys into `into`."""
        cells, decode = self.cells(), self.decode
        for key, cell in zip(keys, data, strict=True):
            if cell is not None:
                cells[key] = decode(cell, partition)
        self.absorb(into, cells)

    def results(self, cells: Cells, keys: Iterable[Key]) -> list[Any]:
        """The results for these keys."""
        result, get = self.result, cells.get
        return [result(get(key)) for key in keys]

    def absorb(self, into: Cells, other: Cells) -> None:
        """Merge all of `other` into `into`, which takes its cells over."""
        merge, get = self.merge, into.get
        for key, cell in other.items():
            mine = get(key)
            into[key] = cell if mine is None else merge(mine, cell)

    def combine(self, parts: Sequence[Cells]) -> Cells:
        """The cells of all parts, to be read only; changes none of them."""
        if len(parts) == 1:
            return parts[0]
        into = self.cells()
        merge, copy, get = self.merge, self.copy, into.get
        for part in parts:
            for key, cell in part.items():
                mine = get(key)
                into[key] = copy(cell) if mine is None else merge(mine, cell)
        return into

    def pick(self, parts: Sequence[Cells], keys: Sequence[Key]) -> Cells:
        """`combine` for some keys."""
        if len(parts) == 1:
            return parts[0]
        picked = [{key: part[key] for key in keys if key in part} for part in parts]
        return self.combine(picked)


class Custom(Aggregate):
    """An aggregation of a user: a class with create, add, merge and result, called per event.

    `encode` and `decode` are optional; without them a cell must be plain data (numbers, texts,
    lists, dicts) or a tuple or set of it. `add` returns the cell that it is given, changed, or
    another one. Raises ValueError if a new cell does not come back from the store as it was.
    """

    def __init__(self, implementation: Any) -> None:
        self.implementation = implementation
        cell = implementation.create()
        listed = type(cell) in _LISTED and not hasattr(implementation, "encode")
        plain: Callable[[Any], Any] = type(cell) if listed else lambda data: data
        self._encode: Callable[[Any], Any] = getattr(implementation, "encode", lambda cell: cell)
        self._decode: Callable[[Any], Any] = getattr(implementation, "decode", plain)
        if type(self.copy(cell)) is not type(cell):
            raise ValueError(
                f"a cell ({type(cell).__qualname__}) is no plain data and needs encode and decode"
            )

    def update(
        self,
        cells: Cells,
        keys: Sequence[Key],
        values: Sequence[Any],
        order: Sequence[Order],  # noqa: ARG002
    ) -> int:
        create, add, skipped = self.implementation.create, self.implementation.add, 0
        for key, value in zip(keys, values, strict=True):
            if value is None:
                skipped += 1
                continue
            cell = cells.get(key)
            try:
                cells[key] = add(create() if cell is None else cell, value)
            except Exception:  # a value that it was not made for: counted, like any other
                skipped += 1
        return skipped

    def merge(self, mine: Any, other: Any) -> Any:
        return self.implementation.merge(mine, other)

    def copy(self, cell: Any) -> Any:
        # By way of bytes: where nothing needs encoding, the cell itself would come back.
        return self._decode(unpack_block(pack_block(self._encode(cell))))

    def result(self, cell: Any) -> Any:
        return self.implementation.result(self.implementation.create() if cell is None else cell)

    def encode(self, cell: Any) -> Any:
        return self._encode(cell)

    def decode(self, data: Any, partition: str) -> Any:  # noqa: ARG002
        return self._decode(data)
