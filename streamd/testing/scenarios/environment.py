"""A configuration as its tests see it: no secrets, no servers, no variables of the machine.

A test then does the same on every machine, and needs no password to run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import structs

from streamd.api import StageContext, preparing
from streamd.settings.construct import context_for
from streamd.settings.document import Document
from streamd.settings.loader import load_document
from streamd.settings.model import PipelineSpec, Settings, StageSpec
from streamd.settings.problems import Problem, SettingsError
from streamd.testing.codecs import PlainJson

PLACEHOLDER = "placeholder"
_SECRET = re.compile(r"@\{(file|env|credential):([^}]*)\}")


def load_for_test(source: Document, env: Mapping[str, str]) -> Settings:
    """The settings with `env` for an environment; secrets that are not in it are placeholders,
    and JSON stands in for codecs that would have to ask a server.

    Raises SettingsError.
    """
    data = {key: value for key, value in source.data.items() if key != "test"}
    settings = load_document(structs.replace(source, data=_without_secrets(data, env)), env)
    pipelines = tuple(_without_servers(one, settings) for one in settings.pipelines)
    return structs.replace(settings, pipelines=pipelines)


def _without_servers(pipeline: PipelineSpec, settings: Settings) -> PipelineSpec:
    def plain(stage: StageSpec) -> StageSpec:
        context = context_for(stage, pipeline, settings.catalog, settings.path.parent)
        codec = stage.codec
        if codec is None or preparing(codec.build(context)) is None:
            return stage
        return structs.replace(stage, codec=structs.replace(codec, cls=_json))

    return structs.replace(
        pipeline,
        sources=tuple(map(plain, pipeline.sources)),
        sinks=tuple(map(plain, pipeline.sinks)),
    )


def _json(_config: Any, _context: StageContext) -> PlainJson:
    return PlainJson()


def hints(problems: Iterable[Problem]) -> list[Problem]:
    """The problems, those of variables with the advice that helps in a test."""
    return [
        structs.replace(one, message=f"{one.message} (a test sees only the variables of its env)")
        if one.message.startswith("environment variable ")
        else one
        for one in problems
    ]


def merged(errors: Iterable[SettingsError | Iterable[Problem]]) -> list[Problem]:
    """All problems, each once: every test of a file meets the same faults of its configuration."""
    found: dict[Problem, None] = {}
    for error in errors:
        problems = error.problems if isinstance(error, SettingsError) else error
        found.update(dict.fromkeys(hints(problems)))
    return list(found)


def _without_secrets(value: Any, env: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(item, env) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_secrets(item, env) for item in value]
    if isinstance(value, str) and (secret := _SECRET.fullmatch(value)):
        given = secret[1] == "env" and secret[2] in env
        return value if given else PLACEHOLDER
    return value
