"""Change the fields of every event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated

from msgspec import Struct

from streamd.api import Batch, ConfigError, Rejects, StageConfig, StageContext, doc
from streamd_transforms.base import Transform, expression, field, within
from streamd_transforms.changes import Assign, Change, Convert, Keep, Kind, Remove, Rename, Work
from streamd_transforms.trees import copied, tree_of, wanted_of


class Changes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes in the order of these keys."""

    rename: Annotated[
        dict[str, str],
        doc(
            "Field and its new path, all at once; a missing field is left out.", example={"a": "b"}
        ),
    ] = {}
    convert: Annotated[
        dict[str, Kind],
        doc(
            "Field and its new type. A timestamp is read as RFC 3339 and becomes milliseconds"
            " since the epoch. A field that is null or missing stays so.",
            example={"payload.amount": "float"},
        ),
    ] = {}
    set: Annotated[
        dict[str, str],
        doc(
            "Field and the expression for its value, one after another: each sees the ones before.",
            example={"payload.total": "payload.price * payload.count"},
        ),
    ] = {}
    remove: Annotated[tuple[str, ...], doc("Fields to take away.", example=["payload.debug"])] = ()
    keep: Annotated[
        tuple[str, ...] | None,
        doc("The only fields to leave in the event.", example=["id", "payload.user_id"]),
    ] = None


class Map(Transform):
    """Set, rename, convert and remove fields of every event."""

    class Config(StageConfig, Changes, frozen=True, kw_only=True):
        then: Annotated[
            tuple[Changes, ...],
            doc("More changes, one table after another, for another order than that of the keys."),
        ] = ()

    def __init__(self, config: Config, context: StageContext) -> None:
        clock = context.clock.now_ms
        self._changes = list(_changes(config, "", clock))
        for number, changes in enumerate(config.then):
            self._changes += _changes(changes, f"then[{number}].", clock)
        if not self._changes:
            raise ConfigError("nothing to do: give set, rename, convert, remove or keep")
        self._tree = tree_of(path for change in self._changes for path in change.writes)

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        values, tree = batch.values, self._tree
        work = Work([copied(value, tree) for value in values], bytearray(len(values)))
        for change in self._changes:
            change.apply(work, tree)
        if not work.rejects and not any(work.changed):
            return [batch]
        # What no change has touched goes on as it came, with its Structs.
        after = [
            new if changed else old
            for new, old, changed in zip(work.events, values, work.changed, strict=True)
        ]
        if not work.rejects:
            return [batch.replace(after)]
        results: list[Batch | Rejects] = [Rejects(work.rejects)]
        rows = [row for row in range(len(values)) if row not in work.rejects]
        if rows:
            results.append(batch.take(rows, [after[row] for row in rows]))
        return results


def _changes(given: Changes, prefix: str, clock: Callable[[], int]) -> Iterator[Change]:
    """Raises ConfigError if a path or an expression is wrong."""

    def named(table: str, key: str) -> str:
        return prefix + within(table, key)

    def listed(key: str, paths: tuple[str, ...]) -> list[tuple[str, ...]]:
        return [field(path, f"{prefix}{key}[{at}]") for at, path in enumerate(paths)]

    if given.rename:
        yield Rename(
            [
                (field(old, named("rename", old)), field(new, named("rename", old)))
                for old, new in given.rename.items()
            ]
        )
    if given.convert:
        yield Convert(
            [(field(path, named("convert", path)), kind) for path, kind in given.convert.items()]
        )
    for path, text in given.set.items():
        setting = named("set", path)
        yield Assign(field(path, setting), expression(text, setting, clock))
    if given.remove:
        yield Remove(listed("remove", given.remove))
    if given.keep is not None:
        paths = listed("keep", given.keep)
        yield Keep(paths, wanted_of(paths))
