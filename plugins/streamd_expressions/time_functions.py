"""Times: RFC 3339 text and milliseconds since the epoch, UTC, both ways."""

from __future__ import annotations

import datetime
import re
from typing import Any, Final

from .errors import EvaluationError
from .values import type_name

_UTC: Final = datetime.UTC
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=_UTC)
_MS: Final = datetime.timedelta(milliseconds=1)
_FIRST_MS: Final = (datetime.datetime(1, 1, 1, tzinfo=_UTC) - _EPOCH) // _MS
_LAST_MS: Final = (datetime.datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=_UTC) - _EPOCH) // _MS
_RFC3339: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,18}))?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def timestamp(value: Any) -> int:
    """Milliseconds since the epoch of an RFC 3339 string, rounded down.

    Args:
        value: text such as "2024-01-31T12:00:00.5Z" or with "+01:00"; an offset is required, as
            guessing a time zone is worse than a reject. A datetime with a time zone also works.

    Raises:
        EvaluationError: anything else.
    """
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            raise EvaluationError("timestamp() of a time without a time zone")
        return (value - _EPOCH) // _MS
    if not isinstance(value, str):
        raise EvaluationError(f"timestamp() needs a string, got {type_name(value)}")
    match = _RFC3339.fullmatch(value)
    if match is None:
        raise EvaluationError("timestamp() needs an RFC 3339 time such as 2024-01-31T12:00:00Z")
    date, clock, fraction, zone = match.groups()
    # Cut to microseconds here: what Python does with longer fractions has changed.
    text = f"{date}T{clock}.{(fraction or '')[:6]:0<6}{'+00:00' if zone in 'Zz' else zone}"
    try:
        return (datetime.datetime.fromisoformat(text) - _EPOCH) // _MS
    except (ValueError, OverflowError):
        raise EvaluationError("timestamp() of a time that does not exist") from None


def format_time(value: Any) -> str:
    """RFC 3339 text in UTC with milliseconds.

    Args:
        value: ms since the epoch, an int in the years 1 to 9999.

    Raises:
        EvaluationError: anything else.
    """
    if type(value) is not int:
        raise EvaluationError(f"format_time() needs ms as an int, got {type_name(value)}")
    if not _FIRST_MS <= value <= _LAST_MS:
        raise EvaluationError("format_time() of a time outside the years 1 to 9999")
    time = _EPOCH + datetime.timedelta(milliseconds=value)
    return time.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
