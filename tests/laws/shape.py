"""Laws about size, about how a plugin folder looks, and about words that belong nowhere."""

import ast
import re
import subprocess
from pathlib import Path

from tests.laws.source import all_modules, plugin_packages

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 45

# Paths of somebody's machine, and the tools that a text was written with, help no reader.
# Spelled in pieces, so that this file keeps its own law.
_NOWHERE = re.compile(
    r"(?<![\w.])/(?:work|root)/"
    r"|\b(?:cla[u]de|anth[r]opic|chat[g]pt|open[a]i|co[p]ilot|ll[m]s?)\b"
    r"|\b(?:a[i]|coding)[- ](?:assistants?|agents?|sessions?|models?|generated)\b"
    r"|\blanguage[ ]models?\b",
    re.IGNORECASE,
)


def files_are_small(root: Path) -> list[str]:
    """Law (c): what fits on a few screens is read, the rest is believed."""
    problems = []
    for module in all_modules(root):
        lines = len(module.path.read_text("utf-8").splitlines())
        if lines > MAX_FILE_LINES:
            problems.append(f"{module.path}: {lines} lines, the limit is {MAX_FILE_LINES}")
    return problems


def functions_are_small(root: Path) -> list[str]:
    """Law (c), for functions."""
    problems = []
    for module in all_modules(root):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    where = f"{module.path}:{node.lineno}: {node.name}"
                    problems.append(f"{where}: {lines} lines, the limit is {MAX_FUNCTION_LINES}")
    return problems


def the_map_is_whole(root: Path) -> list[str]:
    """Law (c), for the one folder that is large: its map has every room, and no other.

    A room stands at the beginning of a line, or in backticks.
    """
    folder = root / "streamd" / "engine"
    if not folder.exists():
        return []
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")), clean=False)
    text = text or ""
    told = set(re.findall(r"`(\w+)`", text))
    for first in re.findall(r"^    (\w+(?:, \w+)*)(?=  | \w)", text, re.MULTILINE):
        told |= set(first.split(", "))
    there = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    return [
        f"{folder / '__init__.py'}: {name} is {'not in the map' if name in there else 'no module'}"
        for name in sorted(told ^ there)
    ]


def plugin_folders_look_alike(root: Path) -> list[str]:
    """Law (d): who has seen one plugin finds everything in the next.

    A package that offers no plugin is a library of its siblings and has no sample.
    """
    problems = []
    for package in plugin_packages(root):
        folder = root / "plugins" / package
        tests = root / "tests" / "plugins" / package
        wanted = {
            "an __init__.py": folder.glob("__init__.py"),
            "a README.md": folder.glob("README.md"),
            f"a test, {tests}/**/test_*.py": tests.rglob("test_*.py"),
        }
        if _offers_plugins(folder):
            wanted["a sample, samples/*.toml"] = folder.glob("samples/*.toml")
        problems += [f"{folder}: lacks {what}" for what, found in wanted.items() if not list(found)]
    return problems


def _offers_plugins(folder: Path) -> bool:
    init = folder / "__init__.py"
    return init.exists() and "def streamd_plugins" in init.read_text("utf-8")


def nothing_from_elsewhere(root: Path) -> list[str]:
    """Law (e): the tree speaks of the project, not of where or with what it was written."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    problems = []
    for name in sorted(set(filter(None, listed.stdout.split("\0")))):
        try:
            lines = (root / name).read_text("utf-8").splitlines()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # binary, or deleted and not committed yet
        for number, line in enumerate([name, *lines]):
            if match := _NOWHERE.search(line):
                problems.append(f"{name}:{number}: mentions {match[0]!r}")
    return problems
