"""Make events of the items of a list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from msgspec import Meta

from streamd.api import Batch, Reject, Rejects, StageConfig, StageContext, doc
from streamd_expressions import MISSING
from streamd_expressions.values import LISTS, type_name
from streamd_transforms.base import Transform, Unfit, getter
from streamd_transforms.items import Items

Choice = Literal["drop", "keep", "reject"]


class Explode(Transform):
    """Make one event of each item of a list."""

    class Config(StageConfig, frozen=True, kw_only=True):
        path: Annotated[str, doc("Field that holds the list.", example="payload.items")]
        into: Annotated[
            str | None,
            doc(
                "Where an item stands in its event: a field, or $ when the item itself is the"
                " event. By default in the place of the list."
            ),
        ] = None
        keep_parent: Annotated[
            tuple[str, ...] | None,
            doc(
                "Fields of the event that each item's event gets too. By default all of them,"
                " or none when the item itself is the event."
            ),
        ] = None
        index_field: Annotated[
            str | None, doc("Field for the item's place in the list, from 0.")
        ] = None
        id_field: Annotated[
            str,
            doc(
                "Field of the event's id: an item's event gets <id>-<index> there, but for an item"
                " that is the event itself and has an id. Empty: ids are left as they are."
            ),
        ] = "id"
        missing: Annotated[
            Choice, doc("What happens to an event whose list is missing or null.")
        ] = "reject"
        empty: Annotated[Choice, doc("What happens to an event whose list is empty.")] = "drop"
        max_items: Annotated[
            Annotated[int, Meta(ge=1)], doc("Longest list; an event with a longer is rejected.")
        ] = 10_000

    def __init__(self, config: Config, context: StageContext) -> None:
        self._config = config
        self._list = getter(config.path, "path")
        self._items = Items(
            config.path,
            config.path if config.into is None else config.into,
            config.keep_parent,
            config.index_field,
            config.id_field,
        )
        self._filtered = context.metrics.counter(
            "filtered_events_total", "Events that a filter has taken out of its stream."
        )

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        rows: list[int] = []
        values: list[Any] = []
        kept: set[int] = set()
        rejects: dict[int, Reject] = {}
        dropped = 0
        for row, event in enumerate(batch.values):
            try:
                made = self._explode(event)
            except Unfit as error:
                rejects[row] = error.reject()
                continue
            if made is None:
                kept.add(row)
                made = [event]
            elif not made:
                dropped += 1
            rows += [row] * len(made)
            values += made
        if dropped:
            self._filtered.inc(dropped)
        if len(kept) == len(batch):
            return [batch]
        results: list[Batch | Rejects] = [Rejects(rejects)] if rejects else []
        if rows:
            results.append(_derived(batch, rows, values, kept))
        return results

    def _explode(self, event: Any) -> list[Any] | None:
        """The events that come of one; None if it stays as it is.

        Raises Unfit if it is to be rejected.
        """
        items, path = self._list(event), self._config.path
        if items is None or items is MISSING:
            return _without_items(self._config.missing, f"{path} is missing or null")
        if not isinstance(items, LISTS):
            raise Unfit("not_a_list", f"expected a list at {path}, got {type_name(items)}")
        if not items:
            return _without_items(self._config.empty, f"{path} is empty")
        most = self._config.max_items
        if len(items) > most:
            raise Unfit("too_many_items", f"{path} has {len(items)} items, more than {most}")
        return self._items.events(event, items)


def _without_items(choice: Choice, message: str) -> list[Any] | None:
    if choice == "reject":
        raise Unfit("no_items", message)
    return [] if choice == "drop" else None


def _derived(batch: Batch, rows: list[int], values: list[Any], kept: set[int]) -> Batch:
    """What arrived is not what these events are, so only those that were kept have raws."""
    result = batch.take(rows, values)
    if not kept:
        result.raws = None
    elif batch.raws is not None:
        result.raws = [batch.raws[row] if row in kept else None for row in rows]
    return result
