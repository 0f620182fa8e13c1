"""How good an event is that is valid: complete, fresh, consistent. Pure functions.

from streamd_events import DataQualityCheck

DataQualityCheck.check_completeness(payload)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import UNSET

REQUIRED_FIELDS: Final = ("event_type", "source")
OPTIONAL_FIELDS: Final = ("user_id", "session_id", "ip_address", "data", "tags", "version")

_ADVISED: Final = {
    "user_action": ("User action", "user_id"),
    "api_call": ("API call", "ip_address"),
    "error": ("Error", "data"),
    "metric": ("Metric", "data"),
}

Rule = Callable[[Any], Iterable[str]]
"""A consistency rule: the issues of a payload, each a sentence; it must not change the payload."""


def field(payload: Any, name: str) -> Any:
    """A field of an event or payload, be it a dict or a Struct; None if it is absent."""
    if isinstance(payload, dict):
        return payload.get(name)
    value = getattr(payload, name, None)
    return None if value is UNSET else value


def present(payload: Any, name: str) -> bool:
    """Whether a field says something: it is there and neither null nor empty."""
    return bool(field(payload, name))


def advised_fields(payload: Any) -> Iterable[str]:
    """The built-in rule: what an event of a type should have beyond what it must have."""
    advised = _ADVISED.get(str(field(payload, "event_type")))
    if advised is not None and not present(payload, advised[1]):
        yield f"{advised[0]} events should include {advised[1]}"


BUILT_IN_RULES: Final[tuple[Rule, ...]] = (advised_fields,)


class DataQualityCheck:
    """Scores and issues of a payload, a dict or a `Payload`."""

    @staticmethod
    def check_completeness(payload: Any) -> float:
        """0.0 to 1.0: each required field counts 0.2, each optional one 0.1.

        Required are event_type and source; optional are user_id, session_id, ip_address, data,
        tags and version. A null or empty field counts as absent.
        """
        required = sum(present(payload, name) for name in REQUIRED_FIELDS)
        optional = sum(present(payload, name) for name in OPTIONAL_FIELDS)
        return (2 * required + optional) / 10

    @staticmethod
    def check_freshness(
        timestamp_str: str, max_age_seconds: float = 3600, *, now: datetime | None = None
    ) -> bool:
        """Whether an ISO 8601 timestamp is at most so many seconds away from now, or from `now`.

        A timestamp without a zone is taken as UTC. False for what is no timestamp.
        """
        try:
            moment = datetime.fromisoformat(timestamp_str)
        except (TypeError, ValueError):
            return False
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        age = (now or datetime.now(UTC)) - moment
        return abs(age.total_seconds()) <= max_age_seconds

    @staticmethod
    def check_consistency(payload: Any, rules: Sequence[Rule] = BUILT_IN_RULES) -> list[str]:
        """The issues of a payload, none if it is consistent."""
        return [issue for rule in rules for issue in rule(payload)]
