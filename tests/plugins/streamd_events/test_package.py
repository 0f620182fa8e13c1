"""What the package offers, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import streamd_events
import streamd_json
from streamd.api import StageConfig


def test_plugins() -> None:
    plugins = [*streamd_events.streamd_plugins(), *streamd_json.streamd_plugins()]
    assert sorted((plugin.role, plugin.name) for plugin in plugins) == [
        ("codec", "json"),
        ("codec", "raw"),
        ("codec", "text"),
        ("validate", "event"),
        ("validate", "json_schema"),
        ("validate", "quality"),
        ("validate", "struct"),
    ]
    for plugin in plugins:
        assert plugin.cls.__doc__
        assert issubclass(plugin.cls.Config, StageConfig)  # type: ignore[attr-defined]


def test_importing_loads_no_heavy_library() -> None:
    """Start-up time is everybody's: only a json_schema stage loads its library."""
    code = (
        "import sys, streamd_events, streamd_json;"
        "heavy = {'jsonschema_rs', 'aiohttp', 'aiokafka', 'asyncio', 'fastavro'};"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
