"""What the client is told of what became of its events."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streamd.api import Outcome, Reject, Settlement, Violation
from streamd_http.answers import Status, answer

VIOLATIONS = (Violation("$.a", "wrong"), Violation("$.b", "missing"))
LISTED = [{"path": "$.a", "message": "wrong"}, {"path": "$.b", "message": "missing"}]


def told(
    outcome: Outcome, reject: Reject | None = None, dlq_id: str | None = None, role: str = "sink"
) -> Settlement:
    return Settlement("p:0", 0, outcome, reject, dlq_id, role)


INVALID = Reject("invalid", "two things", VIOLATIONS)
REFUSED = Reject("too_large", "the sink will not have it")
SINGLE: list[tuple[Settlement | None, int, dict[str, Any]]] = [
    (None, 200, {"status": "stored", "id": "a"}),
    (told("rejected", INVALID), 422, {"status": "rejected", "id": "a", "errors": LISTED}),
    (
        told("rejected", Reject("malformed_json", "no JSON")),
        422,
        {"status": "rejected", "id": "a", "errors": [{"path": "$", "message": "no JSON"}]},
    ),
    (
        told("dead_lettered", None, "d1"),
        202,
        {"status": "dead_lettered", "id": "a", "dlq_id": "d1"},
    ),
    (
        told("dead_lettered", REFUSED, "d1"),
        202,
        {
            "status": "dead_lettered",
            "id": "a",
            "errors": [{"path": "$", "message": "the sink will not have it"}],
            "dlq_id": "d1",
        },
    ),
    (
        told("dead_lettered", INVALID, "d1", "validate"),
        422,
        {"status": "rejected", "id": "a", "errors": LISTED, "dlq_id": "d1"},
    ),
    (
        told("dead_lettered", Reject("malformed_json", "no JSON"), "d1", "source"),
        422,
        {
            "status": "rejected",
            "id": "a",
            "errors": [{"path": "$", "message": "no JSON"}],
            "dlq_id": "d1",
        },
    ),
    (told("dropped"), 503, {"status": "dropped", "id": "a"}),
    (told("dropped", INVALID), 422, {"status": "rejected", "id": "a", "errors": LISTED}),
]


@pytest.mark.parametrize(("settlement", "code", "body"), SINGLE)
def test_one_event(settlement: Settlement | None, code: int, body: dict[str, Any]) -> None:
    exceptions = {} if settlement is None else {0: settlement}
    status, raw = answer(["a"], exceptions, single=True, usual="stored")
    assert (status, msgspec.json.decode(raw)) == (code, body)


@pytest.mark.parametrize(
    ("outcomes", "code", "worst"),
    [
        ([None, None], 200, "stored"),
        ([None, told("dead_lettered", None, "d")], 202, "dead_lettered"),
        ([told("rejected", INVALID), told("dead_lettered", None, "d"), None], 422, "rejected"),
        ([told("dropped"), told("rejected", INVALID), None], 503, "dropped"),
    ],
)
def test_a_batch_has_the_status_of_its_worst_event(
    outcomes: list[Settlement | None], code: int, worst: Status
) -> None:
    exceptions = {at: one for at, one in enumerate(outcomes) if one}
    names: list[str | None] = [f"e{at}" for at in range(len(outcomes))]
    status, raw = answer(names, exceptions, single=False, usual="stored")
    body = msgspec.json.decode(raw)
    assert (status, body["status"]) == (code, worst)
    assert [event["id"] for event in body["events"]] == names
    assert [event["status"] == "stored" for event in body["events"]] == [
        one is None for one in outcomes
    ]


def test_accepted() -> None:
    status, raw = answer(["a", None], {}, single=False, usual="accepted")
    assert status == 202
    assert msgspec.json.decode(raw)["events"] == [
        {"status": "accepted", "id": "a"},
        {"status": "accepted"},
    ]


def test_half_a_surrogate_pair_can_be_answered() -> None:
    _, raw = answer(["a\ud800b"], {}, single=True, usual="stored")
    assert msgspec.json.decode(raw)["id"] == "a?b"
