"""Checks on a pipeline's streams: everything written is read, everything read is written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from streamd.api import DEAD_LETTERS, Backlog
from streamd.settings.keys import STEP_ROLES
from streamd.settings.lines import Path
from streamd.settings.model import PipelineOptions, PluginSpec
from streamd.settings.problems import Problems, nearest
from streamd.settings.stages import Draft


def readers(drafts: Iterable[Draft]) -> frozenset[str]:
    """Streams that some stage reads."""
    return frozenset(stream for draft in drafts for stream in draft.inputs or ())


def check(
    drafts: Sequence[Draft],
    policies: tuple[PluginSpec, ...] | None,
    options: PipelineOptions,
    path: Path,
    problems: Problems,
) -> None:
    """Note every fault in the wiring of a pipeline.

    Where a stage could not be read, what it would read or write is unknown: checks that need to
    know are left out rather than guessed.
    """
    for role in ("source", "sink"):
        if not any(draft.role == role for draft in drafts):
            problems.add((*path, role), f"required: a pipeline has a {role}")
    if any(draft.unclear for draft in drafts):
        return
    for draft in drafts:
        _check_dead_letters(draft, problems)
    _check_kinds(drafts, policies, problems)
    _check_backlog(drafts, options, path, problems)
    _check_policies(drafts, policies, path, problems)
    written = _written(drafts)
    steps = [draft for draft in drafts if draft.role in STEP_ROLES]
    if all(draft.spec is not None for draft in steps):
        elsewhere = {DEAD_LETTERS: None, **_late(drafts)}
        routed = dict.fromkeys(_routed(drafts, policies))
        _check_names(drafts, options, {**routed, **elsewhere, **written}, path, problems)
    if all(draft.inputs is not None for draft in drafts if draft.role != "source"):
        _check_cycles(steps, problems)
        _check_left(drafts, problems)
        if any(draft.role == "sink" for draft in drafts):
            _check_unread(drafts, options, written, problems)


def _check_backlog(
    drafts: Sequence[Draft], options: PipelineOptions, path: Path, problems: Problems
) -> None:
    sinks = [draft.id for draft in drafts if draft.role == "sink"]
    if options.backlog is not None and options.backlog not in sinks:
        where = (*path, "backlog")
        problems.add(
            where, f'no sink has the id "{options.backlog}"{nearest(options.backlog, sinks)}'
        )
    for draft in drafts:
        countable = draft.spec is None or issubclass(draft.spec.cls, Backlog)
        if draft.id == options.backlog and draft.role == "sink" and not countable:
            message = f"{draft.name} cannot count what it holds"
            problems.add((*path, "backlog"), message, (*draft.path, "id"))


def _written(drafts: Sequence[Draft]) -> dict[str, Path]:
    """Each stream that a stage writes, with a stage that does."""
    written: dict[str, Path] = {}
    for draft in drafts:
        for stream in (draft.output, *draft.emits):
            if stream:
                written.setdefault(stream, draft.path)
    return written


def _late(drafts: Sequence[Draft]) -> dict[str, Path]:
    return {f"{draft.id}.late": draft.path for draft in drafts if draft.role == "window"}


def _routed(drafts: Sequence[Draft], policies: tuple[PluginSpec, ...] | None) -> set[str]:
    return {
        stream
        for draft in drafts
        for policy in draft.policies or policies or ()
        for stream in policy.config.emits(draft.id)
    }


def _check_names(
    drafts: Sequence[Draft],
    options: PipelineOptions,
    known: Mapping[str, Path | None],
    path: Path,
    problems: Problems,
) -> None:
    """`known` has every stream, with the stage that writes it."""

    def refuse(where: Path, stream: str) -> None:
        near = difflib.get_close_matches(stream, known, n=1)
        message = f'no stage writes the stream "{stream}"{nearest(stream, known)}'
        problems.add(where, message, known[near[0]] if near else None)

    for draft in drafts:
        for at, stream in enumerate(draft.inputs or ()):
            if stream not in known:
                where = (
                    *draft.path,
                    *(() if draft.spec and draft.spec.config.reads() else ("inputs", at)),
                )
                refuse(where, stream)
    for at, stream in enumerate(options.drop_streams):
        if stream not in known:
            refuse((*path, "drop_streams", at), stream)


def _check_unread(
    drafts: Sequence[Draft], options: PipelineOptions, written: dict[str, Path], problems: Problems
) -> None:
    """A step that only rewrites a stream does not count as its reader."""
    read = {
        stream
        for draft in drafts
        for stream in draft.inputs or ()
        if draft.role not in STEP_ROLES or stream != draft.output
    }
    optional = {f"{draft.id}.late" for draft in drafts}
    for stream, path in written.items():
        if stream not in read | optional | set(options.drop_streams):
            problems.add(
                path,
                f'nobody reads the stream "{stream}" that this stage writes; give it a reader'
                " (inputs) or name it in drop_streams",
            )


def _check_left(drafts: Sequence[Draft], problems: Problems) -> None:
    """Behind a step that sends all events to other streams nothing is left to be read.

    Steps run in the order of the drafts, sinks after them.
    """
    taken: dict[str, str] = {}
    for draft in drafts:
        for at, stream in enumerate(draft.inputs or ()):
            if stream in taken:
                named = (*draft.path, "inputs", at)
                problems.add(
                    named if named in problems.lines else draft.path,
                    f'nothing is left in the stream "{stream}": {taken[stream]} sends all of its'
                    " events to other streams",
                )
        if draft.spec is not None and not draft.spec.config.passes_on():
            taken.update(dict.fromkeys(draft.inputs or (), draft.id))


def _check_dead_letters(draft: Draft, problems: Problems) -> None:
    if draft.role in STEP_ROLES and DEAD_LETTERS in (draft.inputs or ()):
        problems.add((*draft.path, "inputs"), f"only sinks can read {DEAD_LETTERS}")
    if draft.role != "sink" and DEAD_LETTERS in (draft.output, *draft.emits):
        problems.add(draft.path, f"only policies write {DEAD_LETTERS}")


def _check_kinds(
    drafts: Sequence[Draft], policies: tuple[PluginSpec, ...] | None, problems: Problems
) -> None:
    """Dead letters come from the sinks' side of the pipeline, and are no events."""
    dead = {DEAD_LETTERS, *_routed(drafts, policies)}
    for draft in drafts:
        inputs = draft.inputs or ()
        letters = [at for at, stream in enumerate(inputs) if stream in dead]
        if draft.role in STEP_ROLES and letters and DEAD_LETTERS not in inputs:
            message = f"only sinks can read dead letters, as in {inputs[letters[0]]}"
            problems.add((*draft.path, "inputs"), message)
        if draft.role == "sink" and 0 < len(letters) < len(inputs):
            problems.add(
                (*draft.path, "inputs"),
                f"{inputs[letters[0]]} has dead letters: they and other events need a sink each",
            )
        where = (*draft.path, "output")
        several = draft.role in STEP_ROLES and len(inputs) > 1
        if several and draft.output in inputs and not problems.within(where):
            problems.add(where, "with several inputs, output must be a stream of its own")


def _check_policies(
    drafts: Sequence[Draft],
    policies: tuple[PluginSpec, ...] | None,
    path: Path,
    problems: Problems,
) -> None:
    """Every stream that an explicit policy routes to needs a reader."""
    read = readers(drafts)
    owners = [(policies, "", path), *((draft.policies, draft.id, draft.path) for draft in drafts)]
    for owned, stage, where in owners:
        for at, policy in enumerate(owned or ()):
            for stream in policy.config.emits(stage):
                if stream not in read:
                    problems.add(
                        (*where, "policy", at),
                        f'nobody reads the stream "{stream}" that this policy routes to;'
                        f' give it a sink with inputs = ["{stream}"]',
                    )


def _check_cycles(steps: Sequence[Draft], problems: Problems) -> None:
    """Streams must not lead back to themselves; rewriting one in place is no cycle."""
    next_of: dict[str, set[str]] = {}
    for step in steps:
        for stream in step.inputs or ():
            targets = {one for one in (step.output, *step.emits) if one and one != stream}
            next_of.setdefault(stream, set()).update(targets)
    for step in steps:
        if step.output is None or step.output in (step.inputs or ()):
            if step.role == "window" and step.output:
                problems.add(
                    (*step.path, "id"), f'a window cannot write "{step.output}", its input'
                )
            continue
        if back := _way(step.output, set(step.inputs or ()), next_of):
            others = (one.path for one in steps if back[-2] in (one.output, *one.emits))
            problems.add(
                step.path,
                f"the streams run in a circle: {' -> '.join(back)}",
                next((path for path in others if path != step.path), None),
            )
            return


def _way(start: str, goals: set[str], next_of: dict[str, set[str]]) -> list[str]:
    """A way along the streams from one to any of the goals and on to the start, if there is one."""
    ways = [[start]]
    seen = {start}
    while ways:
        way = ways.pop(0)
        if way[-1] in goals:
            return [*way, start]
        for stream in sorted(next_of.get(way[-1], set()) - seen):
            seen.add(stream)
            ways.append([*way, stream])
    return []
