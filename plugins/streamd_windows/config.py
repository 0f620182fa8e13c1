"""Settings of every kind of window. What decides the meaning of state is named in `_state`."""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta, field

from streamd.api import Duration, StageConfig, doc
from streamd_windows.results import Panes, TimeFormat
from streamd_windows.times import Unit

KEY_DOC = "Fields that make the key: one result per window and key. None: one result per window."
EARLY_DOC = "Also emit what an open window holds, where it has changed, this often; 0s: never."


class TimeConfig(StageConfig, frozen=True, kw_only=True):
    """What all kinds share: where time comes from, and how it passes."""

    _state: ClassVar[tuple[str, ...]] = ()

    time: Annotated[
        str,
        doc(
            "Event time: a field (RFC 3339 with a zone, or a number since the epoch), the source's"
            ' own ("record"), or the clock when the event is read ("processing").'
        ),
    ] = "record"
    time_unit: Annotated[Unit, doc("Unit of a time that is a number; auto goes by its size.")] = (
        "auto"
    )
    out_of_orderness: Annotated[
        Duration, doc("How far an event may lag behind the latest one of its partition.")
    ] = Duration("5s")
    allowed_lateness: Annotated[
        Duration,
        doc("How long after its close a window still takes events and emits a corrected result."),
    ] = Duration("0s")
    idle_after: Annotated[
        Duration,
        doc("A partition silent for so long does not hold time back any more; 0s: it always does."),
    ] = Duration("60s")
    close_idle_after: Annotated[
        Duration,
        doc("When all is silent for so long, open windows close by the wall clock; 0s: never."),
    ] = Duration("120s")
    max_future: Annotated[
        Duration, doc("An event whose time is further ahead of the wall clock is rejected.")
    ] = Duration("1h")
    aligned: Annotated[
        bool,
        doc(
            "The source is partitioned by this key: all events of a key come by one partition."
            " Needed where several daemons share the partitions."
        ),
    ] = False
    time_format: Annotated[
        TimeFormat, doc("Times in results: milliseconds since the epoch, or RFC 3339.")
    ] = "ms"

    def emits(self, stage: str) -> tuple[str, ...]:
        return (f"{stage}.late",)

    def state_key(self) -> str:
        """Only what changes the meaning of cells counts: triggers and delays may be tuned."""
        given = [(name, getattr(self, name)) for name in self._state]
        # However it is written: "60s" is "1m".
        parts = [(name, to_ms(v) if isinstance(v, Duration) else v) for name, v in given]
        data = msgspec.json.encode([type(self).__qualname__, parts], enc_hook=repr, order="sorted")
        return hashlib.blake2b(data, digest_size=16).hexdigest()

    def notes(self) -> tuple[str, ...]:
        """What it takes to run the stage in several daemons of one group."""
        return (_alignment(self.key_fields(), self.aligned),)

    def key_fields(self) -> tuple[str, ...]:
        """The fields of the key, whatever the setting is called."""
        return ()


class AggregateConfig(TimeConfig, frozen=True, kw_only=True):
    """What windows with aggregations share."""

    key: Annotated[tuple[str, ...], doc(KEY_DOC, example=["payload.source"])] = ()
    aggregate: Annotated[
        dict[str, str],
        doc(
            "Fields of a result: count(), sum(f), min(f), max(f), avg(f), first(f), last(f),"
            " distinct(f), group_count(f), top_k(f, 10), percentiles(f, 50, 99), collect(f, 100).",
            example={"events": "count()", "top": "top_k(payload.user_id, 10)"},
        ),
    ] = field(default_factory=lambda: {"count": "count()"})
    early_every: Annotated[Duration, doc(EARLY_DOC)] = Duration("0s")
    panes: Annotated[
        Panes,
        doc(
            "Whether a later result of the same window and key has the same id, so that a sink"
            " replaces the earlier one, or an id of its own (keep)."
        ),
    ] = "replace"

    def key_fields(self) -> tuple[str, ...]:
        return self.key


class PaneConfig(AggregateConfig, frozen=True, kw_only=True):
    """Tumbling and sliding windows."""

    size: Annotated[Duration, doc("Length of a window.", example="60s")]
    offset: Annotated[
        Duration, doc("Windows start at multiples of their step since 1970 UTC plus this.")
    ] = Duration("0s")
    early_events: Annotated[
        int,
        doc("Also emit a window and key after every so many of its events; 0: never."),
        Meta(ge=0),
    ] = 0


class TumblingConfig(PaneConfig, frozen=True, kw_only=True):
    """Windows that follow each other without overlap."""

    _state: ClassVar[tuple[str, ...]] = ("size", "offset", "key", "time", "aggregate")


class SlidingConfig(PaneConfig, frozen=True, kw_only=True):
    """Windows of `size` that start every `slide`."""

    _state: ClassVar[tuple[str, ...]] = ("size", "slide", "offset", "key", "time", "aggregate")

    slide: Annotated[Duration, doc("Time from one window's start to the next.", example="10s")]


class SessionConfig(AggregateConfig, frozen=True, kw_only=True):
    """Windows that last as long as the events of a key follow each other."""

    _state: ClassVar[tuple[str, ...]] = ("gap", "key", "time", "aggregate")

    gap: Annotated[
        Duration, doc("A session ends when its key is silent for so long.", example="30m")
    ]


class JoinConfig(TimeConfig, frozen=True, kw_only=True):
    """Pairs of events of two streams."""

    # The kind too: only what may be emitted alone remembers that it had a partner.
    _state: ClassVar[tuple[str, ...]] = (
        "left",
        "right",
        "on",
        "right_on",
        "within",
        "time",
        "kind",
    )

    left: Annotated[str, doc("Stream on the left.", example="clicks")]
    right: Annotated[str, doc("Stream on the right.", example="orders")]
    on: Annotated[tuple[str, ...], doc("Fields that must be equal.", example=["payload.user_id"])]
    right_on: Annotated[
        tuple[str, ...], doc("The fields of the right stream, where they have other names.")
    ] = ()
    within: Annotated[
        Duration, doc("How far apart in event time two events may be.", example="60s")
    ]
    kind: Annotated[
        Literal["inner", "left", "right", "full"],
        doc("Which events are also emitted alone, once no partner can come any more."),
    ] = "inner"
    max_events: Annotated[
        int, doc("Most events held; beyond it the oldest are let go and counted."), Meta(ge=1)
    ] = 1_000_000
    max_per_key: Annotated[
        int, doc("Most events held of one key and stream; beyond it the oldest go."), Meta(ge=1)
    ] = 10_000

    def reads(self) -> tuple[str, ...]:
        return (self.left, self.right)

    def key_fields(self) -> tuple[str, ...]:
        return self.on


def to_ms(duration: Duration) -> int:
    """A setting in the unit that event time has here."""
    return round(duration * 1000)


def _alignment(fields: tuple[str, ...], aligned: bool) -> str:
    if not fields:
        return (
            "Without a key one process has to see every event: run this pipeline in one daemon."
            " Several daemons would each count their own partitions."
        )
    names = ", ".join(fields)
    if aligned:
        return f"Runs in several daemons, as long as the source is partitioned by {names}."
    return (
        f"Right in one daemon. To run several, send the events through a Kafka sink keyed by"
        f" {names} into a topic, read that topic here, and set aligned = true."
    )
