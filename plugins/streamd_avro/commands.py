"""`streamd schema`: the registry on the command line."""

from __future__ import annotations

import argparse
import sqlite3
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from streamd_avro.diff import differences
from streamd_avro.evolution import LEVELS, SchemaEvolution
from streamd_avro.fingerprints import canonical_form, fingerprint
from streamd_avro.parsing import load, parse
from streamd_avro.registry import FILE, SchemaRegistry, get_schema_registry
from streamd_avro.schema import NotRegisteredError

_OK, _FAILED, _USAGE = 0, 1, 2
_EITHER = "a file, NAME or NAME:VERSION"

Run = Callable[[argparse.Namespace], int]


def add_commands(commands: Any) -> None:
    """Add `schema` to what `argparse.ArgumentParser.add_subparsers` returned."""
    summary = "Show, register and compare Avro schemas."
    schema = commands.add_parser("schema", help=summary, description=summary, allow_abbrev=False)
    schema.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        help=f"where {FILE} is (default: $STATE_DIRECTORY or var)",
    )
    schema.set_defaults(run=_help_of(schema))
    actions = schema.add_subparsers(title="actions", metavar="ACTION")

    def add(name: str, action: Run, summary: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(
            name, help=summary, description=summary, allow_abbrev=False
        )
        parser.set_defaults(run=lambda args: _guarded(action, args))
        return parser

    add("list", _list, "List the names with their versions and compatibility levels.")
    _show_arguments(add("show", _show, "Print a schema as JSON."))
    _register_arguments(add("register", _register, "Register a new version of a schema."))
    check = add("check", _check, "Check whether a schema may follow another.")
    _two_schemas(check)
    check.add_argument("--level", choices=LEVELS[1:], default="BACKWARD", metavar="LEVEL")
    check.add_argument("--mode", choices=("avro", "guideline"), default="avro")
    _two_schemas(add("diff", _diff, "Print what differs between two schemas, field by field."))


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("schema", metavar="SCHEMA", help=_EITHER)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--canonical", action="store_true", help="in the Parsing Canonical Form")
    how.add_argument("--fingerprint", action="store_true", help="only CRC-64-AVRO, as in records")


def _register_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("file", type=Path, metavar="FILE", help="a schema as JSON (.avsc)")
    parser.add_argument("--version", metavar="N", help="its number (default: the next)")
    parser.add_argument(
        "--level",
        choices=LEVELS,
        metavar="LEVEL",
        help=f"check at this level from now on: {', '.join(LEVELS)}",
    )


def _two_schemas(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD", help=_EITHER)
    parser.add_argument("new", metavar="NEW", help=_EITHER)


def _help_of(parser: argparse.ArgumentParser) -> Run:
    def run(args: argparse.Namespace) -> int:  # noqa: ARG001
        parser.print_help(sys.stderr)
        return _USAGE

    return run


def _guarded(action: Run, args: argparse.Namespace) -> int:
    try:
        return action(args)
    except (NotRegisteredError, OSError) as error:
        print(error, file=sys.stderr)
        return _USAGE
    except (ValueError, sqlite3.Error) as error:
        print(error, file=sys.stderr)
        return _FAILED


def _list(args: argparse.Namespace) -> int:
    registry = _registry(args)
    for name in registry.list_names():
        versions = ", ".join(map(str, registry.list_versions(name)))
        print(f"{name}  {versions}  {registry.compatibility(name)}")
    return _OK


def _show(args: argparse.Namespace) -> int:
    schema = _schema(args.schema, _registry(args))
    if args.fingerprint:
        print(fingerprint(schema).hex())
    elif args.canonical:
        print(canonical_form(schema))
    else:
        print(msgspec.json.format(msgspec.json.encode(schema), indent=2).decode())
    return _OK


def _register(args: argparse.Namespace) -> int:
    registry = _registry(args)
    schema = load(args.file.read_bytes())
    versions = registry.list_versions(args.name)
    version = args.version or max(versions, default=0) + 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        number = registry.register_schema(args.name, version, schema, level=args.level)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    print(f"{args.name} version {number} ({registry.compatibility(args.name)})")
    return _OK


def _check(args: argparse.Namespace) -> int:
    registry = _registry(args)
    old, new = _schema(args.old, registry), _schema(args.new, registry)
    problems = SchemaEvolution.problems(old, new, args.level, args.mode)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"compatible ({args.level}, {args.mode})")
    return _FAILED if problems else _OK


def _diff(args: argparse.Namespace) -> int:
    registry = _registry(args)
    found = differences(_schema(args.old, registry), _schema(args.new, registry))
    for line in found:
        print(line)
    return _FAILED if found else _OK


def _registry(args: argparse.Namespace) -> SchemaRegistry:
    return get_schema_registry(None if args.state_dir is None else args.state_dir / FILE)


def _schema(given: str, registry: SchemaRegistry) -> Any:
    """A schema from a file, or from the registry by name and version."""
    path = Path(given)
    if path.is_file():
        schema = load(path.read_bytes())
        parse(schema)
        return schema
    name, _, version = given.partition(":")
    try:
        return registry.get_schema(name, version or None)
    except NotRegisteredError as error:
        raise NotRegisteredError(f"{error}; and there is no file {given}") from None
