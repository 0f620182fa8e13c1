"""Where plugins come from: installed packages and files, each imported on its own."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from importlib.metadata import entry_points as installed
from pathlib import Path
from types import ModuleType

from msgspec import Struct

GROUP = "streamd"

# Frames that stand between `load` and the code of a plugin.
_NOT_A_PLUGIN = (
    "<frozen ",
    str(Path(__file__).parent) + os.sep,
    str(Path(importlib.util.__file__).parent) + os.sep,
)


class Provider(Struct, frozen=True):
    """A module that offers plugins and is not imported yet.

    `origin` says where it is for people: a distribution with its version, or a file.
    """

    name: str
    origin: str
    is_file: bool
    load: Callable[[], ModuleType]


def entry_points() -> Iterator[Provider]:
    """Every installed package that offers plugins, in the order of the entry points' names."""
    for point in sorted(installed(group=GROUP), key=lambda point: (point.name, point.value)):
        yield Provider(point.name, _origin_of(point), False, point.load)


def _origin_of(point: EntryPoint) -> str:
    owner = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown distribution"
    return f"{owner} ({point.name} = {point.value})"


def plugin_files(directory: Path) -> Iterator[Provider]:
    """Every *.py file and package of a directory, sorted; names with a leading `_` are skipped.

    Raises OSError if the directory cannot be read.
    """
    for path in sorted(directory.iterdir()):
        if path.name.startswith(("_", ".")):
            continue
        file = path / "__init__.py" if path.is_dir() else path
        if file.suffix == ".py" and file.is_file():
            yield Provider(path.stem, str(path), True, _loader(path, file))


def _loader(path: Path, file: Path) -> Callable[[], ModuleType]:
    return lambda: _import(path, file)


def _import(path: Path, file: Path) -> ModuleType:
    """Import a file under a name of its own, without touching sys.path.

    The name follows the content: a reload keeps an unchanged module (its classes compare equal)
    and takes an edited one anew.
    """
    name = f"_streamd_plugin_{path.stem}_{_fingerprint(path)}"
    if name in sys.modules:
        return sys.modules[name]
    places = [str(path)] if path.is_dir() else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=places)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        for loaded in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
            del sys.modules[loaded]
        raise
    return module


def _fingerprint(path: Path) -> str:
    digest = hashlib.blake2b(str(path.resolve()).encode(), digest_size=6)
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def fault_of(error: BaseException) -> str:
    """An import error in one line, with the place in the plugin's own code that raised it."""
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{kind}: {error.msg} ({error.filename}:{error.lineno})"
    message = f"{kind}: {error}" if str(error) else kind
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_NOT_A_PLUGIN)]
    return f"{message} ({own[-1].filename}:{own[-1].lineno})" if own else message
