"""The plugins `tumbling`, `sliding`, `session` and `join`."""

from __future__ import annotations

from streamd.api import ConfigError, StageContext
from streamd_windows.aggregates import parse_aggregates
from streamd_windows.config import (
    AggregateConfig,
    JoinConfig,
    PaneConfig,
    SessionConfig,
    SlidingConfig,
    TumblingConfig,
    to_ms,
)
from streamd_windows.join_buffer import JoinBuffer
from streamd_windows.joins import JoinWindower
from streamd_windows.keys import key_names, key_reader
from streamd_windows.layout import Layout
from streamd_windows.panes import PaneWindower
from streamd_windows.results import ResultRows
from streamd_windows.rows import FIXED, Columns
from streamd_windows.sessions import SessionWindower
from streamd_windows.stage import WindowStage

MAX_PANES = 10_000


class _PaneStage(WindowStage):
    def __init__(self, config: PaneConfig, context: StageContext, slide: int) -> None:
        columns = columns_of(config, context)
        windower = PaneWindower(
            _layout(config, slide),
            columns,
            result_rows(config, context),
            lateness=to_ms(config.allowed_lateness),
            early_events=config.early_events,
            repeats=bool(config.early_every),
        )
        keys = key_reader(config.key)
        super().__init__(
            config,
            context,
            windower,
            lambda _, values: keys(values),
            columns,
            to_ms(config.early_every),
        )


class TumblingStage(_PaneStage):
    """Aggregate the events of each key in windows that follow each other."""

    Config = TumblingConfig

    def __init__(self, config: TumblingConfig, context: StageContext) -> None:
        super().__init__(config, context, to_ms(config.size))


class SlidingStage(_PaneStage):
    """Aggregate the events of each key in windows that overlap (hopping windows)."""

    Config = SlidingConfig

    def __init__(self, config: SlidingConfig, context: StageContext) -> None:
        super().__init__(config, context, to_ms(config.slide))


class SessionStage(WindowStage):
    """Aggregate the events of each key in sessions that end when the key is silent for a while."""

    Config = SessionConfig

    def __init__(self, config: SessionConfig, context: StageContext) -> None:
        if to_ms(config.gap) < 1:
            raise ConfigError("a gap is at least 1ms", path="gap")
        columns = columns_of(config, context)
        early_every = to_ms(config.early_every)
        windower = SessionWindower(
            to_ms(config.gap),
            columns,
            result_rows(config, context),
            lateness=to_ms(config.allowed_lateness),
            repeats=bool(early_every),
        )
        keys = key_reader(config.key)
        super().__init__(
            config, context, windower, lambda _, values: keys(values), columns, early_every
        )


class JoinStage(WindowStage):
    """Join the events of two streams that have equal fields and are close in event time."""

    Config = JoinConfig

    def __init__(self, config: JoinConfig, context: StageContext) -> None:
        if config.left == config.right:
            message = "left and right have to be two streams"
            raise ConfigError(message, path="right", also="left")
        if config.right_on and len(config.right_on) != len(config.on):
            raise ConfigError("as many fields as on has", path="right_on", also="on")
        if not config.on:
            raise ConfigError("a join needs at least one field", path="on")
        windower = JoinWindower(
            config.left,
            JoinBuffer(to_ms(config.within), config.max_per_key),
            ResultRows(
                context.pipeline,
                context.stage,
                key_names(config.on),
                time_format=config.time_format,
            ),
            kind=config.kind,
            lateness=to_ms(config.allowed_lateness),
            max_events=config.max_events,
        )
        left = key_reader(config.on, "on")
        right = key_reader(config.right_on, "right_on") if config.right_on else left
        super().__init__(
            config,
            context,
            windower,
            lambda stream, values: (left if stream == config.left else right)(values),
        )


def columns_of(config: AggregateConfig, context: StageContext) -> Columns:
    """Raises ConfigError if the setting `aggregate` is wrong."""
    custom = context.extensions.get("aggregate", {})
    return Columns(parse_aggregates(config.aggregate, custom, FIXED))


def result_rows(config: AggregateConfig, context: StageContext) -> ResultRows:
    return ResultRows(
        context.pipeline,
        context.stage,
        key_names(config.key),
        time_format=config.time_format,
        panes=config.panes,
    )


def _layout(config: PaneConfig, slide: int) -> Layout:
    size = to_ms(config.size)
    if size < 1:
        raise ConfigError("a window has to last at least 1ms", path="size")
    if not 1 <= slide <= size:
        raise ConfigError("slide is at least 1ms and at most size", path="slide", also="size")
    layout = Layout(size, slide, to_ms(config.offset))
    if size // layout.pane > MAX_PANES:
        raise ConfigError(
            f"a window of this size and slide is made of {size // layout.pane} panes of"
            f" {layout.pane}ms, the limit is {MAX_PANES}: take a slide that divides size",
            path="slide",
        )
    return layout
