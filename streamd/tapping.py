"""The command `tap` of the control socket: which stage is meant, and the events as they come.

The answer is a line for each event and one for each thing to tell; see `Line`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Annotated

import anyio
import msgspec
from anyio.abc import ByteStream
from msgspec import Meta, Struct

from streamd.api import Condition
from streamd.engine.supervisor import Supervisor
from streamd.engine.tap import Tap
from streamd.engine.tap_limits import Budget
from streamd.settings.model import MAIN, PipelineSpec, StageSpec
from streamd.settings.problems import nearest

Compile = Callable[[str], Condition | None]

_LOOK_EVERY = 0.5  # seconds, whether the stage is still there
_TELL_EVERY = 1.0
_HANGS_UP_WITHIN = 5.0


class TapRefusedError(Exception):
    """There is nothing to tap. The message says why."""


class TapRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What to show: of `stage`, which is `[PIPELINE/]STAGE[.STREAM]`, the events that leave it.

    With `rejects`: those that it refuses instead. One in so many of them, as long as they meet
    the condition `filter`, and then no more than `limit`.
    """

    stage: str
    pipeline: str | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None
    one_in: Annotated[float, Meta(ge=1)] = 1.0
    filter: str | None = None
    rejects: bool = False


class Line(Struct, omit_defaults=True):
    """A line of the answer.

    `tapping`: what is tapped; the first line. `event`: a JSON object. `passed_by`, `cannot_judge`
    with `reason`: see `Tap`, in all so far. `ended`: why nothing more comes, `done` if that is
    because the limit is reached; the last line.
    """

    tapping: str = ""
    event: msgspec.Raw = msgspec.Raw()
    passed_by: int = 0
    cannot_judge: int = 0
    reason: str = ""
    ended: str = ""
    done: bool = False


class Place(Struct, frozen=True):
    """A stage, or one stream that it writes."""

    pipeline: str
    stage: str
    role: str
    stream: str | None = None

    def __str__(self) -> str:
        stream = "" if self.stream is None else f", stream {self.stream}"
        return f"{self.role} {self.pipeline}/{self.stage}{stream}"


def find(pipelines: Mapping[str, PipelineSpec], name: str, pipeline: str | None) -> Place:
    """The place that is called `[PIPELINE/]STAGE[.STREAM]`.

    Raises TapRefusedError if there is none, or several.
    """
    within, slash, rest = name.rpartition("/")
    if slash and pipeline is not None and pipeline != within:
        raise TapRefusedError(f"{name} is not of the pipeline {pipeline}")
    pipeline = within if slash else pipeline
    if pipeline is not None and pipeline not in pipelines:
        raise TapRefusedError(f"there is no pipeline {pipeline}{nearest(pipeline, pipelines)}")
    stage, _, stream = rest.partition(".")
    stages = [
        (spec, one)
        for spec in pipelines.values()
        if pipeline in (None, spec.name)
        for one in (*spec.sources, *spec.steps, *spec.sinks)
    ]
    found = [(spec, one) for spec, one in stages if one.id == stage]
    if not found:
        raise TapRefusedError(
            f"there is no stage {stage}{nearest(stage, {s.id for _, s in stages})}"
        )
    if len(found) > 1:
        names = ", ".join(f"{spec.name}/{rest}" for spec, _ in found)
        raise TapRefusedError(f"several pipelines have a stage {stage}: {names}")
    spec, one = found[0]
    return Place(spec.name, stage, one.role, _stream(one, stream) if stream else None)


def _stream(stage: StageSpec, name: str) -> str:
    """The stream of that name, or of the name without the stage's own before it."""
    own = (
        () if stage.role == "sink" else (stage.output,) if stage.output else stage.inputs or (MAIN,)
    )
    streams = dict.fromkeys((*own, *stage.config.emits(stage.id)))
    for known in (f"{stage.id}.{name}", name):
        if known in streams:
            return known
    ends = [known.removeprefix(f"{stage.id}.") for known in streams]
    raise TapRefusedError(f"{stage.id} writes no stream {name}{nearest(name, ends)}")


class Tapping:
    """A tap that was asked for; it is put on when the answer begins."""

    def __init__(
        self, supervisors: Mapping[str, Supervisor], request: TapRequest, place: Place, tap: Tap
    ) -> None:
        self._supervisors = supervisors
        self._supervisor = supervisors[place.pipeline]
        self._request = request
        self._place = place
        self._tap = tap
        self._told = Line()
        self._tell_again = 0.0

    async def answer(self, stream: ByteStream) -> None:
        """Returns when nothing more comes, or when whoever has asked is gone."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._until_hung_up, stream)
            # Nobody to tell where whoever asked has gone.
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError), self._tap:
                await self._follow(stream)
                await stream.send_eof()
            # The other side hangs up now; a wait that is cancelled just then is an error for the
            # event loop.
            group.cancel_scope.deadline = anyio.current_time() + _HANGS_UP_WITHIN

    async def _until_hung_up(self, stream: ByteStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await stream.receive()
        self._tap.end("whoever has asked is gone")

    async def _follow(self, stream: ByteStream) -> None:
        await stream.send(_encode(Line(tapping=str(self._place))))
        ended = ""
        while not ended:
            await self._tap.arrived.wait(_LOOK_EVERY)
            ended = self._tap.ended or self._gone()
            lines = [b'{"event":%b}\n' % event for event in self._tap.fetch()]
            lines += map(_encode, self._counts(last=bool(ended)))
            if ended:
                lines.append(_encode(Line(ended=ended, done=self._tap.done)))
            if lines:
                await stream.send(b"".join(lines))

    def _counts(self, *, last: bool) -> Iterator[Line]:
        """What there is to tell beside the events, now and then."""
        tap, now = self._tap, anyio.current_time()
        counts = Line(passed_by=tap.passed_by, cannot_judge=tap.cannot_judge, reason=tap.reason)
        if counts != self._told and (last or now >= self._tell_again):
            self._told, self._tell_again = counts, now + _TELL_EVERY
            yield counts

    def _gone(self) -> str:
        """Why the stage cannot be tapped any more, if it cannot."""
        name, request = self._place.pipeline, self._request
        supervisor = self._supervisors.get(name)
        if supervisor is not self._supervisor or supervisor.ended:
            return f"the pipeline {name} has ended"
        try:
            if find({name: supervisor.spec}, request.stage, request.pipeline) == self._place:
                return ""
        except TapRefusedError:
            pass
        return f"the configuration was reloaded: there is no {self._place} any more"


def prepare(
    supervisors: Mapping[str, Supervisor], request: TapRequest, compile_: Compile, budget: Budget
) -> Tapping:
    """Raises TapRefusedError."""
    specs = {name: supervisor.spec for name, supervisor in supervisors.items()}
    place = find(specs, request.stage, request.pipeline)
    tap = Tap(
        supervisors[place.pipeline].outlets.of(place.pipeline, place.stage),
        budget,
        stream=place.stream,
        rejects=request.rejects,
        limit=request.limit,
        one_in=request.one_in,
        condition=None if request.filter is None else _condition(request.filter, compile_),
    )
    return Tapping(supervisors, request, place, tap)


def _condition(text: str, compile_: Compile) -> Condition:
    try:
        condition = compile_(text)
    except ValueError as error:
        raise TapRefusedError(f"the filter: {error}") from error
    if condition is None:
        raise TapRefusedError("no plugin of the daemon knows filters")
    return condition


def _encode(line: Line) -> bytes:
    return msgspec.json.encode(line) + b"\n"
