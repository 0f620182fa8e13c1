"""Settings of the SQLite sink."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from streamd.api import DEAD_LETTERS, ConfigError, Duration, StageConfig, doc
from streamd_columns import SYNTAX, ColumnDef

_PLACE: dict[str, str | ColumnDef] = {"partition": "@partition", "offset": "@offset"}
DEFAULT_COLUMNS: dict[str, str | ColumnDef] = {
    "id": "id",
    "timestamp": "timestamp",
    "event": "@json",
    **_PLACE,
}
DEAD_LETTER_COLUMNS: dict[str, str | ColumnDef] = {
    "id": "dlq_id",
    "timestamp": "failed_at",
    "event": "@json",
    **_PLACE,
}


class SqliteConfig(StageConfig, frozen=True):
    """Settings of the sink `sqlite`."""

    path: Annotated[
        str,
        doc(
            "The database file. Made, with its directory, if it does not exist.",
            example="var/events.db",
        ),
    ]
    table: Annotated[str, doc("The table.")] = "events"
    create_table: Annotated[bool, doc("Create the table if it does not exist.")] = True
    columns: Annotated[
        dict[str, str | ColumnDef],
        doc(
            f"Column to source: {SYNTAX}. A table {{ source = ..., type = ... }} also says the type"
            " for create_table. Empty: id, timestamp, event (JSON), partition, offset."
        ),
    ] = {}  # noqa: RUF012 - a default that is copied
    missing: Annotated[
        Literal["null", "reject"], doc("A field that an event does not have: null, or reject it.")
    ] = "null"
    once: Annotated[
        Literal["row", "position", "key", "off"],
        doc(
            "How an event that is read again is kept from being stored again. row: by its place in"
            " the source and its content, safe for every stream. position: by how far each"
            " partition was stored, smaller and faster, only for a stream whose offsets ascend."
            " key: a later event replaces the one with the same key columns. off: not at all."
        ),
    ] = "row"
    key: Annotated[tuple[str, ...], doc('The key columns of once = "key".', example=["id"])] = ()
    busy_timeout: Annotated[
        Duration, doc("How long to wait while another process writes to the database.")
    ] = Duration("5s")

    def check(self, inputs: Collection[str]) -> None:
        """Raises ConfigError for what can be seen without the database."""
        if (self.once == "key") != bool(self.key):
            raise ConfigError('once = "key" and key belong together', path="key", also="once")
        unmapped = [name for name in self.key if name not in self.mapping(inputs)]
        if unmapped:
            message = f"not among columns: {', '.join(unmapped)}"
            raise ConfigError(message, path="key", also="columns")
        ascending = len(inputs) <= 1 and DEAD_LETTERS not in inputs
        if self.once == "position" and not ascending:
            raise ConfigError(
                "the offsets of dead letters, and of several streams in one, do not ascend:"
                ' positions would lose rows; use once = "row"',
                path="once",
            )

    def mapping(self, inputs: Collection[str]) -> dict[str, str | ColumnDef]:
        """The columns in force. Dead letters have other fields than events."""
        if self.columns:
            return self.columns
        return DEAD_LETTER_COLUMNS if set(inputs) == {DEAD_LETTERS} else DEFAULT_COLUMNS
