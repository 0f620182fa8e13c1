"""What can be wrong with a value or a record."""

from __future__ import annotations


class NotEncodable(ValueError):  # noqa: N818
    """A value that the schema does not take as it is.

    The parts of `path` are put in front as the error rises through the value.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[str] = []

    def within(self, part: str) -> NotEncodable:
        """The same error, seen from one level up."""
        self.path.insert(0, part)
        return self

    def __str__(self) -> str:
        return f"${''.join(self.path)}: {self.message}"


class Malformed(ValueError):  # noqa: N818
    """Bytes that no writer of the schema can have written."""


class Unresolvable(ValueError):  # noqa: N818
    """Data that its writer may write, but that the reader's schema has no place for."""
