"""`streamd tap`: events as they leave a stage of a running daemon."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import msgspec

from streamd import exits
from streamd.control import Control, ControlError
from streamd.settings import SettingsError
from streamd.settings.loader import daemon_options
from streamd.tapping import Line


class _Answer(Line):
    """What the daemon says; `error` if it refuses."""

    error: str = ""


def tap(args: argparse.Namespace) -> int:
    """Print events until the limit, Ctrl-C, or the end of the stage or of whoever reads."""
    printer = _Printer(pretty=args.format == "pretty")
    try:
        state_dir = Path(daemon_options(args.config).state_dir)
        return anyio.run(_follow, state_dir, _request(args), printer)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return exits.CONFIG
    except ControlError as error:
        _tell(str(error))
        return exits.FAILED
    except BrokenPipeError:  # whoever reads has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        pass
    finally:
        printer.tell_counts()
    return exits.OK


def _request(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "stage": args.stage,
        "pipeline": args.pipeline,
        "limit": args.limit,
        "one_in": args.sample,
        "filter": args.filter,
        "rejects": args.rejects,
    }


async def _follow(state_dir: Path, request: dict[str, Any], printer: _Printer) -> int:
    """Raises ControlError."""
    async with Control(state_dir) as control:
        async for line in control.follow("tap", **request):
            answer = msgspec.json.decode(line, type=_Answer)
            if answer.error:
                raise ControlError(answer.error)
            printer.show(answer)
            if answer.done:
                return exits.OK
            if answer.ended:
                raise ControlError(answer.ended)
    raise ControlError("the daemon has ended")


class _Printer:
    """Events to standard output, everything else to standard error."""

    def __init__(self, *, pretty: bool) -> None:
        self._pretty = pretty
        self._last = Line()

    def show(self, line: Line) -> None:
        """Print an event; of what is counted the first is worth a line at once."""
        if event := bytes(line.event):
            text = msgspec.json.format(event, indent=2) if self._pretty else event
            sys.stdout.buffer.write(text + b"\n")
            sys.stdout.buffer.flush()
        elif line.tapping:
            _tell(f"tapping the {line.tapping}")
        elif not line.ended:
            if line.passed_by and not self._last.passed_by:
                _tell("there are more events than can be shown; --sample N takes one in N")
            if line.cannot_judge and not self._last.cannot_judge:
                _tell(f"the filter cannot judge every event: {line.reason}")
            self._last = line

    def tell_counts(self) -> None:
        """What the events that were printed do not tell."""
        if count := self._last.passed_by:
            _tell(f"{count} events went by without being looked at")
        if count := self._last.cannot_judge:
            _tell(f"{count} events could not be judged by the filter")


def _tell(message: str) -> None:
    print(f"streamd tap: {message}", file=sys.stderr, flush=True)
