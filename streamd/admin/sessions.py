"""Proof that somebody has shown the token: what the page's cookie holds. Pure."""

from __future__ import annotations

import hashlib
import hmac

LASTS = 12 * 3600
"""Seconds for which a login is good."""


def grant(token: str, now: float) -> str:
    """A session from now on (seconds since the epoch). It does not hold the token, outlives a
    restart of the daemon, and ends with the token."""
    until = str(int(now) + LASTS)
    return f"{until}.{_seal(token, until)}"


def is_good(session: str, token: str, now: float) -> bool:
    """Whether this was granted for this token, and is not over."""
    until, _, seal = session.partition(".")
    return same(seal, _seal(token, until)) and until.isdigit() and int(until) > now


def same(given: str, expected: str) -> bool:
    """Takes as long whether they are equal or not."""
    return hmac.compare_digest(given.encode(), expected.encode())


def _seal(token: str, until: str) -> str:
    return hmac.new(token.encode(), f"streamd session {until}".encode(), hashlib.sha256).hexdigest()
