"""SQLite: a sink that stores each event exactly once."""

from collections.abc import Sequence

from streamd.api import Plugin, hookimpl
from streamd_sqlite.sink import SqliteSink


@hookimpl
def streamd_plugins() -> Sequence[Plugin]:
    return [Plugin("sink", "sqlite", SqliteSink)]
