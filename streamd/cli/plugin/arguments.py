"""What `streamd plugin` takes. Imports nothing heavy: every start of the command reads it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

ROLES = ("source", "validate", "transform", "window", "sink", "policy", "codec")


class _RoleAnywhere(argparse.ArgumentParser):
    """Takes `NAME --role ROLE DIR`: argparse itself takes no second word behind an option."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = list(args or ())
        if "--role" in words[:-1]:
            at = words.index("--role")
            words = [*words[at : at + 2], *words[:at], *words[at + 2 :]]
        return super().parse_known_args(words, namespace)


def describe(command: argparse.ArgumentParser) -> None:
    """Add the actions of `streamd plugin`."""
    command.set_defaults(run=_run)
    actions = command.add_subparsers(
        metavar="ACTION", dest="action", required=True, parser_class=_RoleAnywhere
    )
    summary = "Write a package that holds a working plugin of a role, with its tests."
    init = actions.add_parser("init", help=summary, description=summary, allow_abbrev=False)
    init.add_argument("name", metavar="NAME", help='what plugin = "NAME" will mean')
    init.add_argument("--role", choices=ROLES, default="transform", help="default: transform")
    init.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="default: streamd-NAME")
    summary = "Run the tests of a plugin, the contract of its role among them."
    test = actions.add_parser("test", help=summary, description=summary, allow_abbrev=False)
    test.add_argument("plugin", metavar="PATH|NAME", help="its source's folder, or as installed")
    test.add_argument("arguments", nargs="*", metavar="ARG", help="for pytest, after --")


def _run(args: argparse.Namespace) -> int:
    if args.action == "init":
        from streamd.cli.plugin.scaffold import init

        return init(args.name, args.role, args.folder)
    from streamd.cli.plugin.suite import run_suite

    return run_suite(args.plugin, args.arguments)
