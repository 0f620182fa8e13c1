"""One pipeline's tables become drafts of its stages: plugins found, settings converted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct

from streamd.api import BatchLimits, StageConfig
from streamd.catalog import Catalog, NotInCatalogError, config_of
from streamd.settings import defaults
from streamd.settings.convert import FAILED, convert
from streamd.settings.keys import STAGE_ROLES, BatchKeys, field_of, keys_of
from streamd.settings.lines import Path
from streamd.settings.model import MAIN, PluginSpec, StageSpec
from streamd.settings.problems import Problems, path_text

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
"""What ids and names of pipelines look like: they become metric labels and file names."""

STREAM = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass
class Draft:
    """A stage while it is checked. What could not be read is None.

    `emits` are the streams that it may write beside its output. `unclear`: the keys that say what
    it reads and writes are there but wrong.
    """

    path: Path
    role: str
    name: str | None
    spec: PluginSpec | None
    id: str = ""
    inputs: tuple[str, ...] | None = None
    output: str | None = None
    emits: tuple[str, ...] = ()
    codec: PluginSpec | None = None
    policies: tuple[PluginSpec, ...] | None = None
    batch: BatchLimits | None = None
    reset_state: bool = False
    unclear: bool = False

    def stage(self) -> StageSpec:
        """The stage, once nothing is wrong with it."""
        if self.spec is None:
            raise ValueError(f"{path_text(self.path)} has errors")
        return StageSpec(
            **msgspec.structs.asdict(self.spec),
            id=self.id,
            inputs=self.inputs or (),
            output=self.output,
            codec=self.codec,
            policies=self.policies,
            batch=self.batch,
            reset_state=self.reset_state,
        )


class Reader(Struct):
    """Reads the tables of stages, codecs and policies with one catalog."""

    catalog: Catalog
    problems: Problems

    def drafts(self, table: dict[str, Any], path: Path) -> list[Draft]:
        """Every stage of a pipeline, sources first, then in the order in which steps run."""
        drafts = [
            self._draft(role, *found)
            for role in STAGE_ROLES
            for found in self._tables(role, table.get(role), (*path, role))
        ]
        self._name(drafts)
        for draft in drafts:
            self._wire(draft)
        return drafts

    def policies(self, value: Any, path: Path) -> tuple[PluginSpec, ...] | None:
        """The policies of a pipeline or stage; None where it has none of its own."""
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            self.problems.add(path, f"expected tables [[{path_text(path)}]]")
            return None
        if not value:
            self.problems.add(path, "an empty list decides nothing; leave it out for the default")
        found = [self.plugin("policy", one, (*path, at)) for at, one in enumerate(value)]
        return tuple(spec for spec in found if spec is not None)

    def plugin(self, role: str, table: dict[str, Any], path: Path) -> PluginSpec | None:
        """The plugin that a table names, with its settings."""
        name = self._key("plugin", table, path)
        if name is None:
            return None
        try:
            plugin = self.catalog.find(role, name)
        except NotInCatalogError as error:
            named = (*path, "plugin")
            self.problems.add(named if named in self.problems.lines else path, str(error))
            return None
        keys = keys_of(role)
        own = {key: value for key, value in table.items() if key not in keys}
        for key in set(keys) & set(config_of(plugin).__struct_fields__):
            self.problems.add(path, f'the plugin is at fault: "{key}" is a key of the engine')
        try:
            config = convert(own, config_of(plugin), path, self.problems, also=keys)
            if not isinstance(config, StageConfig):
                return None
            config.reads(), config.emits(name), config.claims(), config.passes_on()
        except Exception as error:
            self.problems.add(path, f"the plugin is at fault: {error!r}")
            return None
        return PluginSpec(
            path=path_text(path), role=role, plugin=name, cls=plugin.cls, config=config
        )

    def _tables(self, role: str, value: Any, path: Path) -> Iterator[tuple[dict[str, Any], Path]]:
        if role == "source" and isinstance(value, dict):
            yield value, path
        elif isinstance(value, list) and all(isinstance(one, dict) for one in value):
            yield from ((one, (*path, at)) for at, one in enumerate(value))
        elif value is not None:
            self.problems.add(path, f"expected tables [[{path_text(path)}]]")

    def _draft(self, role: str, table: dict[str, Any], path: Path) -> Draft:
        given = {key: self._key(key, table, path) for key in keys_of(role) if key in table}
        draft = Draft(path, role, given.get("plugin"), self.plugin(role, table, path))
        draft.id = given.get("id") or ""
        draft.inputs = given.get("inputs")
        draft.output = given.get("output")
        wiring = given.keys() & {"id", "inputs", "output"}
        draft.unclear = any(self.problems.within((*path, key)) for key in wiring)
        draft.policies = self.policies(table.get("policy"), (*path, "policy"))
        draft.reset_state = given.get("reset_state") or False
        if role in ("source", "sink"):
            draft.codec = self._codec(table, path)
        if role == "sink" and draft.spec is not None:
            draft.batch = _limits(given.get("batch"), draft.spec.cls)
        return draft

    def _key(self, key: str, table: dict[str, Any], path: Path) -> Any:
        """The value of one of the engine's keys, None where it is missing or wrong."""
        if key not in table:
            if key == "plugin":
                self.problems.add((*path, key), "required, but not given")
            return None
        value = convert(table[key], field_of(key).type, (*path, key), self.problems)
        return None if value is FAILED else value

    def _codec(self, table: dict[str, Any], path: Path) -> PluginSpec | None:
        codec = table.get("codec", defaults.CODEC)
        if isinstance(codec, str):
            codec = {"plugin": codec}
        return self.plugin("codec", codec, (*path, "codec")) if isinstance(codec, dict) else None

    def _name(self, drafts: list[Draft]) -> None:
        """Check the ids given, and give the other stages theirs."""
        owners: dict[str, Draft] = {}
        nameless = [draft for draft in drafts if not draft.id]
        for draft in drafts:
            where = (*draft.path, "id")
            if draft in nameless:
                if draft.role in ("window", "sink") and not draft.unclear:
                    self.problems.add(where, f"required: name this {draft.role}")
                continue
            if draft.id in owners:
                first = (*owners[draft.id].path, "id")
                self.problems.add(where, f'another stage has the id "{draft.id}" already', first)
            elif not NAME.fullmatch(draft.id):
                self.problems.add(where, f'"{draft.id}": use letters, digits, "_" and "-"')
            owners.setdefault(draft.id, draft)
        for draft in nameless:
            name = draft.name or draft.role
            draft.id, number = name, 1
            while draft.id in owners:
                number += 1
                draft.id = f"{name}-{number}"
            owners[draft.id] = draft

    def _wire(self, draft: Draft) -> None:
        """What the stage reads and writes where its table does not say so."""
        config = StageConfig() if draft.spec is None else draft.spec.config
        draft.emits = config.emits(draft.id)
        if draft.output is not None and not STREAM.fullmatch(draft.output):
            message = f'"{draft.output}": use letters, digits, "_", "-" and "."'
            self.problems.add((*draft.path, "output"), message)
        if draft.role == "source":
            draft.output = draft.output or MAIN
            return
        self._wire_inputs(draft, config.reads())
        if draft.role == "window":
            draft.output = draft.id
        elif not config.passes_on():
            if draft.output is not None:
                message = "the settings of the stage say that all events go to other streams"
                self.problems.add((*draft.path, "output"), message)
            draft.output = None
        elif draft.role != "sink" and draft.output is None and draft.inputs:
            draft.output = draft.inputs[0]
            if len(draft.inputs) > 1:
                self.problems.add((*draft.path, "output"), "required: the stage has several inputs")

    def _wire_inputs(self, draft: Draft, reads: tuple[str, ...]) -> None:
        where = (*draft.path, "inputs")
        if draft.inputs is None:
            if draft.spec is not None:
                draft.inputs = tuple(dict.fromkeys(reads or (MAIN,)))
            return
        if reads and set(reads) != set(draft.inputs):
            message = f"the settings of the stage say already what it reads: {', '.join(reads)}"
            self.problems.add(where, message)
        if not draft.inputs:
            self.problems.add(where, f'an empty list reads nothing; leave it out for ["{MAIN}"]')
        draft.inputs = tuple(dict.fromkeys(draft.inputs))


def _limits(keys: BatchKeys | None, cls: Any) -> BatchLimits | None:
    if keys is None:
        return None
    own = getattr(cls, "batch", BatchLimits())
    return BatchLimits(
        rows=own.rows if keys.rows is None else keys.rows,
        bytes=own.bytes if keys.bytes is None else int(keys.bytes),
        time=own.time if keys.time is None else float(keys.time),
    )
