"""What a `[[test]]` table may hold.

    [[test]]
    name = "an event that is not valid becomes a dead letter"

    [[test.input]]
    events = ['{"id": 1', { id = "x", payload = { source = "web" } }]

    [[test.expect]]
    sink = "store"
    rows = [{ id = "x" }]

    [[test.expect]]
    stream = "dead_letters"
    rows = [{ reason = "malformed" }]

Steps, policies, codecs and wiring are the real ones. Sources and sinks are in memory, and so are
checkpoints. Time is the test's own: it starts at `start` and jumps from event to timer. Of the
environment a test sees only its `env`; secrets by reference become placeholders, and for a codec
that would have to ask a server JSON stands in.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from streamd.api import Duration, doc

Moment = Annotated[datetime, Meta(tz=True)]
ErrorKind = Literal["retryable", "permanent", "rejected", "misconfigured"]

_START = datetime(2025, 11, 19, 10, 30, tzinfo=UTC)


class Input(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events that arrive at a source. Times are on the test's clock, from its start."""

    events: Annotated[
        tuple[Any, ...],
        doc("The events: a string is a record as it is, anything else the source's codec encodes."),
    ]
    source: Annotated[str | None, doc("Id of the source; not needed where there is one.")] = None
    at: Annotated[Duration, doc("When the first arrives.")] = Duration("0s")
    every: Annotated[Duration, doc("Time from one to the next.")] = Duration("0s")
    topic: Annotated[
        str | None,
        doc("Topic, by default the first of the source's topics or its path, else its own name."),
    ] = None
    partition: Annotated[int, doc("Number of the partition."), Meta(ge=0)] = 0
    key: Annotated[str | None, doc("Key of each.")] = None
    headers: Annotated[dict[str, str], doc("Headers of each.")] = field(default_factory=dict)
    timestamp: Annotated[
        Moment | None, doc("Timestamp of each record, by default when it arrives.")
    ] = None


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Writes of a sink that fail: all, unless `where`, `times`, `at` or `lasts` say less."""

    sink: Annotated[str, doc("Id of the sink.")]
    error: Annotated[ErrorKind, doc("What the sink raises.")]
    times: Annotated[Annotated[int, Meta(ge=1)] | None, doc("How many writes fail.")] = None
    at: Annotated[Duration, doc("From when on, on the test's clock.")] = Duration("0s")
    lasts: Annotated[Duration | None, doc("For how long.")] = None
    where: Annotated[
        dict[str, Any] | None,
        doc("Only writes that hold an event with these fields; rejected refuses just those."),
    ] = None
    message: Annotated[str, doc("Text of the error.")] = "a fault of the test"
    reason: Annotated[str, doc("Reason of a rejected event.")] = "fault"


class Expectation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What has come out at one place, which is a sink, step, stream or source."""

    sink: Annotated[str | None, doc("What this sink has stored.")] = None
    stream: Annotated[
        str | None, doc("What has left this stream, which some stage has to read.")
    ] = None
    step: Annotated[str | None, doc("What this step has put out, to whatever stream.")] = None
    source: Annotated[
        str | None,
        doc("What a source that answers for each event was told of those that were not stored."),
    ] = None
    rows: Annotated[
        tuple[Any, ...] | None,
        doc("Rows that came: a table of fields that a row has, or JSON text (which can say null)."),
    ] = None
    exact: Annotated[bool, doc("There are no other rows, and no other fields in them.")] = False
    in_order: Annotated[bool, doc("The rows came in this order.")] = False
    count: Annotated[Annotated[int, Meta(ge=0)] | None, doc("How many rows came.")] = None
    none: Annotated[bool, doc("No row came.")] = False
    by: Annotated[Duration | None, doc("Look only at what had come by this time.")] = None


class Scenario(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One test."""

    name: Annotated[str, doc("What is tested.")]
    expect: Annotated[tuple[Expectation, ...], doc("What has to come of it."), Meta(min_length=1)]
    pipeline: Annotated[str | None, doc("Name of the pipeline; not needed for the only one.")] = (
        None
    )
    env: Annotated[dict[str, str], doc("Environment variables.")] = field(default_factory=dict)
    start: Annotated[Moment, doc("The wall clock when the test starts.")] = _START
    until: Annotated[
        Duration | None,
        doc(
            "When the pipeline is told to stop. By default once everything that arrived is"
            " delivered; windows close only if the clock runs on for long enough."
        ),
    ] = None
    end: Annotated[
        bool, doc("The sources come to their end, as a file does: windows close then.")
    ] = False
    input: Annotated[tuple[Input, ...], doc("What arrives.")] = ()
    fault: Annotated[tuple[Fault, ...], doc("What goes wrong.")] = ()
    fails: Annotated[
        str | None, doc("The pipeline has to fail, with an error that holds this text.")
    ] = None
