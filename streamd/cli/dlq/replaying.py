"""`replay`: letters on their way back into the pipeline, and out of the store once they are there.

Batch by batch: what is in hand is noted, let in, and deleted when the daemon says that it is
durable. A command that is cut short leaves its batch in the store; the next one lets it in again.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import anyio
import msgspec

from streamd import exits
from streamd.api import DeadLetterStore, StoredLetter
from streamd.cli.dlq.clearing import chunks
from streamd.cli.dlq.editing import Edit, Edited, EditError, by_hand, transform_of
from streamd.cli.dlq.lock import InHand
from streamd.cli.dlq.looking import printable, row
from streamd.cli.dlq.progress import Progress
from streamd.cli.dlq.stores import Found
from streamd.control import Control, ControlError
from streamd.settings import Settings

Letters = Callable[[], AsyncIterator[StoredLetter]]

_MOST_BYTES = 16 * 1024 * 1024
_MOST_BY_HAND = 1000
_SHOWN_REASONS = 20
_IMPATIENT_AFTER = 10.0


async def replay(
    settings: Settings,
    found: Found,
    store: DeadLetterStore,
    letters: Letters,
    args: argparse.Namespace,
) -> int:
    """Raises EditError, ControlError or StreamdError; what was let in until then stays done."""
    run = _Replay(found, store, args)
    if args.dry_run:
        return await run.only_tell(letters())
    run.tell_left_over()
    async with AsyncExitStack() as stack:
        control = await stack.enter_async_context(Control(found.state_dir))
        progress = Progress(await _number_of(letters()) if sys.stderr.isatty() else None)
        stack.callback(progress.end)
        if args.editor:
            await run.by_hand(control, letters(), progress)
        else:
            edit = None
            if args.edit:
                edit = await transform_of(args.edit, settings, found.pipeline, stack)
            await run.all_of(control, letters(), edit, progress)
    return run.summary()


class _Replay:
    """One run of the command. `tally` counts letters by what became of them."""

    def __init__(self, found: Found, store: DeadLetterStore, args: argparse.Namespace) -> None:
        self.tally: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self._pipeline = found.pipeline.name
        self._store = store
        self._in_hand = InHand(found.state_dir, self._pipeline, found.name)
        self._args = args
        self._again: set[tuple[Any, ...]] = set()
        self._sent = 0
        self._started = anyio.current_time()

    def tell_left_over(self) -> None:
        """What the command before this one may have let in without deleting it."""
        if ids := self._in_hand.left_over():
            print(
                f"note: a replay was cut short; these {len(ids)} letters, if they are still here,"
                " may be let in a second time:",
                *map(printable, ids),
                sep="\n  ",
                file=sys.stderr,
            )

    async def only_tell(self, letters: AsyncIterator[StoredLetter]) -> int:
        """What would be let in, and where."""
        stages: Counter[str] = Counter()
        async for letter in letters:
            if not self._stays(letter):
                stages[self._args.into or str(letter.document.get("stage"))] += 1
                print("  ".join(map(printable, row(letter))))
        for stage, count in stages.most_common():
            where = "the source" if self._args.through_pipeline else printable(stage)
            print(f"{count} letters would be let in at {where}", file=sys.stderr)
        return self.summary(dry_run=True)

    async def all_of(
        self,
        control: Control,
        letters: AsyncIterator[StoredLetter],
        edit: Edit | None,
        progress: Progress,
    ) -> None:
        """Batch by batch, as they are read."""
        async for some in _bounded(letters, self._batch_size()):
            fit = [letter for letter in some if not self._stays(letter)]
            documents = [letter.document for letter in fit]
            edited = [Edited(one) for one in documents] if edit is None else await edit(documents)
            await self._let_in(control, fit, edited)
            progress.at(sum(self.tally.values()), self._note())

    async def by_hand(
        self, control: Control, letters: AsyncIterator[StoredLetter], progress: Progress
    ) -> None:
        """All of them at once through an editor. Raises EditError if they are too many."""
        fit = [letter async for letter in letters if not self._stays(letter)]
        if len(fit) > _MOST_BY_HAND:
            raise EditError(f"{len(fit)} letters are too many for an editor: give a --limit")
        edited = by_hand([letter.document for letter in fit])
        size = self._batch_size()
        for at in range(0, len(fit), size):
            await self._let_in(control, fit[at : at + size], edited[at : at + size])
            progress.at(sum(self.tally.values()), self._note())

    def summary(self, *, dry_run: bool = False) -> int:
        """Tell what became of all letters; the exit status."""
        told = ", ".join(f"{count} {fate.replace('_', ' ')}" for fate, count in self.tally.items())
        if told or not dry_run:
            print(told or "no letters")
        for reason, count in self.reasons.most_common(_SHOWN_REASONS):
            print(f"  {count} x {printable(reason)}")
        good = self.tally.keys() <= {"done", "parked", "of_other_pipelines"}
        return exits.OK if good or dry_run else exits.FAILED

    def _stays(self, letter: StoredLetter) -> bool:
        """Whether a letter is not to be let in, and why."""
        document, args = letter.document, self._args
        if letter.fault:
            return self._count("unreadable", letter.fault)
        if document.get("pipeline", self._pipeline) != self._pipeline:
            return self._count("of_other_pipelines", "")
        replays = document.get("replays", 0)
        if replays >= args.max_attempts and not args.parked:
            return self._count("parked", "")
        return _place(document) in self._again and replays > 0

    def _count(self, fate: str, reason: str) -> bool:
        self.tally[fate] += 1
        if reason:
            self.reasons[reason] += 1
        return True

    async def _let_in(
        self, control: Control, letters: Sequence[StoredLetter], edited: Sequence[Edited]
    ) -> None:
        pairs = list(zip(letters, edited, strict=True))
        for one in edited:
            if one.document is None:
                self._count("left_by_the_edit", one.reason)
        sent = [(letter, one.document) for letter, one in pairs if one.document is not None]
        if not sent:
            return
        self._in_hand.begin([str(document.get("dlq_id")) for _, document in sent])
        answers = await self._ask(control, [document for _, document in sent])
        gone = []
        for (letter, document), answer in zip(sent, answers, strict=True):
            self._count(answer["fate"], answer["reason"])
            if answer["fate"] != "refused":
                gone.append(letter)
            if answer["fate"] == "dead_lettered":
                # Its new letter may come up behind this one in the same store.
                self._again.add(_place(document))
        await self._store.remove(gone)
        self._in_hand.end()
        await self._pace(len(sent))

    async def _ask(self, control: Control, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        args = self._args
        request = {
            "pipeline": self._pipeline,
            "rows": rows,
            "into": args.into,
            "whole": args.through_pipeline,
            "again": args.past_state,
            "park_after": args.max_attempts,
        }
        failure: ControlError | None = None
        answers: list[dict[str, Any]] = []
        async with anyio.create_task_group() as group:
            group.start_soon(_grow_impatient)
            try:
                answers = (await control.ask("replay", **request))["rows"]
            except ControlError as error:
                failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if len(answers) != len(rows):
            raise ControlError("the daemon has not answered for each letter")
        return answers

    def _batch_size(self) -> int:
        most: int = self._args.batch
        rate: float | None = self._args.rate
        return most if rate is None else max(1, min(most, int(rate)))

    async def _pace(self, sent: int) -> None:
        self._sent += sent
        if self._args.rate is not None:
            due = self._started + self._sent / self._args.rate
            await anyio.sleep(max(0.0, due - anyio.current_time()))

    def _note(self) -> str:
        bad = self.tally["dead_lettered"] + self.tally["refused"]
        return f"{bad} failed" if bad else ""


def _place(document: dict[str, Any]) -> tuple[Any, ...]:
    """What stays the same of an event however often it fails."""
    metadata = document.get("metadata") or {}
    return document.get("topic"), metadata.get("partition"), metadata.get("offset")


async def _number_of(letters: AsyncIterator[StoredLetter]) -> int:
    count = 0
    async for _ in letters:
        count += 1
    return count


async def _bounded(
    letters: AsyncIterator[StoredLetter], most: int
) -> AsyncIterator[list[StoredLetter]]:
    """So many at a time, and no more bytes than one request should have."""
    async for some in chunks(letters, most):
        size, first = 0, 0
        for at, letter in enumerate(some):
            added = len(msgspec.json.encode(letter.document))
            if at > first and size + added > _MOST_BYTES:
                yield some[first:at]
                first, size = at, 0
            size += added
        yield some[first:]


async def _grow_impatient() -> None:
    await anyio.sleep(_IMPATIENT_AFTER)
    print(
        "still waiting for the daemon: the stage may be trying again, or be paused",
        file=sys.stderr,
    )
