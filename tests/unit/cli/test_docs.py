"""The pages of docs/: commands exist, configurations load, links lead somewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest

from streamd import api
from streamd.catalog import Catalog
from streamd.cli import docs
from streamd.cli import main as cli
from streamd.settings import SettingsError, load
from streamd.settings.fields import settings_of
from streamd.testing import batch_of, stage_context
from streamd.testing.scenarios import judge, read, run
from streamd.testing.scenarios.script import Place
from tests.unit.shipped.exposition import exposed

ROOT = Path(__file__).resolve().parents[3]
WRITTEN = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_METRIC = re.compile(r"`((?:streamd|consumer|dlq)_\w+)`")
_PARTS = ("_total", "_bucket", "_count", "_sum", "_created")


def blocks(path: Path, language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(path.read_text("utf-8")) if kind == language]


def commands() -> Iterator[tuple[str, str]]:
    for path in WRITTEN:
        for text in blocks(path, "console"):
            for line in text.splitlines():
                if line.startswith("$ streamd "):
                    yield path.name, line.removeprefix("$ streamd ")


def configurations() -> list[tuple[str, str]]:
    return [(path.name, text) for path in WRITTEN for text in blocks(path, "toml")]


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_a_command_exists(page: str, command: str) -> None:
    words = shlex.split(re.split(r" [|&]| 2> ", command)[0])
    parser, _ = cli._parser()
    parser.parse_args(words)


def test_a_command_that_does_not_exist_is_found() -> None:
    parser, _ = cli._parser()
    with pytest.raises(SystemExit):
        parser.parse_args(["plugin", "start", "x"])


def completed(text: str) -> str:
    """A part of a configuration with what it lacks: a source, and a sink that reads it."""
    names = sorted(set(re.findall(r"^\[\[?pipeline\.(\w+)", text, re.MULTILINE))) or ["any"]
    for name in names:
        if f"pipeline.{name}.source]" not in text:
            text += f'[[pipeline.{name}.source]]\nid = "from"\nplugin = "generator"\n'
            text += f'[[pipeline.{name}.sink]]\nid = "to"\nplugin = "stdout"\n'
    return text


@pytest.mark.parametrize(("page", "text"), configurations())
def test_a_configuration_loads(page: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "streamd.toml"
    path.write_text(completed(text))
    load(path, {})


def test_the_test_that_is_shown_passes(tmp_path: Path) -> None:
    (shown,) = blocks(ROOT / "docs" / "configuration.md", "toml")
    path = tmp_path / "streamd.toml"
    path.write_text(
        '[pipeline.any.source]\nid = "in"\nplugin = "generator"\n'
        '[[pipeline.any.sink]]\nid = "store"\nplugin = "stdout"\n'
        '[[pipeline.any.sink]]\nid = "dead"\nplugin = "file"\ninputs = ["dead_letters"]\n' + shown
    )
    (script,) = read(path)
    observed = run(script)
    assert judge(script, observed) == []
    assert max(row.at for row in observed.rows[Place("sink", "store")]) > 5


def test_a_configuration_that_does_not_load_is_found(tmp_path: Path) -> None:
    path = tmp_path / "streamd.toml"
    path.write_text(completed('[[pipeline.x.sink]]\nplugin = "stdot"\n'))
    with pytest.raises(SettingsError, match="did you mean"):
        load(path, {})


def test_the_plugin_of_one_file_works(tmp_path: Path) -> None:
    whole, _settings = blocks(ROOT / "docs" / "writing-a-plugin.md", "python")
    (tmp_path / "shout.py").write_text(whole)
    catalog = Catalog.load([tmp_path])
    assert catalog.errors == []
    cls: Any = catalog.find("transform", "shout").cls
    (batch,) = cls(cls.Config(), stage_context()).process(batch_of([{"text": "hey"}]))
    assert batch.values == [{"text": "HEY"}]


def test_the_settings_that_are_shown_are_settings() -> None:
    _whole, settings = blocks(ROOT / "docs" / "writing-a-plugin.md", "python")
    names: dict[str, Any] = {**vars(api), "Annotated": Annotated}
    exec(compile(settings, "settings", "exec", dont_inherit=True), names)
    found = {setting.key: setting.required for setting in settings_of(names["Config"])}
    assert found == {"path": True, "wait": False, "limit": False, "password": False, "ca": False}


@pytest.mark.parametrize("path", [*WRITTEN, *(ROOT / "docs" / "plugins").glob("*.md")], ids=str)
def test_links_lead_somewhere(path: Path) -> None:
    for link in _LINK.findall(path.read_text("utf-8")):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        found = path.parent / target if target else path
        assert found.exists(), link
        if anchor:
            heads = re.findall(r"^#+ (.*)$", found.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in heads}


def test_metrics_that_are_named_exist() -> None:
    series = set(exposed())
    known = series | {re.sub("|".join(f"{part}$" for part in _PARTS), "", name) for name in series}
    packages = {path.name for path in (ROOT / "plugins").iterdir()} | {"dlq_id"}
    for path in WRITTEN:
        named = set(_METRIC.findall(path.read_text("utf-8"))) - packages
        assert named <= known, path


def test_every_metric_of_the_engine_is_told() -> None:
    page = set(_METRIC.findall((ROOT / "docs" / "operating.md").read_text("utf-8")))
    source = (ROOT / "streamd" / "telemetry" / "metrics.py").read_text("utf-8")
    ends = set(re.findall(r'"((?:streamd_|consumer_|dlq_)?[a-z_]+)"', source))
    missing = [
        name
        for name in exposed()
        if not name.endswith(("_bucket", "_count", "_sum", "_created"))
        and (name in ends or name.removeprefix("streamd_") in ends)
        and name not in page
    ]
    assert missing == []


def test_every_exit_status_is_told() -> None:
    page = (ROOT / "docs" / "operating.md").read_text("utf-8")
    told = set(re.findall(r"^\| (\d+) \|", page, re.MULTILINE))
    source = (ROOT / "streamd" / "exits.py").read_text("utf-8")
    assert told == set(re.findall(r"^[A-Z_]+ = (\d+)$", source, re.MULTILINE))


def test_every_source_and_sink_says_what_it_gives() -> None:
    page = (ROOT / "docs" / "delivery.md").read_text("utf-8")
    told = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", page, re.MULTILINE))))
    packages = {path.name for path in (ROOT / "plugins").iterdir()}
    shipped = [
        entry.plugin.name
        for role in ("source", "sink")
        for entry in Catalog.load().entries(role)
        if entry.plugin.cls.__module__.partition(".")[0] in packages
    ]
    assert [name for name in shipped if name not in told] == []


def test_no_page_of_a_plugin_is_left_over() -> None:
    """When this fails: a plugin is gone, delete its page."""
    pages = {path for path, _ in docs.generate(ROOT) if path.parent == ROOT / docs.PAGES}
    assert set((ROOT / docs.PAGES).iterdir()) == pages
