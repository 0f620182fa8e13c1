"""Decode a batch record by record, and say why a record could not be decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from streamd.api import Reject

MAX_DEPTH = 400
"""Levels of nesting. Code that walks a value with two Python frames a level still fits under the
interpreter's default recursion limit; msgspec itself would take 9,999 levels on Python 3.13."""

MAX_DIGITS = 4300
"""Digits of one number: the interpreter's own limit for integers, here for fractions too."""


def decode_each(
    decode: Callable[[Any], Any], raws: Sequence[bytes | None]
) -> tuple[list[Any], dict[int, Exception]]:
    """One value per record, None where `decode` failed, and the error of each that failed."""
    values: list[Any] = []
    errors: dict[int, Exception] = {}
    records = iter(raws)
    while True:
        try:
            # Where decode raises, extend keeps what it has appended so far: good records are
            # decoded once however many bad ones are among them.
            values.extend(map(decode, records))
            return values, errors
        except (ValueError, RecursionError, TypeError) as error:
            row = len(values)
            if isinstance(error, TypeError) and raws[row] is not None:
                raise
            # Its traceback holds this frame, and so `errors`: a circle around the whole batch.
            errors[row] = error.with_traceback(None)
            values.append(None)


def reject_record(raw: bytes | None, error: Exception) -> Reject:
    """What stands for a record that could not be decoded. `error` is what msgspec raised."""
    if raw is None:
        return Reject("tombstone", "the record has no value (a Kafka tombstone)")
    if not raw.strip():
        return Reject("empty", "the record is empty")
    if isinstance(error, UnicodeDecodeError):
        return Reject("invalid_utf8", _utf8_message(raw), error_type="UnicodeDecodeError")
    if isinstance(error, RecursionError):
        return too_deep()
    if isinstance(error, msgspec.ValidationError):
        return Reject("number_out_of_range", str(error))
    message = str(error)
    if raw.startswith(b"\xef\xbb\xbf"):
        message = "the record starts with a byte order mark"
    return Reject("malformed_json", message, error_type="DecodeError")


def _utf8_message(raw: bytes) -> str:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return f"invalid UTF-8 at byte {error.start}: {error.reason}"
    return "invalid UTF-8"


def too_deep() -> Reject:
    return Reject("too_deep", f"nested deeper than {MAX_DEPTH} levels", error_type="RecursionError")


def too_many_digits() -> Reject:
    return Reject("number_out_of_range", f"a number of {MAX_DIGITS} digits or more")


def duplicate_keys() -> Reject:
    return Reject("duplicate_keys", "an object has the same key twice")
