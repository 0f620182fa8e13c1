"""Rules about single values that a type cannot say. Pure functions, exact and total."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from streamd.api import Size

DEFAULT_MAX_DATA = Size("100KiB")

ZonedDatetime = Annotated[datetime, Meta(tz=True)]

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_VERSION = re.compile(r"[0-9]+\.[0-9]+(\.[0-9]+)?")
_encode = msgspec.json.Encoder().encode


class Check(NamedTuple):
    """`test` tells whether a value passes; `reason` is a label, `message` is for people."""

    test: Callable[[Any], bool]
    reason: str
    message: str


def is_timestamp(text: str) -> bool:
    """RFC 3339 with a zone, a date that exists in the years 1 to 9999, no leap second."""
    if _RFC3339.fullmatch(text) is None:
        return False
    try:
        msgspec.convert(text, ZonedDatetime)
    except msgspec.ValidationError:
        return False
    return True


def is_ipv4(text: str) -> bool:
    """Four decimal numbers up to 255 without leading zeros."""
    try:
        socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):  # ValueError: a NUL, or what is no UTF-8
        return False
    return True


def is_ip(text: str) -> bool:
    """An IPv4 or IPv6 address, without a zone id."""
    if is_ipv4(text):
        return True
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return False
    return True


def is_alphanumeric(text: str) -> bool:
    """At least one character, and all are ASCII letters or digits."""
    return text.isascii() and text.isalnum()


def is_version(text: str) -> bool:
    """Two or three decimal numbers with dots between."""
    return _VERSION.fullmatch(text) is not None


def fits(value: Any, max_bytes: int) -> bool:
    """Whether the value as compact JSON in UTF-8 has at most so many bytes."""
    try:
        return len(_encode(value)) <= max_bytes
    except (TypeError, ValueError, OverflowError, RecursionError):  # it is no JSON at all
        return False


def event_checks(*, ipv6: bool, max_data: int) -> Mapping[str, Check]:
    """The checks that the event's types name. `max_data` is in bytes."""
    address = "an IPv4 or IPv6 address" if ipv6 else "an IPv4 address"
    return {
        "timestamp": Check(
            is_timestamp, "invalid_format", "expected an RFC 3339 timestamp with a zone"
        ),
        "ip_address": Check(is_ip if ipv6 else is_ipv4, "invalid_format", f"expected {address}"),
        "tag": Check(is_alphanumeric, "invalid_format", "expected only ASCII letters and digits"),
        "version": Check(is_version, "invalid_format", 'expected a version like "1.0" or "1.2.3"'),
        "data": Check(
            lambda data: fits(data, max_data),
            "out_of_range",
            f"expected at most {max_data:d} bytes of JSON",
        ),
    }
