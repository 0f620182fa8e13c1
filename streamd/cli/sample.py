"""A commented sample of a plugin's settings, made from its Config."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from streamd.api import BatchLimits, Plugin
from streamd.catalog import config_of
from streamd.settings import defaults
from streamd.settings.fields import Setting, settings_of, type_text
from streamd.settings.keys import STAGE_ROLES, StageKeys, keys_of
from streamd.settings.model import MAIN
from streamd.settings.toml import duration_text, key_text, size_text, value_text

_HEADERS = {
    "source": "[pipeline.example.source]",
    "codec": "[pipeline.example.source.codec]",
    "policy": "[[pipeline.example.policy]]",
    **{role: f"[[pipeline.example.{role}]]" for role in STAGE_ROLES[1:]},
}


def sample(plugin: Plugin) -> str:
    """TOML that parses as it is and with every setting uncommented."""
    return "\n".join(_lines(plugin)) + "\n"


def _lines(plugin: Plugin) -> Iterator[str]:
    summary = plugin.summary or (plugin.cls.__doc__ or "").strip().partition("\n")[0]
    yield from _comment(f'The {plugin.role} "{plugin.name}". {summary}')
    if plugin.role in _HEADERS:
        yield _HEADERS[plugin.role]
    yield f"plugin = {value_text(plugin.name)}"
    if plugin.role in ("window", "sink"):
        yield f"id = {value_text(plugin.name)}"
    for setting in settings_of(config_of(plugin)):
        yield from _setting(setting)
    yield from _engine_keys(plugin)


def _setting(setting: Setting) -> Iterator[str]:
    yield ""
    yield from _comment(setting.description)
    assignment = f"{key_text(setting.key)} = "
    if setting.required:
        yield f"# ({type_text(setting.kind)}, required)"
        yield assignment + setting.example_text
    elif setting.default_text:
        yield f"# ({type_text(setting.kind)})"
        yield f"# {assignment}{setting.default_text}"
    else:
        yield f"# ({type_text(setting.kind)}, not set by default)"
        yield f"# {assignment}{setting.example_text}"


def _engine_keys(plugin: Plugin) -> Iterator[str]:
    """The keys of the engine, with what they are when they are left out."""
    values = {
        "inputs": f"[{value_text(MAIN)}]",
        "output": value_text(MAIN),
        "codec": value_text(defaults.CODEC),
        "batch": _batch(getattr(plugin.cls, "batch", BatchLimits())),
        "reset_state": "false",
    }
    settings = {setting.key: setting for setting in settings_of(StageKeys)}
    for key in keys_of(plugin.role):
        if key in values:
            yield ""
            yield from _comment(settings[key].description)
            yield f"# {key} = {values[key]}"


def _batch(limits: BatchLimits) -> str:
    keys = {
        "rows": limits.rows,
        "bytes": size_text(limits.bytes),
        "time": duration_text(limits.time),
    }
    return value_text(keys)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 96, initial_indent="# ", subsequent_indent="# ")
