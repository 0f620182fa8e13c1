"""The command line of `streamd dlq`. Nothing here is slow to import."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

MAX_ATTEMPTS = 5

Add = Callable[[str, str], argparse.ArgumentParser]


def describe(command: argparse.ArgumentParser) -> None:
    """Add the subcommands; each sets `run`."""
    command.description = (
        "Dead letters are read from the store of a sink that reads dead_letters: by default the"
        " first one that can be read back. With --spilled: from the file in the state directory"
        " into which go those that no sink takes."
    )
    subcommands = command.add_subparsers(title="subcommands", metavar="SUBCOMMAND", required=True)

    def add(name: str, summary: str) -> argparse.ArgumentParser:
        parser = subcommands.add_parser(
            name, help=summary, description=summary, allow_abbrev=False, parents=[_common()]
        )
        parser.set_defaults(run=_run, subcommand=name)
        return parser

    listing = add("list", "One line for each letter.")
    listing.add_argument("--json", action="store_true", help="whole letters, one JSON a line")
    listing.add_argument("--after", default="", metavar="PLACE", help="go on behind this place")
    add("show", "Whole letters, readable.").add_argument("ids", nargs="+", metavar="ID")
    stats = add("stats", "How many there are, by reason, error type, stage and day.")
    stats.add_argument("--json", action="store_true", help="as one JSON object")
    _describe_replay(add)
    discard = add("discard", "Delete letters for good.")
    discard.add_argument("--all", action="store_true", help="needed where no filter is given")
    archive = add("archive", "Write letters to files, one each, and then delete them.")
    archive.add_argument("folder", type=Path, metavar="DIR")
    for clearing in (discard, archive):
        clearing.add_argument("--dry-run", action="store_true", help="only say what would go")


def _describe_replay(add: Add) -> None:
    replay = add(
        "replay",
        "Let letters in again, each into the stage in which it has failed, through the daemon that"
        " runs. A letter is deleted when its event is stored.",
    )
    replay.add_argument("--into", metavar="STAGE", help="into this stage instead")
    replay.add_argument(
        "--through-pipeline",
        action="store_true",
        help="from the source on: sinks that have the event get it again",
    )
    replay.add_argument(
        "--past-state",
        action="store_true",
        help="with --through-pipeline: also past stages that keep state, which count it again",
    )
    replay.add_argument("--rate", type=_positive, metavar="N", help="most events per second")
    replay.add_argument(
        "--batch", type=_count, default=500, metavar="N", help="letters at a time (default: 500)"
    )
    replay.add_argument(
        "--max-attempts",
        type=_count,
        default=MAX_ATTEMPTS,
        metavar="N",
        help="a letter that fails after so many replays is parked (default: %(default)s)",
    )
    replay.add_argument("--dry-run", action="store_true", help="only say what would be let in")
    edit = replay.add_mutually_exclusive_group()
    edit.add_argument(
        "--edit",
        metavar="TABLE",
        help="change each event by a transform, written as in the configuration:"
        " 'plugin = \"...\", KEY = VALUE', or @FILE",
    )
    edit.add_argument("--editor", action="store_true", help="change the events in $EDITOR first")


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS)
    common.add_argument("--pipeline", metavar="NAME", help="default: the first that has a store")
    store = common.add_mutually_exclusive_group()
    store.add_argument("--sink", metavar="ID", help="default: the first that can be read back")
    store.add_argument("--spilled", action="store_true", help="those that no sink has taken")
    filters = common.add_argument_group("only letters")
    filters.add_argument(
        "--since", metavar="TIME", help="RFC 3339, a date, or 2h for two hours ago"
    )
    filters.add_argument("--until", metavar="TIME", help="failed before this time")
    filters.add_argument("--reason", action="append", metavar="REASON")
    filters.add_argument("--error-type", action="append", metavar="NAME")
    filters.add_argument("--stage", action="append", metavar="ID", help="that failed there")
    filters.add_argument("--id", action="append", metavar="ID")
    filters.add_argument("--parked", action="store_true", help="that are parked")
    filters.add_argument("--limit", type=_count, metavar="N", help="no more than so many")
    return common


def _run(args: argparse.Namespace) -> int:
    from streamd.cli.dlq.commands import run

    return run(args)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number
