"""Changing events before they are let in again: by a transform, or by hand."""

from __future__ import annotations

import base64
import os
import shlex
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from inspect import isawaitable
from pathlib import Path
from typing import Any

import msgspec

from streamd.api import Batch, ConfigError, Rejects, Span, Step
from streamd.settings import Settings, SettingsError
from streamd.settings.construct import build, context_for
from streamd.settings.model import MAIN, PipelineSpec, StageSpec
from streamd.settings.problems import Problems
from streamd.settings.stages import Reader

Document = dict[str, Any]


class EditError(ValueError):
    """The edit is wrong as such; the message says why."""


class Edited(msgspec.Struct, frozen=True):
    """A letter's document after the edit, or why it is left as it is."""

    document: Document | None
    reason: str = ""


Edit = Callable[[Sequence[Document]], Any]
"""Awaitable: an `Edited` for each document, in their order."""


async def transform_of(
    text: str, settings: Settings, pipeline: PipelineSpec, stack: AsyncExitStack
) -> Edit:
    """The edit by a transform, whose table is the text or in the file after an @.

    The transform stays open with the stack. Raises EditError.
    """
    table = _table(text)
    problems = Problems("--edit", {})
    plugin = Reader(settings.catalog, problems).plugin("transform", table, ("edit",))
    if plugin is None or problems.found:
        raise EditError(str(SettingsError(problems.found)))
    spec = StageSpec(**msgspec.structs.asdict(plugin), id="edit", inputs=(MAIN,), output=MAIN)
    state_dir = Path(settings.daemon.state_dir)
    try:
        step: Step = build(spec, context_for(spec, pipeline, settings.catalog, state_dir))
    except ConfigError as error:
        raise EditError(f"--edit: {error.path}: {error}") from error
    await stack.enter_async_context(step)

    async def edit(documents: Sequence[Document]) -> list[Edited]:
        return await _edit(step, documents)

    return edit


def _table(text: str) -> dict[str, Any]:
    try:
        if text.startswith("@"):
            return tomllib.loads(Path(text[1:]).read_text("utf-8"))
        found: dict[str, Any] = tomllib.loads(f"edit = {{ {text} }}")["edit"]
    except (OSError, ValueError) as error:
        raise EditError(f"--edit: {error}") from error
    return found


async def _edit(step: Step, documents: Sequence[Document]) -> list[Edited]:
    events = [event_of(document) for document in documents]
    known = [row for row, event in enumerate(events) if event is not None]
    results: dict[int, list[Any]] = {row: [] for row in known}
    reasons: dict[int, str] = dict.fromkeys(range(len(documents)), "its event is not known")
    reasons |= dict.fromkeys(known, "the edit leaves nothing of it")
    if known:
        found = step.process(_batch(known, events))
        for result in (await found) if isawaitable(found) else found:
            if isinstance(result, Rejects):
                reasons |= {known[at]: reject.message for at, reject in result.rows.items()}
                continue
            # The offset of a row is its number here, whatever the step has done with it.
            for offset, value in zip(result.offsets, result.values, strict=True):
                results[offset].append(value)
    edited = []
    for row, document in enumerate(documents):
        values = results.get(row, [])
        if len(values) > 1:
            raise EditError("--edit: it makes several events of one")
        edited.append(
            Edited(with_event(document, values[0])) if values else Edited(None, reasons[row])
        )
    return edited


def _batch(rows: Sequence[int], events: Sequence[Any]) -> Batch:
    return Batch(
        [events[row] for row in rows],
        offsets=list(rows),
        timestamps=[0] * len(rows),
        spans=[Span("edit:0", rows[0], rows[-1] + 1, len(rows))],
        stream=MAIN,
    )


def event_of(document: Mapping[str, Any]) -> Any:
    """The event as its stage saw it; None where only bytes are known."""
    return document["event"] if "event" in document else document.get("original_message")


def with_event(document: Document, event: Any) -> Document:
    """The document with this event in place of its own."""
    event = msgspec.to_builtins(event)
    if "event" not in document and event == document.get("original_message"):
        return document
    return {**document, "event": event, "edited": True}


# --- by hand ------------------------------------------------------------------------------


def by_hand(documents: Sequence[Document]) -> list[Edited]:
    """The documents after a person has changed them in $VISUAL or $EDITOR.

    Raises EditError if the editor fails, or what it left cannot be read.
    """
    lines = [msgspec.json.encode(_line(n, document)) for n, document in enumerate(documents)]
    with tempfile.TemporaryDirectory(prefix="streamd-dlq-") as folder:
        path = Path(folder) / "events.jsonl"
        path.write_bytes(b"\n".join([*lines, b""]))
        command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        if subprocess.run([*shlex.split(command), str(path)], check=False).returncode:
            raise EditError(f"{command} has failed: nothing is changed")
        return read_lines(path.read_bytes(), documents)


def read_lines(content: bytes, documents: Sequence[Document]) -> list[Edited]:
    """A line that is gone leaves its letter alone. Raises EditError."""
    edited = [Edited(None, "its line was deleted")] * len(documents)
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found = msgspec.json.decode(line, type=dict[str, Any])
            row = range(len(documents))[found["row"]]
            edited[row] = Edited(_apply(found, documents[row]))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise EditError(f"line {number}: {error!r}: nothing is changed") from error
    return edited


def _line(row: int, document: Document) -> Document:
    """What a person sees of a letter: its event, or its bytes as text."""
    shown: Document = {"row": row, "dlq_id": document.get("dlq_id")}
    event = event_of(document)
    if event is None and isinstance(raw := document.get("original_bytes"), str):
        return shown | {"text": base64.b64decode(raw).decode("utf-8", "backslashreplace")}
    return shown | {"event": event}


def _apply(found: Document, document: Document) -> Document:
    if "event" in found:
        return with_event(document, found["event"])
    text = found["text"]
    if text == _line(0, document).get("text"):
        return document
    raw = base64.b64encode(text.encode()).decode()
    return {**document, "original_bytes": raw, "original_message": None, "edited": True}
