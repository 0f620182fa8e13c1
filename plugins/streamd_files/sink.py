"""Events into files: as lines of one, or as one file each."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from anyio import to_thread

from streamd.api import (
    DEAD_LETTERS,
    Batch,
    BatchLimits,
    ConfigError,
    DeadLetterStore,
    LetterFile,
    Misconfigured,
    Retryable,
    StageConfig,
    StageContext,
    StreamdError,
    doc,
)
from streamd_files.apart import Place, place_in, place_of, told_apart
from streamd_files.durable import append_lines, replace_files
from streamd_files.encoding import codec_of, encode, encode_lines
from streamd_files.names import LATE, Template, check_names_events

_FOR_A_PERSON = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}


class FileSink:
    """Write events to files, safe on the disk when a write returns."""

    class Config(StageConfig, frozen=True, kw_only=True):
        path: Annotated[
            str,
            doc(
                "File to write, with fields such as %Y-%m-%d, {topic} or {payload.source}. By"
                " default <stage>.jsonl under state_dir, and for dead letters"
                " dead_letters/%Y/%m/%d/{dlq_id}.json there.",
                example="var/events-%Y-%m-%d.jsonl",
            ),
        ] = ""
        files: Annotated[
            Literal["auto", "lines", "event"],
            doc(
                "Append each event as a line, or write one file per event, which a replay"
                " overwrites; auto does that for dead letters."
            ),
        ] = "auto"
        sync: Annotated[
            bool, doc("Wait for the disk. Without it a power cut loses what was written last.")
        ] = True

    batch: ClassVar[BatchLimits] = BatchLimits(rows=5000)

    def __init__(self, config: Config, context: StageContext) -> None:
        self._log = context.log
        self._sync = config.sync
        self._dead_letters = set(context.inputs) == {DEAD_LETTERS}
        self._per_event = config.files == "event" or (config.files == "auto" and self._dead_letters)
        self._codec = codec_of(context, lines=not self._per_event)
        self._template = _template(config, context, per_event=self._per_event)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    async def write(self, batch: Batch) -> None:
        # Not abandoned when it is cancelled: a write that was begun is finished.
        await to_thread.run_sync(
            self._write_events if self._per_event else self._write_lines, batch
        )

    async def healthcheck(self) -> str:
        return await to_thread.run_sync(self._check)

    async def backlog(self) -> int:
        """Files, or lines in them, that are there now."""
        return await to_thread.run_sync(self._count)

    def dead_letters(self) -> AbstractAsyncContextManager[DeadLetterStore]:
        """The files that are there when it is opened."""
        from streamd_files.letters import open_files, open_lines

        opened = open_files if self._per_event else open_lines
        return opened(self._present, self._codec)

    def _write_lines(self, batch: Batch) -> None:
        encoded = encode_lines(self._codec, batch)
        bodies: dict[tuple[str, ...], list[bytes]] = {}
        columns = self._template.columns(encoded.batch)
        for own, record in zip(columns, encoded.records, strict=True):
            bodies.setdefault(own, []).append(record)
        try:
            for own, records in bodies.items():
                path = self._template.render(own)
                torn = append_lines(Path(path), b"\n".join([*records, b""]), sync=self._sync)
                if torn:
                    self._log.warning(
                        "Moved a half-written line away", path=f"{path}.torn", size=torn
                    )
        except OSError as error:
            raise _error_of(error) from error
        encoded.raise_rejects()

    def _write_events(self, batch: Batch) -> None:
        encoded = encode(self._codec, batch)
        template, left = self._template, encoded.batch
        rows = zip(template.columns(left), left.offsets, encoded.records, strict=True)
        names = [
            template.render(own, first=offset, last=offset, content=record)
            for own, offset, record in rows
        ]
        files: dict[str, bytes] = {}
        places: dict[str, Place | None] = {}
        for name, record, value in zip(names, encoded.records, left.values, strict=True):
            place = place_of(value) if self._dead_letters else None
            if place is not None and _holder(name, places) not in (None, place):
                name = told_apart(name, template.suffix, place)
            files[name], places[name] = record, place
        try:
            replace_files(((Path(path), body) for path, body in files.items()), sync=self._sync)
        except OSError as error:
            raise _error_of(error) from error
        encoded.raise_rejects()

    def _check(self) -> str:
        folder = _folder_of(self._template.prefix)
        present = next(place for place in (folder, *folder.parents) if place.exists())
        if not present.is_dir():
            raise Misconfigured(f"{present} is no directory")
        if not os.access(present, os.W_OK | os.X_OK):
            raise Misconfigured(f"may not write to {present}")
        return f"writes to {self._template.text}"

    def _count(self) -> int:
        paths = list(self._present())
        if self._per_event:
            return len(paths)
        return sum(LetterFile(path, _unread).count() for path in paths)

    def _present(self) -> Iterator[Path]:
        """The files that exist of those that the template names."""
        prefix = self._template.prefix
        if prefix == self._template.text:
            yield from filter(Path.exists, [Path(prefix)])
            return
        start = os.path.abspath(prefix + "-")[:-1]
        for folder, _, names in os.walk(_folder_of(prefix)):
            for name in names:
                path = os.path.join(folder, name)
                if path.startswith(start) and path.endswith(self._template.suffix):
                    yield Path(path)


def _holder(name: str, places: Mapping[str, Place | None]) -> Place | None:
    """The event whose dead letter has this name, in this write or on the disk."""
    if name in places:
        return places[name]
    try:
        return place_in(Path(name).read_bytes())
    except OSError:
        return None  # none is there, or the write will say what is wrong


def _template(config: FileSink.Config, context: StageContext, *, per_event: bool) -> Template:
    text = config.path
    if not text:
        name = "dead_letters/%Y/%m/%d/{dlq_id}.json" if per_event else f"{context.stage}.jsonl"
        text = f"{_literally(str(context.state_dir))}/{name}"
    try:
        template = Template(text)
        if per_event:
            check_names_events(template)
        elif template.fields & LATE:
            raise ValueError(f"{text!r}: lines of many batches share a file, it has no offset")
    except ValueError as error:
        raise ConfigError(str(error), path="path") from None
    return template


def _folder_of(prefix: str) -> Path:
    """Where all names are that begin so."""
    return Path(prefix + "-").absolute().parent


def _literally(text: str) -> str:
    return text.replace("%", "%%").replace("{", "{{").replace("}", "}}")


def _error_of(error: OSError) -> StreamdError:
    message = f"{error.filename or 'file'}: {error.strerror}"
    return Misconfigured(message) if error.errno in _FOR_A_PERSON else Retryable(message)


def _unread(line: bytes) -> dict[str, Any]:
    raise ValueError(line)
