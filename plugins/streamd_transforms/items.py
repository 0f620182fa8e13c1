"""The events that come of one event's list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from streamd_expressions import MISSING
from streamd_expressions.values import type_name
from streamd_transforms.base import Names, Unfit, field, getter
from streamd_transforms.trees import below, copied, put, take_out, tree_of

EVENT: Final = "$"


class Items:
    """Makes an event of each item: of a copy of the parent, or of the item itself.

    Args:
        path: field of the list.
        into: field for the item, or `EVENT` for the item as the event.
        keep_parent: fields taken over from the parent; None takes everything but the list, or
            nothing where the item is the event.
        index_field: field for the item's place, or None.
        id_field: field of the event's id, or "" to leave ids alone.

    Raises ConfigError if one of them is no field.
    """

    def __init__(
        self,
        path: str,
        into: str,
        keep_parent: Sequence[str] | None,
        index_field: str | None,
        id_field: str,
    ) -> None:
        self.path = path
        self._list = field(path, "path")
        self._into = None if into == EVENT else field(into, "into")
        self._whole = keep_parent is None and self._into is not None
        kept = _fields(keep_parent or ())
        self._index = field(index_field, "index_field") if index_field else None
        self._id = field(id_field, "id_field") if id_field else None
        self._read_id = getter(id_field or EVENT, "id_field")
        # The item's own id, if it has one, is under what the parent gives.
        self._parents_id = any(self._id and self._id[: len(path)] == path for path, _ in kept)
        written = [path for path in (self._into, self._index, self._id) if path is not None]
        self._tree = tree_of([*(path for path, _ in kept), *written])
        self._kept = [(path, read, below(self._tree, path)) for path, read in kept]
        self._way = tree_of([self._list])

    def events(self, event: Any, items: Sequence[Any]) -> list[Any]:
        """One event per item. The given event is not changed.

        Raises Unfit if the event or an item does not have the shape for it.
        """
        parent_id = self._id_of(event)
        if self._into is None:
            return [
                self._of_item(event, item, index, parent_id) for index, item in enumerate(items)
            ]
        base = copied(event, self._way) if self._whole else {}
        take_out(base, self._list)
        self._take_over(event, base)
        part = below(self._tree, self._into)
        made = []
        for index, item in enumerate(items):
            new = copied(base, self._tree)
            put(new, self._into, item if part is None else copied(item, part))
            self._mark(new, index, parent_id)
            made.append(new)
        return made

    def _of_item(self, event: Any, item: Any, index: int, parent_id: str | None) -> Any:
        new = copied(item, self._tree)
        if not isinstance(new, dict):
            where, kind = f"{self.path}[{index}]", type_name(item)
            raise Unfit("not_an_object", f"expected an object at {where}, got {kind}")
        self._take_over(event, new)
        has_own = not self._parents_id and self._read_id(item) not in (None, MISSING)
        self._mark(new, index, None if has_own else parent_id)
        return new

    def _take_over(self, event: Any, new: Any) -> None:
        for path, read, part in self._kept:
            value = read(event)
            if value is not MISSING:
                put(new, path, value if part is None else copied(value, part))

    def _mark(self, new: Any, index: int, parent_id: str | None) -> None:
        if self._index is not None:
            put(new, self._index, index)
        if self._id is not None and parent_id is not None:
            put(new, self._id, f"{parent_id}-{index}")

    def _id_of(self, event: Any) -> str | None:
        found = self._read_id(event)
        usable = isinstance(found, str | int) and not isinstance(found, bool) and found != ""
        return str(found) if usable else None


def _fields(texts: Sequence[str]) -> list[tuple[Names, Callable[[Any], Any]]]:
    settings = [(text, f"keep_parent[{at}]") for at, text in enumerate(texts)]
    return [(field(text, setting), getter(text, setting)) for text, setting in settings]
