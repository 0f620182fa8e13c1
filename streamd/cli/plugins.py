"""`streamd list`, `streamd create` and `streamd config-schema`: what the catalog has to offer."""

from __future__ import annotations

import sys
from pathlib import Path

from streamd import exits
from streamd.catalog import NotInCatalogError
from streamd.cli.sample import sample
from streamd.settings import jsonschema
from streamd.settings.loader import catalog_for
from streamd.settings.problems import nearest


def list_plugins(config: Path, role: str | None) -> int:
    """Print role, name, summary and origin of every plugin, or of a role's."""
    catalog = catalog_for(config)
    if role is not None and role not in catalog.roles():
        print(f'no role is called "{role}"{nearest(role, catalog.roles())}', file=sys.stderr)
        return exits.USAGE
    rows = [
        (entry.plugin.role, entry.plugin.name, entry.summary, entry.origin)
        for entry in catalog.entries(role)
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for *cells, origin in rows:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print("  ".join((*padded, origin)))
    for problem in (*catalog.errors, *catalog.problems):
        print(f"warning: {problem}", file=sys.stderr)
    return exits.OK


def create(config: Path, wanted: str) -> int:
    """Print a sample of the plugin named `<role>/<name>`."""
    role, slash, name = wanted.partition("/")
    try:
        if not slash:
            raise NotInCatalogError(f'"{wanted}": write ROLE/PLUGIN, for example sink/stdout')
        plugin = catalog_for(config).find(role, name)
    except NotInCatalogError as error:
        print(error, file=sys.stderr)
        return exits.USAGE
    print(sample(plugin), end="")
    return exits.OK


def schema(config: Path) -> int:
    """Print the JSON Schema of the configuration file."""
    print(jsonschema.text(catalog_for(config)), end="")
    return exits.OK
