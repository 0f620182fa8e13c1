"""The keys of a stage's table that the engine reads itself, whatever the plugin."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from streamd.api import Duration, Size, doc
from streamd.settings import structs

STAGE_ROLES = ("source", "validate", "transform", "window", "sink")
STEP_ROLES = ("validate", "transform", "window")


class BatchKeys(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a sink gathers for one write; what is not given is the sink's own."""

    rows: Annotated[Annotated[int, Meta(ge=1)] | None, doc("Most events of one write.")] = None
    bytes: Annotated[Size | None, doc("Most bytes of one write, as the events arrived.")] = None
    time: Annotated[
        Duration | None, doc("How long the first event may wait for more; 0s writes at once.")
    ] = None


class StageKeys(Struct, frozen=True, kw_only=True):
    """Every key of the engine; `keys_of` says which a role has."""

    plugin: Annotated[str, doc("Name of the plugin.")]
    id: Annotated[
        str | None,
        doc(
            "Name of the stage, unique in its pipeline. A window and a sink need one, others have"
            " the plugin's by default, then that with -2, -3."
        ),
    ] = None
    inputs: Annotated[
        tuple[str, ...] | None, doc('Streams that the stage reads; by default ["main"].')
    ] = None
    output: Annotated[
        str | None,
        doc("Stream that the stage writes: by default main for a source, for a step its input."),
    ] = None
    codec: Annotated[
        str | dict[str, Any] | None,
        doc("How bytes become events and back: a name, or a table with plugin and its settings."),
    ] = None
    policy: Annotated[
        list[dict[str, Any]] | None,
        doc("Policies of this stage, in place of the pipeline's."),
    ] = None
    batch: Annotated[
        BatchKeys | None, doc("How much the sink gathers for one write: rows, bytes, time.")
    ] = None
    reset_state: Annotated[
        bool, doc("Start without the kept state, where changed settings make it useless.")
    ] = False


_KEYS_OF = {
    "source": ("plugin", "id", "output", "codec", "policy"),
    "validate": ("plugin", "id", "inputs", "output", "policy", "reset_state"),
    "transform": ("plugin", "id", "inputs", "output", "policy", "reset_state"),
    "window": ("plugin", "id", "inputs", "policy", "reset_state"),
    "sink": ("plugin", "id", "inputs", "codec", "policy", "batch"),
}


def keys_of(role: str) -> tuple[str, ...]:
    """The engine's keys in a table of this role; of a codec or policy only `plugin`."""
    return _KEYS_OF.get(role, ("plugin",))


def field_of(key: str) -> Any:
    """The msgspec field, with type and description, of an engine key."""
    return next(field for field in structs.fields(StageKeys) if field.name == key)
