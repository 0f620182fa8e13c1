"""From a file to checked settings: the phases in order, and what is gathered on the way."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from msgspec import structs

from streamd.api import DEAD_LETTERS
from streamd.catalog import Catalog
from streamd.settings import admin, construct, defaults, document, render, wiring
from streamd.settings.claims import Claims
from streamd.settings.convert import convert
from streamd.settings.keys import STAGE_ROLES, STEP_ROLES
from streamd.settings.lines import Path
from streamd.settings.model import (
    DaemonOptions,
    PipelineOptions,
    PipelineSpec,
    PluginSpec,
    Settings,
)
from streamd.settings.problems import Problems, SettingsError, nearest
from streamd.settings.references import resolve
from streamd.settings.stages import NAME, Reader

_TOP = ("streamd", "pipeline", "test")


def load(path: FilePath, env: Mapping[str, str] = os.environ) -> Settings:
    """Read and check a configuration file. Connects to nothing.

    Raises SettingsError with every error found.
    """
    return load_document(document.read(path), env)


def load_document(source: document.Document, env: Mapping[str, str]) -> Settings:
    """Check a configuration that was read already: see `load`."""
    path = source.file
    problems = Problems(str(path), source.lines)
    data = {
        key: resolve(value, (key,), env, path.parent, problems)
        for key, value in source.data.items()
        if key != "test"
    }
    for key in data.keys() - set(_TOP):
        problems.add((key,), f"unknown key{nearest(key, _TOP)}")
    options = convert(data.get("streamd", {}), DaemonOptions, ("streamd",), problems)
    if not isinstance(options, DaemonOptions):
        options = DaemonOptions(plugins_dir=_plugin_dirs(data))
    admin.check(options, problems)
    catalog = _catalog(path.parent, options.plugins_dir, problems)
    pipelines = _pipelines(data.get("pipeline"), catalog, options, problems)
    if problems.found:
        raise SettingsError(problems.found)
    settings = Settings(path=path, digest="", daemon=options, pipelines=pipelines, catalog=catalog)
    return structs.replace(settings, digest=render.digest(settings))


def catalog_for(path: FilePath, env: Mapping[str, str] = os.environ) -> Catalog:
    """What a configuration file could name: for commands that need no valid file, nor any."""
    problems = Problems(str(path), {})
    try:
        section = document.read(path).data.get("streamd")
    except SettingsError:
        section = None
    data = {"streamd": resolve(section, (), env, path.parent, problems)}
    return _catalog(path.parent, _plugin_dirs(data), problems)


def daemon_options(path: FilePath, env: Mapping[str, str] = os.environ) -> DaemonOptions:
    """The `[streamd]` of a file alone, for commands that ask its daemon. Nothing else is judged.

    Raises SettingsError.
    """
    source = document.read(path)
    problems = Problems(str(path), source.lines)
    section = resolve(source.data.get("streamd", {}), ("streamd",), env, path.parent, problems)
    options = convert(section, DaemonOptions, ("streamd",), problems)
    if not isinstance(options, DaemonOptions):
        raise SettingsError(problems.found)
    return options


def _plugin_dirs(data: dict[str, Any]) -> tuple[str, ...]:
    section = data.get("streamd")
    found = section.get("plugins_dir") if isinstance(section, dict) else None
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()


def _catalog(base: FilePath, plugin_dirs: tuple[str, ...], problems: Problems) -> Catalog:
    usable = []
    for at, name in enumerate(plugin_dirs):
        if (directory := base / name).is_dir():
            usable.append(directory)
        else:
            problems.add(("streamd", "plugins_dir", at), f"{directory} is no directory")
    catalog = Catalog.load(usable)
    for error in catalog.errors:
        problems.add(("streamd", "plugins_dir"), str(error))
    return catalog


def _pipelines(
    tables: Any, catalog: Catalog, options: DaemonOptions, problems: Problems
) -> tuple[PipelineSpec, ...]:
    if not isinstance(tables, dict) or not tables:
        problems.add(("pipeline",), "required: at least one table [pipeline.<name>]")
        return ()
    claims = Claims(options, problems)
    pipelines = []
    for name, table in tables.items():
        path = ("pipeline", name)
        if not NAME.fullmatch(name):
            problems.add(path, f'"{name}": use letters, digits, "_" and "-"')
        elif not isinstance(table, dict):
            problems.add(path, f"expected a table [pipeline.{name}]")
        elif (spec := _pipeline(name, table, path, catalog, claims, problems)) is not None:
            construct.check(spec, catalog, FilePath(options.state_dir), problems)
            pipelines.append(spec)
    return tuple(pipelines)


def _pipeline(
    name: str,
    table: dict[str, Any],
    path: Path,
    catalog: Catalog,
    claims: Claims,
    problems: Problems,
) -> PipelineSpec | None:
    """The pipeline, or None where it has errors."""
    stage_keys = (*STAGE_ROLES, "policy")
    own = {key: value for key, value in table.items() if key not in stage_keys}
    options = convert(own, PipelineOptions, path, problems, also=stage_keys)
    if not isinstance(options, PipelineOptions):
        options = PipelineOptions()
    reader = Reader(catalog, problems)
    drafts = reader.drafts(table, path)
    for draft in drafts:
        if draft.spec is not None:
            claims.note(draft.spec.config, draft.path)
    policies = reader.policies(table.get("policy"), (*path, "policy"))
    wiring.check(drafts, policies, options, path, problems)
    if policies is None:
        policies = _default_policies(reader, DEAD_LETTERS in wiring.readers(drafts), path)
    if problems.within(path):
        return None
    stages = [draft.stage() for draft in drafts]
    return PipelineSpec(
        name=name,
        sources=tuple(stage for stage in stages if stage.role == "source"),
        steps=tuple(stage for stage in stages if stage.role in STEP_ROLES),
        sinks=tuple(stage for stage in stages if stage.role == "sink"),
        policies=policies,
        options=options,
    )


def _default_policies(reader: Reader, dead_letters: bool, path: Path) -> tuple[PluginSpec, ...]:
    names = defaults.POLICIES if dead_letters else defaults.POLICIES_WITHOUT_READER
    found = [reader.plugin("policy", {"plugin": name}, (*path, "policy")) for name in names]
    return tuple(spec for spec in found if spec is not None)
