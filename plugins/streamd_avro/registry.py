"""Schemas by name and version."""

from __future__ import annotations

import os
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

from streamd_avro.builtin import SCHEMAS
from streamd_avro.compatibility import Problem
from streamd_avro.evolution import LEVELS, Level, Mode, problems_at_level
from streamd_avro.parsing import parse
from streamd_avro.schema import NotRegisteredError, SchemaError, Type
from streamd_avro.store import Store, Versions

Version = int | str

FILE = "schemas.sqlite"
DEFAULT_LEVEL: Level = "BACKWARD"


class IncompatibleSchemaError(ValueError):
    """A schema may not follow the versions before it; `problems` has every field and rule."""

    def __init__(self, name: str, version: int, level: Level, problems: list[Problem]) -> None:
        told = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{name} version {version} is not compatible ({level}):{told}")
        self.problems = problems


class ImmutableVersionError(ValueError):
    """The version exists with another schema, or a later one does."""


class IncompatibleSchemaWarning(UserWarning):
    """An incompatible schema was registered where the level is NONE."""


class SchemaRegistry:
    """Named schemas with numbered versions that never change, kept in a SQLite file.

    A version is a number above 0, also written "2" or "v2". Built in is IngestEvent with the
    versions 1 and 2, at the level NONE. Methods raise sqlite3.Error if the file is unusable.
    """

    def __init__(self, path: Path | str) -> None:
        """`path` is the file; it is made when the first schema is registered."""
        self._store = Store(Path(path))
        self._parsed: dict[tuple[str, int], Type] = {}

    def get_schema(self, name: str, version: Version | None = None) -> Any:
        """A schema as it was registered; of the latest version if none is given.

        Raises NotRegisteredError.
        """
        versions = self._versions(name)
        if not versions:
            known = ", ".join(self.list_names())
            raise NotRegisteredError(f'no schema is called "{name}"; there are: {known}')
        number = max(versions) if version is None else parse_version(version)
        if number not in versions:
            known = ", ".join(map(str, sorted(versions)))
            raise NotRegisteredError(f"{name} has no version {number}; it has: {known}")
        return versions[number]

    def parsed(self, name: str, version: Version) -> Type:
        """A schema ready for use, parsed once.

        Raises NotRegisteredError.
        """
        key = (name, parse_version(version))
        if key not in self._parsed:
            self._parsed[key] = parse(self.get_schema(*key))
        return self._parsed[key]

    def register_schema(
        self,
        name: str,
        version: Version,
        schema_dict: Any,
        *,
        level: Level | None = None,
        mode: Mode = "avro",
    ) -> int:
        """Add a version, which must be higher than all others; the same again does nothing.

        It is checked against the earlier ones at the subject's compatibility level (BACKWARD for a
        new name), or at `level`, which then becomes the subject's. Returns the number.

        Raises SchemaError, ImmutableVersionError or IncompatibleSchemaError. At the level NONE an
        incompatible schema causes an IncompatibleSchemaWarning.
        """
        number, new = parse_version(version), parse(schema_dict)
        if not name:
            raise SchemaError("a schema needs a name")
        if level is not None:
            _require_level(level)

        def check(stored: Versions, stored_level: str | None) -> None:
            versions = {**SCHEMAS.get(name, {}), **stored}
            if number in versions and versions[number] == schema_dict:
                return
            if versions and number <= max(versions):
                what = "exists with another schema" if number in versions else "is not the next"
                raise ImmutableVersionError(
                    f"{name} version {number} {what}: versions do not change and only go up,"
                    f" the latest is {max(versions)}"
                )
            earlier = [parse(versions[one]) for one in sorted(versions)]
            _check(name, number, earlier, new, level or _level(name, stored_level), mode)

        if SCHEMAS.get(name, {}).get(number) != schema_dict:
            new_level = level or (None if name in SCHEMAS else self.compatibility(name))
            self._store.add(name, number, schema_dict, level=new_level, check=check)
        return number

    def list_versions(self, name: str) -> list[int]:
        """The versions of a name, ascending; none if there is no such name."""
        return sorted(self._versions(name))

    def list_names(self) -> list[str]:
        """All names, sorted."""
        return sorted({*SCHEMAS, *self._store.names()})

    def compatibility(self, name: str) -> Level:
        """The level at which the next version of a name is checked."""
        return _level(name, self._store.level(name))

    def set_compatibility(self, name: str, level: Level) -> None:
        """Check the next versions of a name at another level."""
        _require_level(level)
        self._store.set_level(name, level)

    def _versions(self, name: str) -> Versions:
        return {**SCHEMAS.get(name, {}), **self._store.versions(name)}


def _require_level(level: Level) -> None:
    if level not in LEVELS:
        raise ValueError(f"{level!r} is no compatibility level: {', '.join(LEVELS)}")


def _level(name: str, stored: str | None) -> Level:
    by_default: Level = "NONE" if name in SCHEMAS else DEFAULT_LEVEL
    return next((level for level in LEVELS if level == stored), by_default)


def _check(
    name: str, number: int, earlier: list[Type], new: Type, level: Level, mode: Mode
) -> None:
    if level != "NONE":
        problems = problems_at_level(level, earlier, new, mode)
        if problems:
            raise IncompatibleSchemaError(name, number, level, problems)
        return
    problems = problems_at_level("FULL", earlier, new, mode)
    if problems:
        told = "".join(f"\n  {problem}" for problem in problems)
        warnings.warn(
            f"{name} version {number} is not fully compatible with the version before:{told}",
            IncompatibleSchemaWarning,
            stacklevel=5,
        )


def parse_version(version: Version) -> int:
    """The number of a version: 2 of 2, "2" and "v2".

    Raises NotRegisteredError, as there can be no such version.
    """
    text = str(version).removeprefix("v")
    if isinstance(version, bool) or not (text.isascii() and text.isdigit()) or not int(text):
        raise NotRegisteredError(f"{version!r} is no version: they are 1, 2, 3 and so on")
    return int(text)


def get_schema_registry(path: Path | str | None = None) -> SchemaRegistry:
    """The registry in a file; by default `schemas.sqlite` in the daemon's state directory.

    That is `$STATE_DIRECTORY`, or `var`.
    """
    if path is None:
        path = Path(os.environ.get("STATE_DIRECTORY") or "var", FILE)
    return _registry_at(Path(path).absolute())


@lru_cache(maxsize=64)
def _registry_at(path: Path) -> SchemaRegistry:
    return SchemaRegistry(path)
