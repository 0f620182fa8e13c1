"""`streamd plugin init`: a package that holds a working plugin, to be changed into your own."""

from __future__ import annotations

import re
import sys
from importlib import resources, util
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from types import ModuleType

from streamd import exits
from streamd.api import Plugin
from streamd.catalog import Entry
from streamd.cli.docs import filled

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST = 30
_MODULES = {"validate": "validator"}


def init(name: str, role: str, folder: Path | None) -> int:
    """Write the package into a folder that is empty or not there; by default `streamd-<name>`."""
    root = folder or Path(distribution(name))
    if message := _fault(name, root):
        print(message, file=sys.stderr)
        return exits.USAGE
    for path, text in scaffold(name, role).items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    print(f"written: {root} ({role} {name})")
    print(f"next:    streamd plugin test {root}")
    print(f"         pip install -e {root}   # then streamd list {role} shows it")
    return exits.OK


def distribution(name: str) -> str:
    """What the package is called where it is installed from."""
    return f"streamd-{name.replace('_', '-')}"


def scaffold(name: str, role: str) -> dict[Path, str]:
    """The files of the package by their path within it."""
    package, module = f"streamd_{name}", _MODULES.get(role, role)
    common, own = _templates() / "common", _templates() / role
    stage = own / "stage.py.tmpl"
    words = {
        "name": name,
        "role": role,
        "package": package,
        "module": module,
        "distribution": distribution(name),
        "cls": "".join(part.capitalize() for part in name.split("_")),
    }
    summary = _summary(_fill(stage, words))
    words["summary"] = summary
    words["guarantee"] = _fill(own / "guarantee.md.tmpl", words).strip()
    files = {
        "pyproject.toml": common / "pyproject.toml.tmpl",
        "README.md": common / "README.md.tmpl",
        ".gitignore": common / "gitignore.tmpl",
        f"{package}/__init__.py": common / "init.py.tmpl",
        f"{package}/{module}.py": stage,
        f"samples/{name}.toml": own / "sample.toml.tmpl",
        f"tests/test_{name}.py": own / "test.py.tmpl",
    }
    texts = {Path(path): _fill(template, words) for path, template in files.items()}
    entry = Entry(Plugin(role, name, _class(_fill(stage, words), words["cls"])), "")
    readme = Path("README.md")
    return texts | {Path(package, "py.typed"): "", readme: filled(texts[readme], [entry])}


def _class(code: str, name: str) -> type:
    """The class of the stage, to read its settings: a template imports streamd.api alone."""
    module = ModuleType(name)
    exec(compile(code, name, "exec", dont_inherit=True), vars(module))
    found: type = getattr(module, name)
    return found


def _templates() -> Traversable:
    return resources.files("streamd.cli.plugin") / "templates"


def _fill(template: Traversable, words: dict[str, str]) -> str:
    return Template(template.read_text("utf-8")).substitute(words)


def _summary(code: str) -> str:
    """The first line of the class's docstring."""
    found = re.search(r'^class .*\n    """(.*?)(?:"""|$)', code, re.MULTILINE)
    assert found is not None, "every template has a class with a docstring"
    return found[1]


def _fault(name: str, root: Path) -> str:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        rule = f'up to {_LONGEST} small letters, digits and single "_", a letter first'
        return f'"{name}" cannot be the name of a plugin: {rule}'
    if util.find_spec(f"streamd_{name}") is not None:
        return f"a package streamd_{name} is installed already: choose another name"
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        return f"{root} exists and is not an empty folder"
    return ""
