"""Which letters are meant. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from streamd.api import Duration, StoredLetter


class Selection(Struct, frozen=True):
    """Filters that must all agree; an empty one agrees with everything.

    `since` (inclusive) and `until` are of the time at which a letter failed. `parked` is True for
    those that are parked, False for the others, None for both.
    """

    since: datetime | None = None
    until: datetime | None = None
    reasons: frozenset[str] = frozenset()
    error_types: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    parked: bool | None = None

    @property
    def empty(self) -> bool:
        """Whether every letter is meant."""
        return self == Selection()

    def meets(self, letter: StoredLetter) -> bool:
        """Whether a letter is meant."""
        document = letter.document
        return (
            _among(reason_of(letter), self.reasons)
            and _among(error_of(document).get("type"), self.error_types)
            and _among(document.get("stage"), self.stages)
            and _among(document.get("dlq_id"), self.ids)
            and self.parked in (None, bool(document.get("parked")))
            and self._in_time(failed_at(document))
        )

    def _in_time(self, failed: datetime | None) -> bool:
        if self.since is None and self.until is None:
            return True
        if failed is None:
            return False
        after = self.since is None or failed >= self.since
        return after and (self.until is None or failed < self.until)


def reason_of(letter: StoredLetter) -> str:
    """Why it failed; `unreadable` for what is no letter of ours."""
    return "unreadable" if letter.fault else str(letter.document.get("reason", ""))


def error_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The error's fields, empty where a document has none."""
    error = document.get("error")
    return error if isinstance(error, dict) else {}


def failed_at(document: Mapping[str, Any]) -> datetime | None:
    """When it failed; None where a document does not say so."""
    try:
        return parse_time(str(document.get("failed_at", "")), datetime.now(UTC))
    except ValueError:
        return None


def parse_time(text: str, now: datetime) -> datetime:
    """RFC 3339, a date, or how long ago.

    Raises ValueError.
    """
    try:
        return now - timedelta(seconds=Duration(text))
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f'expected a time such as 2025-11-19T10:30:00Z, a date, or "2h" for two hours ago,'
            f" got {text!r}"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _among(value: Any, wanted: Collection[str]) -> bool:
    return not wanted or value in wanted
