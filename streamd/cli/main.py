"""The command line: `streamd [--config FILE] [COMMAND]`; without a command the daemon runs.

Commands import what they need when they run, so that each starts as fast as it can.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamd import __version__, exits
from streamd.cli.dlq import arguments as dlq
from streamd.cli.plugin import arguments as plugin
from streamd.cli.tap import arguments as tap

DEFAULT_CONFIG = Path("streamd.toml")
_STATUSES = f"""exit status:
  {exits.OK}   done
  {exits.FAILED}   something did not work
  {exits.USAGE}   the command line is wrong
  {exits.IN_USE}  another daemon has the state directory
  {exits.CONFIG}  the configuration is wrong; every error is on standard error"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser, commands = _parser()
    if _needs_plugins(arguments, commands):
        _add_commands_of_plugins(arguments, commands)
    args = parser.parse_args(arguments)
    try:
        status = int(args.run(args) or exits.OK)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has had enough, as `head` has. Nothing is left to be flushed at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except KeyboardInterrupt:
        return exits.FAILED
    return status


def _parser() -> tuple[argparse.ArgumentParser, Any]:
    parser = argparse.ArgumentParser(
        prog="streamd",
        description="Run the pipelines of a configuration file, or a command about it.",
        epilog=_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"streamd {__version__}")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        default=DEFAULT_CONFIG,
        help="configuration file (default: %(default)s)",
    )
    parser.set_defaults(run=_run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS)

    def add(name: str, run: Any, summary: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(
            name, parents=[common], help=summary, description=summary, allow_abbrev=False
        )
        command.set_defaults(run=run)
        return command

    add("run", _run, "Run the daemon (the default).")
    _describe_check(add("check", _check, "Check the configuration without running it."))
    listing = add("list", _list, "List the plugins that a configuration can name.")
    listing.add_argument("role", nargs="?", metavar="ROLE", help="only this role")
    _describe_create(add("create", _create, "Print a commented sample of a plugin's settings."))
    _describe_test(add("test", _test, "Run the tests that configuration files hold as [[test]]."))
    _describe_graph(add("graph", _graph, "Print how the stages are wired, as a picture's source."))
    _describe_diff(add("diff", _diff, "Print what a reload would do with another configuration."))
    _describe_top(add("top", _top, "Show what a running daemon does, live in the terminal."))
    tap.describe(add("tap", _run, "Print events as they leave a stage of a running daemon."))
    add("echo", _echo, "Print the effective configuration: defaults filled in, secrets masked.")
    add("config-schema", _schema, "Print the JSON Schema of the configuration, for editors.")
    dlq.describe(add("dlq", _run, "Look at dead letters, let them in again, or clear them."))
    plugin.describe(add("plugin", _run, "Begin a plugin of your own, or test one."))
    _describe_install(add("install", _install, "Print or write the unit that runs the daemon."))
    _describe_as(add("as", _as, "Run a command as a systemd service of streamd."))
    return parser, commands


def _describe_check(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--connect", action="store_true", help="also ask each stage whether it would work"
    )
    command.add_argument(
        "--timeout", type=float, default=10.0, metavar="SECONDS", help="of each (default: 10)"
    )


def _describe_test(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="instead of the configuration file"
    )
    command.add_argument("--only", default="", metavar="TEXT", help="those with this in their name")


def _describe_create(command: argparse.ArgumentParser) -> None:
    command.add_argument("plugin", metavar="ROLE/PLUGIN", help="for example sink/kafka")


def _describe_graph(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", choices=("dot", "mermaid"), default="dot", help="default: dot")


def _describe_top(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--admin", metavar="ADDRESS", help="of its admin port (default: the configuration's)"
    )
    command.add_argument(
        "--token-file", type=Path, metavar="FILE", help="holds its admin_token, if it has one"
    )
    command.add_argument("--once", action="store_true", help="print it once")


def _describe_diff(command: argparse.ArgumentParser) -> None:
    command.description = (
        "What a daemon that runs OLD would do if it were told to run NEW: which stages stay, are"
        " replaced or restart, and why it would refuse. Connects to nothing."
    )
    command.epilog = (
        f"Exit status {exits.OK} if the reload would be taken, {exits.FAILED} if it would be"
        " refused. Plugin files are compared by their place too: keep both files in one folder."
    )
    command.add_argument("old", type=Path, metavar="OLD", help="what runs")
    command.add_argument("new", type=Path, metavar="NEW", help="what would run")


def _describe_install(command: argparse.ArgumentParser) -> None:
    command.add_argument("--systemd", action="store_true", required=True, help="for systemd")
    command.add_argument(
        "--output", type=Path, metavar="DIR", help="write it there, for example /etc/systemd/system"
    )
    command.add_argument(
        "--instance",
        action="store_true",
        help="a template for several daemons: streamd@NAME reads NAME.toml beside FILE",
    )


def _describe_as(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Run a command with the user, the state directory, the configuration and the credentials"
        " of a systemd service. Relative paths are those of its state directory. Needs root."
    )
    command.add_argument("service", metavar="SERVICE", help="for example streamd, or streamd@NAME")
    command.add_argument(
        "rest", nargs=argparse.REMAINDER, metavar="COMMAND ...", help="for example dlq list"
    )


def _needs_plugins(arguments: Sequence[str], commands: Any) -> bool:
    """Plugins are loaded for their commands only if help or a command of theirs is asked for."""
    rest = _config_parser().parse_known_args(arguments)[1]
    first = rest[0] if rest else ""
    return first in ("-h", "--help") or not (
        first.startswith("-") or first in ("", *commands.choices)
    )


def _add_commands_of_plugins(arguments: Sequence[str], commands: Any) -> None:
    from streamd.settings.loader import catalog_for

    config: Path = _config_parser().parse_known_args(arguments)[0].config
    try:
        catalog_for(config).hook.streamd_commands(commands=commands)
    except Exception as error:  # a plugin's fault must not take the other commands away
        print(f"warning: a plugin cannot add its command: {error!r}", file=sys.stderr)


def _config_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="streamd", add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG)
    return parser


def _run(args: argparse.Namespace) -> int:
    from streamd.daemon import run

    return run(args.config)


def _check(args: argparse.Namespace) -> int:
    from streamd.cli.check import check

    return check(args.config, connect=args.connect, timeout=args.timeout)


def _list(args: argparse.Namespace) -> int:
    from streamd.cli.plugins import list_plugins

    return list_plugins(args.config, args.role)


def _create(args: argparse.Namespace) -> int:
    from streamd.cli.plugins import create

    return create(args.config, args.plugin)


def _test(args: argparse.Namespace) -> int:
    from streamd.cli.test import test

    return test(args.files or [args.config], args.only)


def _graph(args: argparse.Namespace) -> int:
    from streamd.cli.graph import graph

    return graph(args.config, args.format)


def _top(args: argparse.Namespace) -> int:
    from streamd.cli.top import top

    return top(args.config, admin=args.admin, token_file=args.token_file, once=args.once)


def _diff(args: argparse.Namespace) -> int:
    from streamd.cli.diff import diff

    return diff(args.old, args.new)


def _echo(args: argparse.Namespace) -> int:
    from streamd.cli.check import echo

    return echo(args.config)


def _schema(args: argparse.Namespace) -> int:
    from streamd.cli.plugins import schema

    return schema(args.config)


def _install(args: argparse.Namespace) -> int:
    from streamd.cli.install import install

    return install(args.config, output=args.output, instance=args.instance)


def _as(args: argparse.Namespace) -> int:
    from streamd.cli.service import run_as

    return run_as(args.service, args.rest)
