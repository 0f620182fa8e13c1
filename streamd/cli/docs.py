"""Generates what is written elsewhere: pages about settings, the JSON Schema, the units.

    python -m streamd.cli.docs [--check] [ROOT]

Of this source tree: `docs/plugins`, `docs/configuration.md`, each `plugins/*/README.md` between its
markers, `config/streamd.schema.json`, and `config/systemd` with the units of an installation by a
package of the system. Of any other project: its README.md between the markers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from streamd import exits
from streamd.catalog import Catalog, Entry
from streamd.cli import reference, unit
from streamd.cli.sample import sample
from streamd.cli.tables import cell, plugin_table, section, settings_table
from streamd.settings import jsonschema
from streamd.settings.fields import settings_of
from streamd.settings.keys import StageKeys, keys_of

START = "<!-- config:start -->"
END = "<!-- config:end -->"
SCHEMA = Path("config", "streamd.schema.json")
UNITS = Path("config", "systemd")
PAGES = Path("docs", "plugins")
REFERENCE = Path("docs", "configuration.md")
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
        for path, text in generate(root)
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }


def generate(root: Path) -> Iterator[tuple[Path, str]]:
    """Every generated file of a source tree."""
    catalog = Catalog.load()
    if not (root / "plugins").is_dir():
        packages = sorted(path.parent.name for path in root.glob("*/__init__.py"))
        yield from _readme(root / "README.md", catalog, packages)
        return
    yield root / SCHEMA, jsonschema.text(catalog)
    yield root / REFERENCE, reference.page()
    for instance in (False, True):
        text = unit.unit(_PROGRAM, _CONFIG, instance=instance)
        yield root / UNITS / unit.name(instance=instance), text
    packages = sorted(path.parent.name for path in root.glob("plugins/*/README.md"))
    for package in packages:
        yield from _readme(root / "plugins" / package / "README.md", catalog, [package])
    yield from _pages(root / PAGES, _of(catalog, packages))


def filled(readme: str, entries: list[Entry]) -> str:
    """A README with the settings of these plugins between its markers, if it has them."""
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    return f"{before}{START}\n{section(entries)}{END}{after}" if start and end else readme


def _readme(path: Path, catalog: Catalog, packages: list[str]) -> Iterator[tuple[Path, str]]:
    if path.exists():
        yield path, filled(path.read_text(encoding="utf-8"), _of(catalog, packages))


def _of(catalog: Catalog, packages: list[str]) -> list[Entry]:
    return [entry for entry in catalog.entries() if _package(entry) in packages]


def _package(entry: Entry) -> str:
    return entry.plugin.cls.__module__.partition(".")[0]


def _pages(folder: Path, entries: list[Entry]) -> Iterator[tuple[Path, str]]:
    yield folder / "README.md", _index(entries)
    for entry in entries:
        yield folder / _page_name(entry), _page(entry)


def _page_name(entry: Entry) -> str:
    return f"{entry.plugin.role}-{entry.plugin.name}.md"


def _index(entries: list[Entry]) -> str:
    rows = []
    for entry in entries:
        link = f"[{entry.plugin.name}]({_page_name(entry)})"
        rows.append(f"| {entry.plugin.role} | {link} | {cell(entry.summary)} |")
    head = ["# Plugins", "", 'What `plugin = "..."` can name in a table of each role.', ""]
    return "\n".join([*head, "| role | plugin | |", "|---|---|---|", *rows, ""])


def _page(entry: Entry) -> str:
    plugin, package = entry.plugin, _package(entry)
    guarantee = (
        f"What it guarantees, and its limits: [{package}](../../plugins/{package}/README.md)."
    )
    lines = [f"# The {plugin.role} `{plugin.name}`", "", entry.summary, "", guarantee, ""]
    lines += ["## Settings", "", plugin_table(plugin)]
    keys = keys_of(plugin.role)
    if len(keys) > 1:
        of_engine = [setting for setting in settings_of(StageKeys) if setting.key in keys]
        lines += ["## Keys of the engine", "", settings_table(of_engine)]
    lines += [f"## What `streamd create {plugin.role}/{plugin.name}` prints", ""]
    return "\n".join([*lines, "```toml", sample(plugin) + "```", ""])


if __name__ == "__main__":
    raise SystemExit(main())
