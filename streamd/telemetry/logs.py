"""Structured logs: readable lines on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, TextIO

import msgspec
import structlog

_encoder = msgspec.json.Encoder(enc_hook=str)


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
            *_renderers(console),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    _adopt_library_logs(max(threshold, logging.WARNING))


def _renderers(console: bool) -> list[Any]:
    if console:
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=32)]
    return [
        structlog.processors.EventRenamer("message"),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(serializer=_serialize),
    ]


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
