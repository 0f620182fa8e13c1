"""`streamd diff`: what a reload would do with another configuration."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from streamd import exits
from streamd.engine.forecast import Forecast, PipelineForecast, forecast
from streamd.settings import Settings, SettingsError, load


def diff(old: Path, new: Path) -> int:
    """Print it; fails if a daemon that runs `old` would refuse to go on with `new`."""
    before, after = _load(old), _load(new)
    if before is None or after is None:
        return exits.CONFIG
    found = forecast(before, after)
    print("\n".join(report(found)))
    return exits.FAILED if found.refusals else exits.OK


def _load(path: Path) -> Settings | None:
    try:
        return load(path)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return None


def report(found: Forecast) -> Iterator[str]:
    """The lines for people."""
    if found.empty:
        yield "A reload would change nothing."
        return
    if found.refusals:
        yield "A reload would be refused; the old configuration would go on:"
        yield from (f"  {reason}" for reason in found.refusals)
        yield ""
        yield "What differs:"
    else:
        yield "A reload would do this:"
    yield from (f"  [streamd] {key}: changes at once" for key in found.live)
    yield from (f"  pipeline {name}: starts" for name in found.added)
    yield from (f"  pipeline {name}: drains and ends" for name in found.removed)
    for pipeline in found.pipelines:
        yield from _pipeline(pipeline)


def _pipeline(pipeline: PipelineForecast) -> Iterator[str]:
    if pipeline.empty:
        yield f"  pipeline {pipeline.name}: stays as it is"
        return
    yield f"  pipeline {pipeline.name}:"
    rows = [
        (
            stage.role,
            stage.id,
            stage.action,
            "; ".join(filter(None, (_keys(stage.keys), stage.note))),
        )
        for stage in pipeline.stages
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for *cells, note in rows:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield f"    {'  '.join((*padded, note))}".rstrip()
    if pipeline.options:
        yield f"    the pipeline's own keys: {_keys(pipeline.options)}"
    if pipeline.order:
        yield "    its stages run in another order"


def _keys(keys: tuple[str, ...]) -> str:
    return ", ".join(keys)
