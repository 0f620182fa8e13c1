"""Events over HTTP: a source whose clients are answered when their events are stored."""

from __future__ import annotations

from collections.abc import Sequence

from streamd.api import Plugin, hookimpl
from streamd_http.source import HttpSource

__all__ = ["HttpSource"]


@hookimpl
def streamd_plugins() -> Sequence[Plugin]:
    return [Plugin("source", "http", HttpSource)]
