"""Generates what is written elsewhere: README sections of plugins, the JSON Schema, the units.

    python -m streamd.cli.docs [--check] [ROOT]

Fills each `plugins/*/README.md` between its markers, `config/streamd.schema.json`, and
`config/systemd` with the units of an installation by a package of the system.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamd import exits
from streamd.catalog import Catalog, Entry, config_of
from streamd.cli import unit
from streamd.settings import jsonschema
from streamd.settings.fields import (
    Setting,
    bare,
    is_struct,
    item_of,
    members_of,
    settings_of,
    type_text,
)

START = "<!-- config:start -->"
END = "<!-- config:end -->"
SCHEMA = Path("config", "streamd.schema.json")
UNITS = Path("config", "systemd")
_PROGRAM, _CONFIG = Path("/usr/bin/streamd"), Path("/etc/streamd/streamd.toml")


def main(arguments: list[str] | None = None) -> int:
    """Write what is stale, or with --check only name it."""
    parser = argparse.ArgumentParser(description="Generate the documentation of settings.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if stale")
    parser.add_argument("root", nargs="?", type=Path, default=Path())
    args = parser.parse_args(arguments)
    outdated = stale(args.root)
    for path, text in outdated.items():
        print(f"{'stale' if args.check else 'written'}: {path}")
        if not args.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return exits.FAILED if args.check and outdated else exits.OK


def stale(root: Path) -> dict[Path, str]:
    """The generated files of a source tree that do not hold what they should, and what that is."""
    return {
        path: text
        for path, text in _generate(root)
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }


def _generate(root: Path) -> Iterator[tuple[Path, str]]:
    catalog = Catalog.load()
    yield root / SCHEMA, jsonschema.text(catalog)
    for instance in (False, True):
        text = unit.unit(_PROGRAM, _CONFIG, instance=instance)
        yield root / UNITS / unit.name(instance=instance), text
    for readme in sorted(root.glob("plugins/*/README.md")):
        before, start, rest = readme.read_text(encoding="utf-8").partition(START)
        _, end, after = rest.partition(END)
        if start and end:
            section = config_section(catalog, readme.parent.name)
            yield readme, f"{before}{START}\n{section}{END}{after}"


def config_section(catalog: Catalog, package: str) -> str:
    """Tables of the settings of every plugin that a package offers."""
    tables = [
        _plugin_table(entry)
        for entry in catalog.entries()
        if entry.plugin.cls.__module__.partition(".")[0] == package
    ]
    return "\n".join(tables)


def _plugin_table(entry: Entry) -> str:
    plugin = entry.plugin
    lines = [f"### {plugin.role} `{plugin.name}`", "", entry.summary, ""]
    settings = settings_of(config_of(plugin))
    if settings:
        lines += ["| key | type | default | |", "|---|---|---|---|", *_rows(settings, "")]
    else:
        lines.append("No settings.")
    return "\n".join([*lines, ""])


def _rows(settings: list[Setting], prefix: str) -> Iterator[str]:
    for setting in settings:
        key = prefix + setting.key
        default = "required" if setting.required else _code(setting.default_text)
        cells = (_code(key), type_text(setting.kind), default, setting.description)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
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


if __name__ == "__main__":
    raise SystemExit(main())
