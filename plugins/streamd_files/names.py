"""Names of files and objects, made of a template and the events that go into them.

    failed/%Y/%m/%d/{dlq_id}.json
    {topic}/{partition}/{first_offset:012}-{last_offset:012}.ndjson

`%Y %m %d %H %M %S` are of the record's time in UTC, `%%` is a percent sign. In braces stand
`topic`, `partition`, `offset` (also called `first_offset`), `last_offset`, `digest` (a hash of the
content), or a path into the event such as `payload.source`. Numbers may have a width: `:012`.

What comes from events is escaped: it stays one part of a path, whatever it holds.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from string import Formatter
from typing import Any, NamedTuple
from urllib.parse import quote

from streamd.api import Batch, split_partition

NUMBERS = frozenset({"offset", "first_offset", "last_offset", "partition"})
IDS = frozenset({"dlq_id", "id"})
"""Paths that identify an event. Where one is missing, the event's place stands for it."""

PLACE = frozenset({"topic", "partition"})
LATE = frozenset({"offset", "first_offset", "last_offset", "digest"})
"""Fields that are known only when it is known which rows go into the object."""

MISSING = "unknown"
"""Stands for a path that an event does not have."""

_LONGEST = 160  # bytes of one value; a file name ends at 255, an object key at 1024
_LAST_SECOND = 253_402_300_799  # of the year 9999; what is beyond is a broken clock
_DATE = re.compile(r"%(.?)")
_DEAD_LETTER_ID = re.compile(r"dlq_\d+_[A-Za-z0-9_.~%-]{1,200}")
_FIELD = re.compile(r"[^.{}\s]+(\.[^.{}\s]+)*")
_WIDTH = re.compile(r"0?\d{1,2}")


class Part(NamedTuple):
    """A piece of a template: literal text (`field` is None, `text` may be a date format), or a
    field with its width."""

    text: str
    field: str | None = None
    width: str = ""


class Template:
    """A parsed template. `fields` are the names in braces, `dated` says whether it has a date."""

    def __init__(self, text: str) -> None:
        """Raises ValueError with what is wrong with the template."""
        self.text = text
        self.parts = _parse(text)
        self.fields = frozenset(part.field for part in self.parts if part.field is not None)
        self._own = [part for part in self.parts if part.field not in LATE and _varies(part)]

    @property
    def prefix(self) -> str:
        """The beginning that all names share."""
        shared = ""
        for part in self.parts:
            shared += part.text.partition("%")[0]
            if _varies(part):
                break
        return shared

    @property
    def suffix(self) -> str:
        """The end that all names share, where it is plain text."""
        last = self.parts[-1] if self.parts else Part("")
        return "" if _varies(last) else last.text

    def columns(self, batch: Batch) -> list[tuple[str, ...]]:
        """For each row its own parts of the name. Rows that agree in them may share one."""
        if not self._own:
            return [()] * len(batch)
        return list(zip(*[_column(part, batch) for part in self._own], strict=True))

    def render(
        self, own: Sequence[str], *, first: int = 0, last: int = 0, content: bytes = b""
    ) -> str:
        """The name of what holds rows with these parts, from offset `first` to `last`."""
        late: dict[str | None, int | str] = {
            "offset": first,
            "first_offset": first,
            "last_offset": last,
        }
        if "digest" in self.fields:
            late["digest"] = hashlib.blake2b(content, digest_size=8).hexdigest()
        values = iter(own)
        return "".join(
            format(late[part.field], part.width)
            if part.field in LATE
            else next(values)
            if _varies(part)
            else part.text
            for part in self.parts
        )


def check_names_events(template: Template) -> None:
    """Whether each event gets a name of its own, the same whenever it is written.

    Raises ValueError with an explanation.
    """
    if template.fields & {"digest", *IDS} or _has_place(template):
        return
    raise ValueError(
        f"{template.text!r} gives different events the same name, and the last one would overwrite"
        " the others: it needs {dlq_id}, {id} or {digest}, or {topic} with {partition} and {offset}"
    )


def check_names_batches(template: Template) -> None:
    """Whether no batch gets the name of another one.

    Raises ValueError with an explanation.
    """
    if "digest" in template.fields or _has_place(template):
        return
    raise ValueError(
        f"{template.text!r} gives different batches the same name, and the last one would overwrite"
        " the others: it needs {digest}, or {topic} with {partition} and {first_offset}"
    )


def _has_place(template: Template) -> bool:
    return template.fields >= PLACE and bool(template.fields & {"offset", "first_offset"})


def escape(value: Any) -> str:
    """A value as one part of a path: no slash, no `..`, not hidden, not empty, not too long."""
    text = value if isinstance(value, str) else str(value)
    escaped = quote(text, safe="", errors="surrogatepass")
    if escaped.startswith("."):
        escaped = "%2E" + escaped[1:]
    if len(escaped) > _LONGEST:
        digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()
        escaped = f"{escaped[: _LONGEST - 17]}-{digest}"
    return escaped or MISSING


def lookup(event: Any, path: str) -> Any:
    """The value at a dotted path of an event (dicts or Structs); None where there is none."""
    for name in path.split("."):
        event = event.get(name) if isinstance(event, dict) else getattr(event, name, None)
    return event


def _varies(part: Part) -> bool:
    return part.field is not None or "%" in part.text


def _parse(text: str) -> list[Part]:
    parts: list[Part] = []
    for literal, field, width, conversion in Formatter().parse(text):
        for code in _DATE.findall(literal):
            if code not in tuple("YmdHMS%"):
                raise ValueError(f"%{code} is not one of %Y %m %d %H %M %S; for a % write %%")
        if literal:
            parts.append(Part(literal))
        if field is None:
            continue
        if not _FIELD.fullmatch(field) or conversion:
            raise ValueError(f"{{{field}}} is not a field")
        if width and not (field in NUMBERS and _WIDTH.fullmatch(width)):
            raise ValueError(f"{{{field}:{width}}}: only numbers have a width, such as :012")
        parts.append(Part("", field, width or ""))
    return parts


def _column(part: Part, batch: Batch) -> list[str]:
    if part.field is None:
        return _dates(part.text, batch.timestamps)
    if part.field in PLACE:
        return _places(part, batch)
    path = part.field
    if path in IDS:
        return [
            _identity(lookup(event, path), batch, row) for row, event in enumerate(batch.values)
        ]
    values = [lookup(event, path) for event in batch.values]
    texts = {value: escape(value) for value in {v for v in values if isinstance(v, str)}}
    return [
        texts[value] if isinstance(value, str) else MISSING if value is None else escape(value)
        for value in values
    ]


def _dates(text: str, timestamps: Sequence[int]) -> list[str]:
    seconds = [min(max(timestamp // 1000, 0), _LAST_SECOND) for timestamp in timestamps]
    texts = {second: datetime.fromtimestamp(second, UTC).strftime(text) for second in set(seconds)}
    return [texts[second] for second in seconds]


def _places(part: Part, batch: Batch) -> list[str]:
    column: list[str] = []
    for span in batch.spans:
        topic, number = split_partition(span.partition)
        text = escape(topic) if part.field == "topic" else format(number, part.width)
        column += [text] * span.rows
    return column


def _identity(value: Any, batch: Batch, row: int) -> str:
    if value is None or value == "":
        partition, offset = batch.locate(row)
        topic, number = split_partition(partition)
        return escape(f"{topic}-{number}-{offset}")
    # The engine has escaped the ids of dead letters; escaped again they would not be found.
    if isinstance(value, str) and _DEAD_LETTER_ID.fullmatch(value):
        return value
    return escape(value)
