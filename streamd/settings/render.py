"""The effective configuration: defaults filled in, references resolved, secrets masked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from streamd.settings.model import PluginSpec, Settings, StageSpec
from streamd.settings.toml import duration_text, fields_of, key_text, size_text, value_text


def render(settings: Settings, *, masked: bool = True) -> str:
    """The configuration as TOML that means the same; with `masked`, but for its secrets."""
    return "\n".join(_document(settings, masked)) + "\n"


def digest(settings: Settings) -> str:
    """A short hash of the effective configuration, the same whatever the secrets are."""
    return hashlib.blake2b(render(settings).encode(), digest_size=6).hexdigest()


def _document(settings: Settings, masked: bool) -> Iterator[str]:
    yield "[streamd]"
    yield from _pairs(fields_of(settings.daemon), masked)
    for pipeline in settings.pipelines:
        path = f"pipeline.{key_text(pipeline.name)}"
        yield f"\n[{path}]"
        yield from _pairs(fields_of(pipeline.options), masked)
        for policy in pipeline.policies:
            yield from _table(f"{path}.policy", _plugin(policy), masked)
        for stage in (*pipeline.sources, *pipeline.steps, *pipeline.sinks):
            yield from _table(f"{path}.{stage.role}", stage_table(stage), masked)
            for policy in stage.policies or ():
                yield from _table(f"{path}.{stage.role}.policy", _plugin(policy), masked)


def _table(path: str, values: dict[str, Any], masked: bool) -> Iterator[str]:
    yield f"\n[[{path}]]"
    yield from _pairs(values, masked)


def _pairs(values: dict[str, Any], masked: bool) -> Iterator[str]:
    return (
        f"{key_text(key)} = {value_text(value, masked=masked)}" for key, value in values.items()
    )


def _plugin(spec: PluginSpec) -> dict[str, Any]:
    return {"plugin": spec.plugin, **fields_of(spec.config)}


def stage_table(stage: StageSpec) -> dict[str, Any]:
    """A stage's table: its plugin, the engine's keys that are set, every setting."""
    own: dict[str, Any] = {"plugin": stage.plugin, "id": stage.id}
    if stage.inputs and not stage.config.reads():
        own["inputs"] = stage.inputs
    if stage.output is not None and stage.role != "window":
        own["output"] = stage.output
    if stage.codec is not None:
        own["codec"] = _plugin(stage.codec)
    if stage.batch is not None:
        limits = stage.batch
        own["batch"] = {
            "rows": limits.rows,
            "bytes": size_text(limits.bytes),
            "time": duration_text(limits.time),
        }
    if stage.reset_state:
        own["reset_state"] = True
    return {**own, **fields_of(stage.config)}
