"""`streamd plugin test`: the tests of a plugin, its contract suite among them, run by pytest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from importlib import util
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from streamd import exits
from streamd.discovery import GROUP
from streamd.settings.problems import nearest

_NO_TESTS = 5
"""pytest's status when it has found none."""


class NoTestsError(Exception):
    """There is nothing to run; the message says why."""


def run_suite(wanted: str, arguments: Sequence[str]) -> int:
    """Test a project by its folder, or an installed plugin by its name.

    `arguments` are pytest's.
    """
    if util.find_spec("pytest") is None:
        message = "the contract suites need pytest, which is not installed: pip install pytest"
        print(message, file=sys.stderr)
        return exits.FAILED
    try:
        root, tests = find_tests(wanted)
    except NoTestsError as error:
        print(error, file=sys.stderr)
        return exits.USAGE
    with tempfile.TemporaryDirectory(prefix="streamd-plugin-") as folder:
        announce(root, Path(folder))
        places = [str(root), folder, os.environ.get("PYTHONPATH", "")]
        status = subprocess.run(
            [sys.executable, "-m", "pytest", str(tests), *arguments],
            cwd=root,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))},
            check=False,
        ).returncode
    if status == _NO_TESTS:
        print(f"no test was found in {root / tests}", file=sys.stderr)
    return exits.OK if status == 0 else exits.FAILED


def find_tests(wanted: str) -> tuple[Path, Path]:
    """The project's folder, and its tests relative to it.

    Raises NoTestsError if there is no such plugin, or it is here without its tests.
    """
    if (Path(wanted) / "pyproject.toml").is_file():
        root = Path(wanted).resolve()
        if not _offers(root):
            raise NoTestsError(f"{root / 'pyproject.toml'} has no entry point of the group {GROUP}")
        return root, _tests_in(root, "tests")
    if os.sep in wanted or Path(wanted).is_dir():
        raise NoTestsError(f"{wanted} holds no pyproject.toml")
    package = _package_of(wanted)
    spec = util.find_spec(package)
    folder = Path(spec.origin).resolve().parent if spec and spec.origin else Path()
    root = next((one for one in folder.parents if (one / "pyproject.toml").is_file()), Path())
    if not spec or root == Path():
        raise NoTestsError(f"{wanted} is installed without its tests: name its source's folder")
    return root, _tests_in(root, f"tests/plugins/{package}", "tests")


def _package_of(name: str) -> str:
    points = {point.name: point.value for point in entry_points(group=GROUP)}
    if name not in points:
        raise NoTestsError(f'no plugin package is called "{name}"{nearest(name, points)}')
    return points[name].partition(":")[0].partition(".")[0]


def _tests_in(root: Path, *places: str) -> Path:
    for place in places:
        if (root / place).is_dir():
            return Path(place)
    raise NoTestsError(f"{root} has no folder tests")


def _offers(root: Path) -> dict[str, str]:
    """The plugins' entry points that a project declares."""
    data: Any = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    points: dict[str, str] = data.get("project", {}).get("entry-points", {}).get(GROUP, {})
    return points


def announce(root: Path, folder: Path) -> None:
    """Make the project's entry points known as an installation would, whether or not it has one.

    Of two distributions of one name the first on the path counts, so that nothing is there twice.
    Their names are told from those of their folders.
    """
    data: Any = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    if data.get("project", {}).get("name", "streamd") == "streamd":
        return
    name = data["project"]["name"]
    version = data["project"].get("version", "0")
    info = folder / f"{re.sub('[-_.]+', '_', name).lower()}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = "".join(f"{key} = {value}\n" for key, value in _offers(root).items())
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{points}")
