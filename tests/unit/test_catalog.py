"""Discovery: what is found, what is refused, and what is said about it."""

import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from streamd.catalog import Catalog, NotInCatalogError

GOOD = """
from streamd.api import Plugin, StageConfig, hookimpl

class Stage:
    '''A stage.

    More about it.
    '''
    class Config(StageConfig, frozen=True):
        pass

@hookimpl
def streamd_plugins():
    return [Plugin("{role}", "{name}", Stage)]
"""

Write = Callable[..., Path]


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes files of a plugin directory; nothing is installed."""
    monkeypatch.setattr("streamd.discovery.installed", lambda group: [])
    directory = tmp_path / "plugins.d"
    directory.mkdir()

    def write(**files: str) -> Path:
        for name, text in files.items():
            path = directory / f"{name.replace('_in_', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return directory

    return write


def good(role: str, name: str) -> str:
    return GOOD.replace("{role}", role).replace("{name}", name)


def install(monkeypatch: pytest.MonkeyPatch, path: Path, **modules: str) -> None:
    """Make modules importable and installed, each as an entry point of its own name."""
    path.mkdir(exist_ok=True)
    for name, text in modules.items():
        (path / f"{name}.py").write_text(textwrap.dedent(text))
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(path)
    points = [EntryPoint(name.removeprefix("streamd_"), name, "streamd") for name in modules]
    monkeypatch.setattr("streamd.discovery.installed", lambda group: points)


def test_a_file_and_a_package_are_found(plugins: Write) -> None:
    directory = plugins(
        one=good("sink", "one"),
        two_in___init__="from .inner import streamd_plugins",
        two_in_inner="from . import names" + good("sink", "two").replace('"two"', "names.NAME"),
        two_in_names="NAME = 'two'",
        _skipped="raise RuntimeError",
    )
    before = list(sys.path)
    catalog = Catalog.load([directory])
    assert (catalog.errors, catalog.problems) == ([], [])
    assert set(catalog.extensions("sink")) == {"one", "two"}
    assert catalog.roles() == ("sink",)
    (entry, _) = catalog.entries("sink")
    assert entry.summary == "A stage."
    assert entry.origin == str(directory / "one.py")
    assert sys.path == before
    assert not {"one", "two", "inner", "names"} & sys.modules.keys()


def test_an_unchanged_file_keeps_its_class_and_an_edited_one_is_taken_anew(plugins: Write) -> None:
    directory = plugins(one=good("sink", "one"))
    first = Catalog.load([directory]).find("sink", "one").cls
    assert Catalog.load([directory]).find("sink", "one").cls is first
    plugins(one=good("sink", "one") + "\nEDITED = True\n")
    assert Catalog.load([directory]).find("sink", "one").cls is not first


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere' ({file}:1)"),
        ("x = 1\ndef f(:\n", "SyntaxError: invalid syntax ({file}:2)"),
        ("raise SystemExit(3)", "SystemExit: 3 ({file}:1)"),
        ("\n\nassert 1 > 2", "AssertionError ({file}:3)"),
        (
            "from streamd.api import hookimpl\n@hookimpl\ndef streamd_plugin(): return []",
            "streamd_plugin() is no hook of streamd, did you mean streamd_plugins()?",
        ),
        (
            "from streamd.api import hookimpl\n@hookimpl\ndef streamd_x(): return []",
            "streamd_x() is no hook of streamd; the hooks are streamd_plugins, ",
        ),
        ("def streamd_plugins(): return []", "streamd_plugins() lacks the decorator @hookimpl"),
        (
            "def streamd_comands(commands): ...",
            "streamd_comands() is no hook of streamd, did you mean streamd_commands()?",
        ),
        (
            "from streamd.api import hookimpl\n@hookimpl\ndef streamd_commands(parser): ...",
            "Argument(s) {'parser'} are declared in the hookimpl but",
        ),
        (
            "from streamd.api import hookimpl\n@hookimpl\ndef streamd_plugins(): return ['x']",
            "streamd_plugins() returned 'x', not a Plugin",
        ),
        (
            "from streamd.api import hookimpl\n@hookimpl\ndef streamd_plugins(): return 1 / 0",
            "ZeroDivisionError: division by zero ({file}:3)",
        ),
        (
            good("sink", "x").replace("class Config", "class Konfig"),
            'sink "x": Stage has no Config, a subclass of streamd.api.StageConfig',
        ),
        (
            good("sink", "x").replace("(StageConfig, frozen=True)", ""),
            'sink "x": Stage.Config is not a subclass of streamd.api.StageConfig',
        ),
        (
            good("sink", "x").replace("        pass", "        a: int | list[int] | set[int]"),
            'sink "x": Stage.Config cannot be read from a file: ',
        ),
    ],
)
def test_a_broken_file_is_told_with_its_place_and_hurts_no_other(
    text: str, told: str, plugins: Write
) -> None:
    directory = plugins(bad=text, fine=good("sink", "fine"))
    catalog = Catalog.load([directory])
    (error,) = catalog.errors
    file = directory / "bad.py"
    assert str(error).startswith(f"plugin {file}: ")
    assert told.replace("{file}", str(file)) in str(error)
    assert catalog.find("sink", "fine").name == "fine"


def test_a_file_that_cannot_be_imported_leaves_nothing_behind(plugins: Write) -> None:
    directory = plugins(burnt_in___init__="from . import part\n1 / 0", burnt_in_part="")
    assert len(Catalog.load([directory]).errors) == 1
    assert not [name for name in sys.modules if name.startswith("_streamd_plugin_burnt_")]


def test_two_files_with_one_name(plugins: Write) -> None:
    directory = plugins(one=good("sink", "same"), two=good("sink", "same"))
    catalog = Catalog.load([directory])
    told = f'sink "same" is also offered by {directory / "one.py"}'
    assert [told in error.message for error in catalog.errors] == [True]
    with pytest.raises(NotInCatalogError, match=f"{directory / 'two.py'}.*{directory / 'one.py'}"):
        catalog.find("sink", "same")


def test_a_directory_named_twice_keeps_its_plugins(plugins: Write) -> None:
    directory = plugins(one=good("sink", "one"))
    catalog = Catalog.load([directory, directory])
    assert ["the same module is loaded already" in str(error) for error in catalog.errors] == [True]
    assert catalog.find("sink", "one")


def test_one_name_in_two_roles_is_no_duplicate(plugins: Write) -> None:
    directory = plugins(one=good("sink", "same"), two=good("source", "same"))
    assert Catalog.load([directory]).roles() == ("sink", "source")


def test_a_broken_installed_package_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(
        monkeypatch,
        tmp_path / "site",
        streamd_mqtt="import paho_of_nowhere",
        streamd_typo="from streamd.api import hookimpl\n@hookimpl\ndef streamd_plugin(): ...",
        streamd_fine=good("sink", "fine"),
    )
    catalog = Catalog.load()
    assert catalog.errors == []
    assert [problem.provider for problem in catalog.problems] == ["mqtt", "typo"]
    with pytest.raises(NotInCatalogError) as caught:
        catalog.find("source", "mqtt")
    assert "mqtt = streamd_mqtt" in str(caught.value)
    assert "No module named 'paho_of_nowhere'" in str(caught.value)
    assert "typo" not in str(caught.value)


def test_a_file_does_not_take_the_name_of_an_installed_plugin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plugins: Write
) -> None:
    directory = plugins(mine=good("sink", "kafka"))
    install(monkeypatch, tmp_path / "site", streamd_kafka=good("sink", "kafka"))
    (error,) = Catalog.load([directory]).errors
    assert str(directory / "mine.py") in str(error)
    assert "kafka = streamd_kafka" in str(error)


def test_a_distribution_is_named_with_its_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    info = tmp_path / "streamd_other-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: streamd-other\nVersion: 2.1\n")
    (info / "entry_points.txt").write_text("[streamd]\nother = streamd_other\n")
    (tmp_path / "streamd_other.py").write_text(good("sink", "of_other"))
    monkeypatch.syspath_prepend(tmp_path)
    (entry,) = [e for e in Catalog.load().entries("sink") if e.plugin.name == "of_other"]
    assert entry.origin == "streamd-other 2.1 (other = streamd_other)"
    monkeypatch.delitem(sys.modules, "streamd_other")


@pytest.mark.parametrize(
    ("role", "name", "told"),
    [
        ("sink", "stoer", 'no sink is called "stoer"; did you mean "store"?'),
        ("source", "store", 'no source is called "store" (there is a sink of that name)'),
        ("sink", "xyz", 'no sink is called "xyz"; there are: store'),
        ("snik", "xyz", 'no snik is called "xyz"'),
    ],
)
def test_an_unknown_name(role: str, name: str, told: str, plugins: Write) -> None:
    catalog = Catalog.load([plugins(a=good("sink", "store"))])
    with pytest.raises(NotInCatalogError) as caught:
        catalog.find(role, name)
    assert str(caught.value) == told


def test_hooks_reach_every_plugin(plugins: Write) -> None:
    directory = plugins(
        one="""
        from streamd.api import hookimpl
        heard = []
        @hookimpl
        def streamd_config_reloaded(accepted, message):
            heard.append((accepted, message))
            return heard
        """
    )
    hook = Catalog.load([directory]).hook
    assert hook.streamd_config_reloaded(accepted=True, message="x") == [[(True, "x")]]
