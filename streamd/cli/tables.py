"""Settings as tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from streamd.api import Plugin
from streamd.catalog import Entry, config_of
from streamd.settings.fields import (
    Setting,
    bare,
    is_struct,
    item_of,
    members_of,
    settings_of,
    type_text,
)

_HEAD = ("| key | type | default | |", "|---|---|---|---|")


def section(entries: Iterable[Entry]) -> str:
    """The settings of several plugins, each under a heading."""
    return "\n".join(
        f"### {entry.plugin.role} `{entry.plugin.name}`\n\n{entry.summary}\n\n"
        + plugin_table(entry.plugin)
        for entry in entries
    )


def plugin_table(plugin: Plugin) -> str:
    """Every setting of a plugin."""
    settings = settings_of(config_of(plugin))
    return settings_table(settings) if settings else "No settings.\n"


def settings_table(settings: list[Setting]) -> str:
    """A row per setting, those of tables within them too."""
    return "\n".join((*_HEAD, *_rows(settings, ""), ""))


def cell(text: str) -> str:
    """Text that cannot end its cell."""
    return text.replace("|", "\\|")


def _rows(settings: list[Setting], prefix: str) -> Iterator[str]:
    for setting in settings:
        key = prefix + setting.key
        default = "required" if setting.required else _code(setting.default_text)
        cells = (_code(key), type_text(setting.kind), default, setting.description)
        yield f"| {' | '.join(map(cell, cells))} |"
        for path, struct in _tables_in(setting.kind, key):
            yield from _rows(settings_of(struct), f"{path}.")


def _tables_in(kind: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The tables of settings within a setting, with how their keys are written."""
    for one in map(bare, members_of(kind)):
        shape, item = item_of(one)
        if is_struct(one):
            yield path, one
        elif shape:
            yield from _tables_in(item, f"{path}.*" if shape == "table" else f"{path}[]")


def _code(text: str) -> str:
    return f"`{text}`" if text else ""
