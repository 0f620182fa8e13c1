"""What a relative name in a configuration means, wherever the command runs."""

from pathlib import Path

import pytest

from streamd import exits
from streamd.cli import main as cli

CONFIG = """
[pipeline.events.source]
plugin = "generator"
[[pipeline.events.validate]]
plugin = "json_schema"
schema_file = "schemas/event.json"
[[pipeline.events.sink]]
id = "out"
plugin = "stdout"

[[test]]
name = "the schema is found"
[[test.input]]
events = [{ id = 1 }, { id = "x" }]
[[test.expect]]
sink = "out"
rows = [{ id = 1 }]
[[test.expect]]
stream = "dead_letters"
rows = [{ reason = "wrong_type" }]

[[pipeline.events.sink]]
id = "dead"
plugin = "stdout"
inputs = ["dead_letters"]
"""


@pytest.mark.parametrize("where", [".", "elsewhere", "etc/schemas"])
def test_a_file_of_the_configuration_is_found_from_anywhere(
    where: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for folder in ("etc/schemas", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    config, schema = tmp_path / "etc" / "streamd.toml", tmp_path / "etc/schemas/event.json"
    config.write_text(CONFIG)
    schema.write_text('{"properties": {"id": {"type": "integer"}}}')
    monkeypatch.chdir(tmp_path / where)
    assert cli.main(("check", "--connect", "--config", str(config))) == exits.OK
    assert f"events.json_schema  ok  {schema} is a schema" in capsys.readouterr().out
    assert cli.main(("test", str(config))) == exits.OK
    assert cli.main(("echo", "--config", str(config))) == exits.OK
    assert f'schema_file = "{schema}"' in capsys.readouterr().out, "echo tells what is meant"


def test_a_relative_configuration_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc" / "schemas").mkdir(parents=True)
    (tmp_path / "etc" / "streamd.toml").write_text(CONFIG)
    (tmp_path / "etc" / "schemas" / "event.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert cli.main(("check", "--connect", "--config", "etc/streamd.toml")) == exits.OK
    monkeypatch.chdir(tmp_path / "etc")
    assert cli.main(("check", "--connect", "--config", "streamd.toml")) == exits.OK
