"""Discovery: entry points and plugin files become a catalog of (role, name) -> class.

A plugin that cannot be loaded never stops the others. A broken file of a plugins_dir is an error
(`Catalog.errors`), as its owner is the one who reads it; a broken installed package is a warning
(`Catalog.problems`) until a configuration names what it offers.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import msgspec
import pluggy
from msgspec import Struct

from streamd.api import Plugin, StageConfig, hookspecs
from streamd.discovery import Provider, entry_points, fault_of, plugin_files


class Problem(Struct, frozen=True):
    """Why a plugin, or one thing of it, is not in the catalog. `origin` is where it comes from."""

    provider: str
    origin: str
    message: str

    def __str__(self) -> str:
        return f"plugin {self.origin}: {self.message}"


class Entry(Struct, frozen=True):
    """A plugin that the catalog holds, and where it comes from."""

    plugin: Plugin
    origin: str

    @property
    def summary(self) -> str:
        """One line for people."""
        documentation = self.plugin.cls.__doc__ or ""
        return self.plugin.summary or documentation.strip().partition("\n")[0]


def config_of(plugin: Plugin) -> type[StageConfig]:
    """The settings class of a plugin that a catalog holds."""
    cls: Any = plugin.cls
    config: type[StageConfig] = cls.Config
    return config


class NotInCatalogError(LookupError):
    """No plugin of this role and name; the message says which is near, or why it is missing."""


class Catalog:
    """All plugins that a configuration can name. Built once per start or reload by `load`."""

    def __init__(self) -> None:
        self.errors: list[Problem] = []
        self.problems: list[Problem] = []
        self._entries: dict[tuple[str, str], Entry] = {}
        self._rejected: dict[tuple[str, str], Problem] = {}
        self._manager = pluggy.PluginManager("streamd")
        self._manager.add_hookspecs(hookspecs)

    @classmethod
    def load(cls, plugin_dirs: Iterable[Path] = ()) -> Catalog:
        """Everything installed, then the files of these directories in the order of their names.

        Raises nothing for a faulty plugin: see `errors` and `problems`.
        """
        catalog = cls()
        for provider in entry_points():
            catalog._take(provider)
        for directory in plugin_dirs:
            for provider in plugin_files(directory):
                catalog._take(provider)
        return catalog

    @property
    def hook(self) -> Any:
        """Calls a hook of every plugin, for rare events: `hook.streamd_config_reloaded(...)`."""
        return self._manager.hook

    def roles(self) -> tuple[str, ...]:
        """Every role that has a plugin, sorted."""
        return tuple(sorted({role for role, _ in self._entries}))

    def entries(self, role: str | None = None) -> list[Entry]:
        """The plugins of a role, or all, sorted by role and name."""
        return [
            entry for key, entry in sorted(self._entries.items()) if role is None or key[0] == role
        ]

    def extensions(self, role: str) -> Mapping[str, type]:
        """The classes of a role by name."""
        return {entry.plugin.name: entry.plugin.cls for entry in self.entries(role)}

    def find(self, role: str, name: str) -> Plugin:
        """The plugin that `plugin = "<name>"` means in a table of this role.

        Raises NotInCatalogError with the nearest name and with the faults that may explain it.
        """
        rejected = self._rejected.get((role, name))
        if rejected is not None:
            raise NotInCatalogError(f'{role} "{name}" cannot be used: {rejected}')
        if (role, name) in self._entries:
            return self._entries[role, name].plugin
        raise NotInCatalogError(self._explain(role, name))

    def _explain(self, role: str, name: str) -> str:
        message = f'no {role} is called "{name}"'
        names = [known for kind, known in self._entries if kind == role]
        elsewhere = sorted(kind for kind, known in self._entries if known == name)
        if near := difflib.get_close_matches(name, names, n=1):
            message += f'; did you mean "{near[0]}"?'
        elif elsewhere:
            message += f" (there is a {' and a '.join(elsewhere)} of that name)"
        elif names:
            message += f"; there are: {', '.join(sorted(names))}"
        broken = [*self.errors, *self.problems]
        suspects = [problem for problem in broken if _resembles(problem, name)]
        if not suspects and not near:
            suspects = broken[:3]
        return message + "".join(f"; not loaded: {problem}" for problem in suspects)

    def _take(self, provider: Provider) -> None:
        try:
            module = provider.load()
        except (Exception, SystemExit) as error:
            self._report(provider, fault_of(error))
            return
        if message := self._register(provider, module):
            self._report(provider, message)
            return
        try:
            offered = self._offers_of(module)
        except (Exception, SystemExit) as error:
            self._manager.unregister(module)
            self._report(provider, fault_of(error))
            return
        for plugin in offered:
            self._add(provider, plugin)

    def _register(self, provider: Provider, module: ModuleType) -> str:
        """Hand the module's hooks to pluggy; returns what is wrong with them, or nothing."""
        hooks = [name for name in vars(hookspecs) if name.startswith("streamd_")]
        if provider.is_file and (name := _unmarked_hook(module)):
            if name in hooks:
                return f"{name}() lacks the decorator @hookimpl"
            return f"{name}() is no hook of streamd{_nearest(name, hooks)}"
        if self._manager.is_registered(module):
            return f"the same module is loaded already, as {self._manager.get_name(module)}"
        try:
            self._manager.register(module, provider.origin)
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._manager.is_registered(module):
                self._manager.unregister(module)
            return str(error).replace("\n", " ")
        for caller in self._manager.get_hookcallers(module) or ():
            if not caller.has_spec():
                self._manager.unregister(module)
                return f"{caller.name}() is no hook of streamd{_nearest(caller.name, hooks)}"
        return ""

    def _offers_of(self, module: ModuleType) -> Sequence[Plugin]:
        for implementation in self._manager.hook.streamd_plugins.get_hookimpls():
            if implementation.plugin is module:
                offered: list[Plugin] = list(cast("Any", implementation.function()))
                for item in offered:
                    if not isinstance(item, Plugin):
                        raise TypeError(f"streamd_plugins() returned {item!r}, not a Plugin")
                return offered
        return ()

    def _add(self, provider: Provider, plugin: Plugin) -> None:
        key = (plugin.role, plugin.name)
        what = f'{plugin.role} "{plugin.name}"'
        known = self._entries.get(key)
        if known is not None:
            message = f"{what} is also offered by {known.origin}; a name has one owner"
            self._rejected[key] = self._report(provider, message)
        elif message := _fault_of_class(plugin.cls):
            self._rejected[key] = self._report(provider, f"{what}: {message}")
        else:
            self._entries[key] = Entry(plugin, provider.origin)

    def _report(self, provider: Provider, message: str) -> Problem:
        problem = Problem(provider.name, provider.origin, message)
        (self.errors if provider.is_file else self.problems).append(problem)
        return problem


def _fault_of_class(cls: Any) -> str:
    config = getattr(cls, "Config", None)
    if config is None:
        return f"{_name_of(cls)} has no Config, a subclass of streamd.api.StageConfig"
    if not (isinstance(config, type) and issubclass(config, StageConfig)):
        return f"{_name_of(cls)}.Config is not a subclass of streamd.api.StageConfig"
    try:
        msgspec.convert({}, config)
    except msgspec.ValidationError:
        return ""  # required settings
    except Exception as error:
        return f"{_name_of(cls)}.Config cannot be read from a file: {error}"
    return ""


def _name_of(cls: Any) -> str:
    return str(getattr(cls, "__qualname__", repr(cls)))


def _unmarked_hook(module: ModuleType) -> str:
    """The first function that looks like a hook but lacks the marker: pluggy would skip it."""
    for name, value in vars(module).items():
        if not name.startswith("streamd_") or not callable(value):
            continue
        if getattr(value, "__module__", None) == module.__name__ and not hasattr(
            value, "streamd_impl"
        ):
            return name
    return ""


def _nearest(name: str, hooks: Sequence[str]) -> str:
    ends = [hook.removeprefix("streamd_") for hook in hooks]
    if near := difflib.get_close_matches(name.removeprefix("streamd_"), ends, n=1):
        return f", did you mean streamd_{near[0]}()?"
    return f"; the hooks are {', '.join(hooks)}"


def _resembles(problem: Problem, name: str) -> bool:
    return bool(difflib.get_close_matches(name, [problem.provider.removeprefix("streamd_")]))
