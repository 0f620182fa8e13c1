"""The checks over a whole batch of events, column by column.

Each function gives the rows whose value fails; on a batch without one it is a few calls into C.
Every verdict is that of the single check in `checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from streamd_events.checks import Check, ZonedDatetime, fits, is_timestamp
from streamd_events.model import Event

_TIMESTAMPS = list[ZonedDatetime]
_ABSENT = (None, msgspec.UNSET)


def suspects(events: Sequence[Event], checks: Mapping[str, Check], max_data: int) -> set[int]:
    """Rows that fail at least one check."""
    payloads = [event.payload for event in events]
    return {
        *_bad_timestamps([event.timestamp for event in events]),
        *_bad_texts([payload.ip_address for payload in payloads], checks["ip_address"].test),
        *_bad_texts([payload.version for payload in payloads], checks["version"].test),
        *_bad_tags([payload.tags for payload in payloads], checks["tag"].test),
        *_bad_data([payload.data for payload in payloads], max_data),
    }


def _bad_timestamps(texts: list[str]) -> list[int]:
    try:
        msgspec.convert(texts, _TIMESTAMPS)
    except ValueError:
        return [row for row, text in enumerate(texts) if not is_timestamp(text)]
    # msgspec also takes a blank for the T and an offset without a colon. All texts are dates now,
    # so that one with a T and a Z is as RFC 3339 has it.
    return [
        row
        for row, text in enumerate(texts)
        if (text[10] != "T" or text[-1] != "Z") and not is_timestamp(text)
    ]


def _bad_texts(texts: list[Any], test: Callable[[str], bool]) -> list[int]:
    """Each distinct text is tested once."""
    distinct = set(texts).difference(_ABSENT)
    bad = {text for text in distinct if not test(text)}
    return [row for row, text in enumerate(texts) if text in bad] if bad else []


def _bad_tags(columns: list[Any], test: Callable[[str], bool]) -> list[int]:
    given = [tags for tags in columns if tags]
    bad = {tag for tag in set(chain.from_iterable(given)) if not test(tag)}
    if not bad:
        return []
    return [row for row, tags in enumerate(columns) if tags and not bad.isdisjoint(tags)]


def _bad_data(columns: list[Any], max_data: int) -> list[int]:
    given = [data for data in columns if data]
    if fits(given, max_data):
        return []
    return [row for row, data in enumerate(columns) if data and not fits(data, max_data)]
