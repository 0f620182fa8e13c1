"""State from one version of a step to the next: what goes over, and what is forgotten."""

from __future__ import annotations

import structlog

from streamd.api import Misconfigured, StreamdError
from streamd.engine.build import Parts
from streamd.engine.store import StateRow
from streamd.engine.wiring import Wiring
from streamd.settings.model import PipelineSpec
from streamd.settings.restart import lost_state


async def check_state(parts: Parts, spec: PipelineSpec) -> None:
    """Before a start: is the state that is stored that of these steps?

    Raises Misconfigured where a step could not go on with it.
    """
    store, log = parts.around.store, structlog.get_logger().bind(pipeline=spec.name)
    for gone in await store.steps(spec.name) - {step.id for step in spec.steps}:
        # Positions go on without it: if the step comes back, this is not its state any more.
        log.warning("The state of a step that is no more is dropped", stage=gone)
        await store.drop_state(spec.name, gone, "")
    for step in spec.steps:
        key = parts.wiring.state_keys.get(step.id, "")
        held = await store.state_keys(spec.name, step.id)
        if message := lost_state(step, key, held):
            raise Misconfigured(message)
        if held - {key}:
            log.warning("State is started anew, as asked", stage=step.id)
            await store.drop_state(spec.name, step.id, key)


async def hand_over(parts: Parts, wiring: Wiring, pipeline: str) -> None:
    """Give the steps of the next version their state. Between two batches, after a cut, and
    while nothing is being stored. Changes nothing that the old version needs."""
    for name, step in wiring.stateful.items():
        if parts.wiring.stateful.get(name) is step:
            continue
        rows: list[StateRow] = []
        if name in _reborn(parts.wiring, wiring):
            # Whatever is stored under its key is of another time.
            kept = parts.wiring.state_keys.get(name, "")
            await parts.around.store.drop_state(pipeline, name, kept)
        else:
            rows = await _state_of(parts, pipeline, name, wiring.state_keys[name])
        owners = parts.intake.owners.items()
        step.assign([p for p, source in owners if source in wiring.feeds[name]], rows)


async def forget(parts: Parts, old: Wiring, new: Wiring, pipeline: str) -> None:
    """What the old version knew and the new does not: from epochs in flight, and from the store.

    Call it when the new version has taken over, while nothing is being stored.
    """
    reborn = _reborn(old, new)
    stay = {(name, key) for name, key in new.state_keys.items() if name not in reborn}
    parts.ledger.keep_changes(stay)
    for name in reborn | (old.stateful.keys() - new.stateful.keys()):
        try:
            await parts.around.store.drop_state(pipeline, name, "")
        except StreamdError as error:  # the next start finds it and asks
            structlog.get_logger().warning(
                "State that is not needed any more is still stored", stage=name, error=str(error)
            )


def _reborn(old: Wiring, new: Wiring) -> set[str]:
    """Steps without a past: new ones, and those whose state does not mean the same any more."""
    return {name for name, key in new.state_keys.items() if old.state_keys.get(name) != key}


async def _state_of(parts: Parts, pipeline: str, step: str, key: str) -> list[StateRow]:
    """A step's state as of the cut: what is durable, and over it what is still in flight."""
    owned = set(parts.intake.owners)
    stored = await parts.around.store.state(pipeline, step, key, owned)
    rows: dict[tuple[str, bytes], bytes | None] = {
        (partition, name): value for partition, name, value in stored
    }
    for of, under, partition, name, value in parts.ledger.changes():
        if (of, under) == (step, key) and partition in owned:
            rows[partition, name] = value
    return [(*place, value) for place, value in rows.items() if value is not None]
