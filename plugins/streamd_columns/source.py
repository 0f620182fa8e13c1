"""Where the value of a column comes from: a small language, parsed to data."""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

from streamd_expressions import ExpressionError, parse_path

Path = tuple[str | int, ...]

Kind = Literal[
    "path", "json", "text", "ms", "status", "raw", "offset", "partition", "topic", "key",
    "timestamp", "header",
]  # fmt: skip

_KINDS = frozenset(get_args(Kind)) - {"path"}
_OF_A_PATH = frozenset({"json", "text", "ms"})
_PATH_REQUIRED = frozenset({"text", "ms"})

SYNTAX = (
    'a path of the event ("id", "payload.event_type", "items[0]"), or "@json [path]" (JSON text of'
    ' the event or a part of it), "@text path" (a string as it is, anything else as JSON text),'
    ' "@ms path" (a time in milliseconds since the epoch), "@timestamp" (event time), "@status"'
    ' (validation status), "@raw" (the bytes that arrived), "@key", "@header name", "@topic",'
    ' "@partition" (as "topic:number"), "@offset"'
)


class Source(Struct, frozen=True):
    """A parsed source. `path` is of the event; `name` is a header's; `text` is as written."""

    kind: Kind
    path: Path = ()
    name: str = ""
    text: str = ""

    @property
    def in_ms(self) -> bool:
        """Whether the values are times in milliseconds since the epoch."""
        return self.kind in ("timestamp", "ms")

    @property
    def json_path(self) -> str:
        """Where the value stands, as errors about an event name it."""
        return "$" + "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path
        )


def parse_source(text: str) -> Source:
    """The source that the text describes (see SYNTAX).

    Raises ValueError saying what is wrong with it.
    """
    if not text.startswith("@"):
        return Source("path", _path(text), text=text)
    word, _, rest = text[1:].partition(" ")
    rest = rest.strip()
    if word not in _KINDS:
        raise ValueError(f"unknown source @{word}; known are {', '.join(_spellings())}")
    kind: Kind = word  # type: ignore[assignment]
    if kind == "header":
        if not rest:
            raise ValueError('@header needs the name of a header: "@header trace-id"')
        return Source(kind, name=rest, text=text)
    if kind in _OF_A_PATH:
        if not rest and kind in _PATH_REQUIRED:
            raise ValueError(f'@{kind} needs a path: "@{kind} payload.value"')
        return Source(kind, _path(rest) if rest else (), text=text)
    if rest:
        raise ValueError(f"@{kind} takes nothing after it, got {rest!r}")
    return Source(kind, text=text)


def _spellings() -> list[str]:
    return sorted(f"@{kind}" for kind in _KINDS)


def _path(text: str) -> Path:
    try:
        return tuple(parse_path(text))
    except ExpressionError as error:
        raise ValueError(str(error)) from None
