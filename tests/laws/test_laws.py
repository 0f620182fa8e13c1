"""The tree keeps the laws; and, law by law, a bad tree is found out."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.laws import imports, shape

ROOT = Path(__file__).resolve().parents[2]
Law = Callable[[Path], list[str]]

LAWS: list[Law] = [
    imports.engine_imports_downward,
    imports.engine_names_no_plugin,
    imports.plugins_import_only_the_api,
    imports.no_import_cycles,
    imports.no_type_checking_blocks,
    shape.files_are_small,
    shape.functions_are_small,
    shape.the_map_is_whole,
    shape.plugin_folders_look_alike,
    shape.nothing_from_elsewhere,
]

Tree = dict[str, str]
LONG_FUNCTION = "def f() -> None:\n" + "    pass\n" * shape.MAX_FUNCTION_LINES
PLUGIN: Tree = {
    "plugins/streamd_x/__init__.py": (
        "from streamd.api import Batch\nimport streamd_y\n\n\ndef streamd_plugins(): ...\n"
    ),
    "plugins/streamd_x/README.md": "",
    "plugins/streamd_x/samples/x.toml": "",
    "tests/plugins/streamd_x/test_x.py": "import streamd.testing.sinks\n",
}
GOOD: Tree = {
    "streamd/__init__.py": "",
    "streamd/api/__init__.py": "from streamd.api import batch\nfrom .batch import Batch\n",
    "streamd/api/batch.py": "class Batch: ...\n",
    "streamd/settings/__init__.py": "from streamd.telemetry import log\n",
    "streamd/telemetry/__init__.py": "log = 'streamd_x_events_total'\n",
    "streamd/engine/__init__.py": '"""Map.\n\n    plan   all\n"""\nimport streamd.engine.plan\n',
    "streamd/engine/plan.py": "from ..api import Batch\nfrom streamd.engine.unwritten import x\n",
    **PLUGIN,
}

# Each is laid over the good tree, and the law must say something that holds these words.
BAD: list[tuple[Law, Tree, str]] = [
    (
        imports.engine_imports_downward,
        {"streamd/api/up.py": "import streamd.engine.plan\n"},
        "above",
    ),
    (
        imports.engine_imports_downward,
        {"streamd/api/lazy.py": "def f():\n    from ..engine import plan\n"},
        "lazy.py:2: streamd.api imports streamd.engine above it",
    ),
    (imports.engine_imports_downward, {"streamd/attic/old.py": ""}, "streamd.attic has no layer"),
    (shape.the_map_is_whole, {"streamd/engine/new.py": ""}, "new is not in the map"),
    (
        shape.the_map_is_whole,
        {"streamd/engine/__init__.py": '"""Engine.\n\n    plan   and `gone`\n"""\n'},
        "gone is no module",
    ),
    (imports.engine_names_no_plugin, {"streamd/api/x.py": "NAME = 'streamd_x'\n"}, "x.py:1"),
    (
        imports.plugins_import_only_the_api,
        {"plugins/streamd_x/deep.py": "from streamd import engine\n"},
        "streamd.engine is not for plugins",
    ),
    (
        imports.plugins_import_only_the_api,
        {"plugins/streamd_x/deep.py": "import streamd.testing\n"},
        "streamd.testing is not for plugins",
    ),
    (
        imports.plugins_import_only_the_api,
        {"tests/plugins/streamd_x/test_y.py": "import streamd.engine.plan\n"},
        "streamd.engine.plan is not for plugins",
    ),
    (
        imports.no_import_cycles,
        {"streamd/api/batch.py": "from streamd.api import Batch\n"},
        "streamd.api -> streamd.api.batch -> streamd.api",
    ),
    (
        imports.no_import_cycles,
        {"streamd/telemetry/more.py": "import streamd.settings\n"},
        "streamd.settings -> streamd.telemetry -> streamd.settings",
    ),
    (
        imports.no_type_checking_blocks,
        {"plugins/streamd_x/t.py": "import typing\nif typing.TYPE_CHECKING:\n    import os\n"},
        "t.py:2",
    ),
    (
        imports.no_type_checking_blocks,
        {"tests/unit/t.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import os\n"},
        "t.py:2",
    ),
    (shape.files_are_small, {"streamd/api/long.py": "x = 1\n" * 301}, "long.py: 301 lines"),
    (shape.functions_are_small, {"plugins/streamd_x/f.py": LONG_FUNCTION}, "f.py:1: f: 46 lines"),
    (shape.plugin_folders_look_alike, {"plugins/streamd_y/__init__.py": ""}, "lacks a README.md"),
    (shape.plugin_folders_look_alike, {"plugins/streamd_y/README.md": ""}, "lacks an __init__.py"),
    (
        shape.plugin_folders_look_alike,
        {"plugins/streamd_y/__init__.py": "def streamd_plugins(): ...\n"},
        "lacks a sample",
    ),
    (shape.plugin_folders_look_alike, {"plugins/streamd_y/__init__.py": ""}, "lacks a test"),
    (shape.nothing_from_elsewhere, {"README.md": "\nsee " + "/wo" + "rk/x\n"}, "README.md:2"),
    (shape.nothing_from_elsewhere, {"a.toml": "home = '" + "/ro" + "ot/'\n"}, "a.toml:1"),
    (shape.nothing_from_elsewhere, {"b.py": "# thanks to C" + "laude\n"}, "b.py:1"),
    (shape.nothing_from_elsewhere, {"c.md": "an A" + "I session wrote this\n"}, "c.md:1"),
]


def lay(root: Path, tree: Tree) -> None:
    for name, content in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.fixture
def good_tree(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    lay(tmp_path, GOOD)
    return tmp_path


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_tree_keeps(law: Law) -> None:
    problems = law(ROOT)
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_a_good_tree_passes(law: Law, good_tree: Path) -> None:
    assert law(good_tree) == []


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_a_tree_without_anything_passes(law: Law, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert law(tmp_path) == []


@pytest.mark.parametrize(("law", "bad", "told"), BAD)
def test_a_bad_tree_is_found_out(law: Law, bad: Tree, told: str, good_tree: Path) -> None:
    lay(good_tree, bad)
    problems = law(good_tree)
    assert any(told in problem for problem in problems), problems


def test_every_law_can_fail() -> None:
    assert {law for law, _, _ in BAD} == set(LAWS)
