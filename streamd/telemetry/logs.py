"""Structured logs: readable lines on a terminal, one JSON object a line elsewhere.

systemd's journal also learns how grave each line is, so that `journalctl -p warning` leaves out
the rest.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Literal, TextIO

import msgspec
import structlog

_encoder = msgspec.json.Encoder(enc_hook=str)

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""Of syslog(3), by the names of structlog's methods."""


def configure(
    *,
    level: str = "info",
    form: Literal["auto", "console", "json"] = "auto",
    stream: TextIO | None = None,
) -> None:
    """Set up logging for the process; the libraries' own warnings come out the same way."""
    out = stream or sys.stderr
    console = form == "console" or (form == "auto" and out.isatty())
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
            *_renderers(console, journal=_is_journal(out)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    _adopt_library_logs(max(threshold, logging.WARNING))


def _renderers(console: bool, *, journal: bool) -> list[Any]:
    if console:
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=32)]
    return [
        structlog.processors.EventRenamer("message"),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(serializer=_serialize),
        *([_with_priority] if journal else []),
    ]


def _is_journal(out: TextIO) -> bool:
    """Whether the service manager has connected the stream to its journal (systemd.exec(5))."""
    try:
        found = os.fstat(out.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _with_priority(_logger: Any, method: str, line: str) -> str:
    return f"<{_PRIORITIES.get(method, 6)}>{line}"


def _serialize(event: Any, **_options: Any) -> str:
    return _encoder.encode(event).decode()


class _LibraryHandler(logging.Handler):
    """Hands records of the standard library's logging to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger().bind(logger=record.name)
        message = record.getMessage()
        exc_info = record.exc_info if record.exc_info and record.exc_info[0] else None
        log.log(record.levelno, message, **({"exc_info": exc_info} if exc_info else {}))


def _adopt_library_logs(level: int) -> None:
    root = logging.getLogger()
    root.handlers = [_LibraryHandler()]
    root.setLevel(level)
