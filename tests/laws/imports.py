"""Laws about who imports whom."""

import ast
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path

from tests.laws.source import Module, all_modules, modules, plugin_packages

# A unit imports units below it, and siblings of its own layer as long as no circle comes of it.
# `streamd` itself (the version) is below everything.
LAYERS: Mapping[str, int] = {
    "streamd": -1,
    "streamd.api": 0,
    "streamd.settings": 1,
    "streamd.catalog": 1,
    "streamd.discovery": 1,
    "streamd.exits": -1,
    "streamd.telemetry": 1,
    "streamd.engine": 2,
    "streamd.control": 3,
    "streamd.daemon": 3,
    "streamd.admin": 3,
    "streamd.http": 3,
    "streamd.page": 3,
    "streamd.reloading": 3,
    "streamd.reporting": 3,
    "streamd.memory": 1,
    "streamd.notify": 1,
    "streamd.tapping": 3,
    "streamd.testing": 3,
    "streamd.cli": 4,
    "streamd.__main__": 5,
}

Graph = dict[str, set[str]]


def unit(name: str) -> str:
    """The part of the house a module belongs to: streamd.engine.plan -> streamd.engine."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "streamd" else parts[0]


def within(target: str, package: str) -> bool:
    return target == package or target.startswith(package + ".")


def engine_imports_downward(root: Path) -> list[str]:
    """Law (a), the engine's half: layers import downward only."""
    problems = []
    for module in modules(root, "streamd"):
        mine = unit(module.name)
        if mine not in LAYERS:
            problems.append(f"{module.path}: {mine} has no layer; give it one in {__name__}")
            continue
        for found in module.imports():
            theirs = unit(found.target)
            if theirs in LAYERS and LAYERS[theirs] > LAYERS[mine]:
                problems.append(f"{module.path}:{found.line}: {mine} imports {theirs} above it")
    return problems


def engine_names_no_plugin(root: Path) -> list[str]:
    """Law (a): streamd/ knows no plugin by name, not even in a string or a comment."""
    packages = plugin_packages(root)
    if not packages:
        return []
    named = re.compile(rf"\b(?:{'|'.join(map(re.escape, packages))})\b")
    problems = []
    for path in sorted((root / "streamd").rglob("*.*")):
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            if match := named.search(line):
                problems.append(f"{path}:{number}: names the plugin package {match[0]}")
    return problems


def plugins_import_only_the_api(root: Path) -> list[str]:
    """Law (a), the plugins' half; their tests may use streamd.testing as well."""
    plugins = modules(root / "plugins", *plugin_packages(root))
    return [
        *imports_beyond(plugins, "streamd.api"),
        *imports_beyond(modules(root, "tests/plugins"), "streamd.api", "streamd.testing"),
    ]


def imports_beyond(judged: Iterable[Module], *allowed: str) -> Iterator[str]:
    """Imports of streamd's modules other than the allowed ones."""
    for module in judged:
        for found in module.imports():
            fine = any(within(found.target, package) for package in allowed)
            if within(found.target, "streamd") and not fine:
                where = f"{module.path}:{found.line}"
                yield f"{where}: {found.target} is not for plugins, only {' and '.join(allowed)}"


def no_import_cycles(root: Path) -> list[str]:
    """Law (b): no circle among modules, and none among the units that they belong to."""
    known = all_modules(root)
    graph = module_graph(known)
    units: Graph = {}
    for source, targets in graph.items():
        mine = units.setdefault(unit(source), set())
        mine |= {unit(target) for target in targets} - {unit(source)}
    circles = [*cycles(graph), *cycles(units)]
    return [f"import cycle: {' -> '.join([*circle, circle[0]])}" for circle in circles]


def no_type_checking_blocks(root: Path) -> list[str]:
    """Law (b): a TYPE_CHECKING import is a circle that hides."""
    problems = []
    for module in [*all_modules(root), *modules(root, "tests", "benchmarks", "scripts")]:
        for node in ast.walk(module.tree):
            name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", None)
            if name == "TYPE_CHECKING":
                line = getattr(node, "lineno", 0)
                problems.append(f"{module.path}:{line}: TYPE_CHECKING: import it for good")
    return problems


def resolve(target: str, names: Container[str]) -> str | None:
    """The module that an import reaches: `a.b.Name` is a.b unless there is a module a.b.Name.

    Never further up: an import of a module that is still to be written does not reach its package.
    """
    parent = target.rpartition(".")[0]
    return target if target in names else parent if parent in names else None


def module_graph(known: list[Module]) -> Graph:
    names = {module.name for module in known}
    graph: Graph = {name: set() for name in names}
    for module in known:
        for found in module.imports():
            target = resolve(found.target, names)
            # `from package import module` inside of that package's __init__ is no circle.
            if target and target != module.name:
                graph[module.name].add(target)
    return graph


def cycles(graph: Graph) -> list[list[str]]:
    """One circle of each knot, by walking depth first and watching the path."""
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> None:
        if node in path:
            circle = path[path.index(node) :]
            done.update(circle)
            found.append(circle)
            return
        if node in done:
            return
        for target in sorted(graph.get(node, ())):
            walk(target, [*path, node])
        done.add(node)

    for name in sorted(graph):
        walk(name, [])
    return found
