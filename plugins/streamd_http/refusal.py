"""A request that is not taken: the status and the reason, raised where it is found."""

from __future__ import annotations

from collections.abc import Mapping


class Refused(Exception):  # noqa: N818
    """What the client is told instead."""

    def __init__(
        self, status: int, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
