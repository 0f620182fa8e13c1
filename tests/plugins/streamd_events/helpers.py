"""Validators run by themselves, and an account of what came of every row."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import HealthCheck, settings

from streamd.api import VALID, Batch, Reject, Rejects, Step
from streamd.testing import RecordedMetrics, batch_of, stage_context
from streamd_events.event_validator import EventValidator
from streamd_json.codec import JsonCodec

# A machine under load is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

EVENT: dict[str, Any] = {
    "id": "evt_123456",
    "timestamp": "2025-11-19T10:30:00Z",
    "payload": {
        "event_type": "user_action",
        "source": "web_app",
        "user_id": "user123",
        "session_id": "sess456",
        "ip_address": "192.168.1.1",
        "data": {"action": "click", "element": "submit_button", "page": "/checkout"},
        "tags": ["frontend", "conversion"],
        "version": "1.0",
    },
}


class Outcome(NamedTuple):
    """By row of the input: the value and status that passed, or why it was refused."""

    passed: dict[int, Any]
    statuses: dict[int, str]
    rejects: dict[int, Reject]


def event(**changes: Any) -> dict[str, Any]:
    """The event with other fields; a key such as `payload__user_id` reaches inside.

    A field set to `...` is left out.
    """
    made = copy.deepcopy(EVENT)
    for path, value in changes.items():
        parents, _, name = path.rpartition("__")
        target = made[parents] if parents else made
        if value is ...:
            del target[name]
        else:
            target[name] = value
    return made


def codec(**settings: Any) -> JsonCodec:
    return JsonCodec(JsonCodec.Config(**settings), stage_context("codec"))


def validator(*, metrics: RecordedMetrics | None = None, **settings: Any) -> EventValidator:
    context = stage_context("validate", metrics=metrics)
    return EventValidator(EventValidator.Config(**settings), context)


def outcome(step: Step, batch: Batch) -> Outcome:
    """What came of each row; every row must be accounted for exactly once."""
    found = Outcome({}, {}, {})
    for result in step.process(batch):  # type: ignore[union-attr]
        if isinstance(result, Rejects):
            found.rejects.update(result.rows)
            continue
        for row, offset in enumerate(result.offsets):
            at = list(batch.offsets).index(offset)
            assert at not in found.passed
            found.passed[at] = result.values[row]
            found.statuses[at] = VALID if result.statuses is None else result.statuses[row]
            if batch.raws is not None and result.raws is not None:
                assert result.raws[row] is batch.raws[at]
    assert sorted([*found.passed, *found.rejects]) == list(range(len(batch)))
    return found


def raw_batch(raws: Sequence[bytes | None]) -> Batch:
    """A batch that is not decoded yet."""
    return Batch.of_raws(
        raws, partition="events:0", offsets=range(len(raws)), timestamps=[0] * len(raws)
    )


def both(values: Sequence[Any], **settings: Any) -> tuple[Outcome, Outcome]:
    """The same events through the fused step and through the one that takes decoded events."""
    raws = [json.dumps(value).encode() for value in values]
    stage = validator(**settings)
    fused = stage.typed(codec())
    assert fused is not None
    return outcome(fused, raw_batch(raws)), outcome(stage, batch_of(values, raws=raws))
