"""Runs a subcommand: the store found and opened, errors as messages."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import anyio

from streamd import exits
from streamd.api import DeadLetterStore, StoredLetter, StreamdError
from streamd.cli.dlq import clearing, looking, replaying
from streamd.cli.dlq.lock import BusyError, alone
from streamd.cli.dlq.selection import Selection, parse_time
from streamd.cli.dlq.stores import Found, NoStoreError, find, spilled_somewhere
from streamd.control import ControlError
from streamd.settings import Settings, SettingsError, load


def run(args: argparse.Namespace) -> int:
    """Returns an exit status."""
    try:
        settings = load(args.config)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return exits.CONFIG
    try:
        selection = _selection(args)
    except ValueError as error:
        print(f"streamd dlq: {error}", file=sys.stderr)
        return exits.USAGE
    try:
        found = find(settings, pipeline=args.pipeline, sink=args.sink, spill=args.spilled)
        if not args.spilled:
            for path in spilled_somewhere(settings):
                print(f"note: {path} has letters that no sink took: --spilled", file=sys.stderr)
        if not found.state_dir.exists():
            note = f"note: no daemon has run in {found.state_dir.absolute()}"
            print(f"{note}; for a service's: streamd as SERVICE dlq ...", file=sys.stderr)
        return _within_terms(settings, args, found, selection)
    except (NoStoreError, BusyError, ControlError, StreamdError, ValueError) as error:
        print(f"streamd dlq: {error}", file=sys.stderr)
    except BrokenPipeError:  # whoever reads has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except KeyboardInterrupt:
        print("\nstopped; what was done is done", file=sys.stderr)
    except OSError as error:
        print(f"streamd dlq: {error.filename}: {error.strerror}", file=sys.stderr)
    return exits.FAILED


def _selection(args: argparse.Namespace) -> Selection:
    """Raises ValueError if a time is none."""
    now = datetime.now(UTC)
    since, until = (None if t is None else parse_time(t, now) for t in (args.since, args.until))
    named = [*(args.id or ()), *getattr(args, "ids", ())]
    # What is parked is not let in again by itself.
    unparked = False if args.subcommand == "replay" else None
    return Selection(
        since=since,
        until=until,
        reasons=frozenset(args.reason or ()),
        error_types=frozenset(args.error_type or ()),
        stages=frozenset(args.stage or ()),
        ids=frozenset(named),
        parked=True if args.parked else unparked,
    )


def _within_terms(
    settings: Settings, args: argparse.Namespace, found: Found, selection: Selection
) -> int:
    if args.subcommand == "discard" and selection.empty and not args.all and not args.limit:
        print("streamd dlq: give a filter, or --all", file=sys.stderr)
        return exits.USAGE
    logging.disable()  # what the client libraries log is in the errors
    try:
        if args.subcommand in ("list", "show", "stats") or args.dry_run:
            return anyio.run(_work, settings, args, found, selection)
        with alone(found.state_dir):
            return anyio.run(_work, settings, args, found, selection)
    finally:
        logging.disable(logging.NOTSET)


async def _work(
    settings: Settings, args: argparse.Namespace, found: Found, selection: Selection
) -> int:
    async with found.opening as store:

        def letters() -> AsyncIterator[StoredLetter]:
            return _selected(store, selection, args.limit, getattr(args, "after", ""))

        match args.subcommand:
            case "list":
                return await looking.list_letters(letters(), as_json=args.json)
            case "show":
                return await looking.show(letters(), args.ids)
            case "stats":
                return await looking.stats(letters(), as_json=args.json)
            case "discard":
                return await clearing.discard(store, letters, dry_run=args.dry_run)
            case "archive":
                return await clearing.archive(store, letters, args.folder, dry_run=args.dry_run)
            case _:
                return await replaying.replay(settings, found, store, letters, args)


async def _selected(
    store: DeadLetterStore, selection: Selection, limit: int | None, after: str
) -> AsyncIterator[StoredLetter]:
    taken = 0
    async for letter in store.read(after):
        if selection.meets(letter):
            yield letter
            taken += 1
            if taken == limit:
                return
