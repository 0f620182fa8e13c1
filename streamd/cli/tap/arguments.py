"""The command line of `streamd tap`. Nothing here is slow to import."""

from __future__ import annotations

import argparse


def describe(command: argparse.ArgumentParser) -> None:
    """Add the arguments, and set `run`."""
    command.description = (
        "Print events as they leave a stage of a running daemon, one JSON object a line: what a"
        " source has read, what a step makes, what a sink has stored. Nothing is held up for it:"
        " what there is no time to show goes by, and is counted."
    )
    command.add_argument(
        "stage", metavar="[PIPELINE/]STAGE[.STREAM]", help="all streams of a stage, or one of them"
    )
    command.add_argument("--pipeline", metavar="NAME", help="where several have such a stage")
    command.add_argument("--limit", type=_count, metavar="N", help="end after so many events")
    command.add_argument(
        "--sample",
        type=_one_in,
        metavar="RATE",
        default=1.0,
        help="100 for one event in 100; 0.01 means the same",
    )
    command.add_argument("--filter", metavar="EXPR", help="only events that meet this condition")
    command.add_argument(
        "--rejects", action="store_true", help="events that the stage refuses, and why, instead"
    )
    command.add_argument(
        "--format", choices=("json", "pretty"), default="json", help="default: json, a line each"
    )
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from streamd.cli.tap.client import tap

    return tap(args)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of events")
    return int(text)


def _one_in(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if 0 < number < 1:
        return 1 / number
    if number >= 1 and number.is_integer():
        return number
    raise argparse.ArgumentTypeError(f"{text} is neither a whole number nor a share below 1")
