"""What is generated from the settings of plugins: samples that parse, documentation not stale."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from streamd.api import StageConfig
from streamd.catalog import Catalog, Entry, config_of
from streamd.cli import docs
from streamd.cli.sample import sample
from streamd.settings.convert import convert
from streamd.settings.fields import settings_of
from streamd.settings.keys import field_of, keys_of
from streamd.settings.problems import Problems
from streamd.settings.references import resolve
from tests.unit.settings import fakes

ROOT = Path(__file__).resolve().parents[3]
INSTALLED = Catalog.load().entries()
FAKES = [Entry(plugin, "fakes") for plugin in fakes.streamd_plugins()]


def tables_of(text: str) -> Any:
    """The innermost table of a sample."""
    table = tomllib.loads(text)
    while len(table) == 1 and "plugin" not in table:
        (table,) = table.values()
        if isinstance(table, list):
            (table,) = table
    return table


def read(entry: Entry, text: str) -> StageConfig:
    problems = Problems("sample", {})
    table = resolve(tables_of(text), (), {"NAME": "x"}, Path(), problems)
    assert table.pop("plugin") == entry.plugin.name
    for key in set(keys_of(entry.plugin.role)) & table.keys():
        convert(table.pop(key), field_of(key).type, (key,), problems)
    config = convert(table, config_of(entry.plugin), (), problems)
    assert [str(problem) for problem in problems.found] == []
    assert isinstance(config, StageConfig)
    return config


@pytest.mark.parametrize(
    "entry", [*INSTALLED, *FAKES], ids=lambda entry: f"{entry.plugin.role}/{entry.plugin.name}"
)
def test_a_sample_parses_with_and_without_its_comments(entry: Entry) -> None:
    text = sample(entry.plugin)
    as_is = read(entry, text)
    uncommented = read(entry, re.sub(r"^# ([\w-]+ = )", r"\1", text, flags=re.MULTILINE))
    for setting in settings_of(type(as_is)):
        if setting.default_text:
            assert getattr(uncommented, setting.key) == getattr(as_is, setting.key)
    assert text.startswith(f'# The {entry.plugin.role} "{entry.plugin.name}"')


def test_what_a_sample_looks_like() -> None:
    (store,) = [entry for entry in FAKES if entry.plugin.name == "store"]
    text = sample(store.plugin)
    assert text.startswith('# The sink "store". Stores rows.\n[[pipeline.example.sink]]\n')
    assert '\n# Largest row.\n# (size)\n# limit = "1MiB"\n' in text
    assert '\n# Password.\n# (secret, not set by default)\n# password = "@{env:NAME}"\n' in text
    assert '\n# batch = { rows = 500, bytes = "1000B", time = "2s" }\n' in text


def test_every_setting_is_described() -> None:
    bare = [
        f"{entry.plugin.role}/{entry.plugin.name}: {setting.key}"
        for entry in INSTALLED
        for setting in settings_of(config_of(entry.plugin))
        if not setting.description
    ]
    assert bare == []


def test_no_setting_has_the_name_of_an_engine_key() -> None:
    taken = [
        f"{entry.plugin.role}/{entry.plugin.name}: {key}"
        for entry in INSTALLED
        for key in keys_of(entry.plugin.role)
        if key in config_of(entry.plugin).__struct_fields__
    ]
    assert taken == []


def test_the_generated_files_are_not_stale() -> None:
    """When this fails: python -m streamd.cli.docs"""
    assert [str(path) for path in docs.stale(ROOT)] == []


def test_generation_fills_only_what_is_between_the_markers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Catalog, "entries", lambda self, role=None: FAKES if role is None else [])
    readme = tmp_path / "plugins" / "tests" / "README.md"
    readme.parent.mkdir(parents=True)
    readme.write_text(f"before\n{docs.START}\nold\n{docs.END}\nafter\n")
    assert docs.main(["--check", str(tmp_path)]) == 1
    assert "old" in readme.read_text()
    assert docs.main([str(tmp_path)]) == 0
    text = readme.read_text()
    assert text.startswith(f"before\n{docs.START}\n### ")
    assert text.endswith(f"{docs.END}\nafter\n")
    assert "| `columns` | table of table or string | `{}` | Columns by name. |\n" in text
    assert "| `columns.*.width` | integer | `8` | Bytes. |\n" in text
    assert "| `extra[].field` | string | required | Where the value is in the event. |\n" in text
    assert docs.main(["--check", str(tmp_path)]) == 0
    assert "written" in capsys.readouterr().out
