"""What two stages of the real plugins cannot both have: `streamd check` names both."""

from pathlib import Path

import pytest

from streamd import exits
from streamd.cli import main as cli

CONFIG = """
[streamd]
admin = "127.0.0.1:8000"

[[pipeline.a.source]]
id = "http"
plugin = "http"
[[pipeline.a.source]]
id = "log"
plugin = "file"
path = "app.log"
[[pipeline.a.sink]]
id = "out"
plugin = "stdout"

[[pipeline.b.source]]
id = "log"
plugin = "file"
path = "app.log"
[[pipeline.b.source]]
id = "one"
plugin = "file"
path = "-"
[[pipeline.b.source]]
id = "two"
plugin = "file"
path = "-"
[[pipeline.b.sink]]
id = "out"
plugin = "stdout"
"""


def test_ports_files_and_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(CONFIG)
    assert cli.main(("check", "--config", "s.toml")) == exits.CONFIG
    assert capsys.readouterr().err.splitlines() == [
        "s.toml:5: pipeline.a.source[0]: the address 127.0.0.1:8000 is taken already"
        " (see s.toml:3: streamd.admin)",
        "s.toml:16: pipeline.b.source[0]: the file app.log is taken already"
        " (see s.toml:8: pipeline.a.source[1])",
        "s.toml:24: pipeline.b.source[2]: standard input is taken already"
        " (see s.toml:20: pipeline.b.source[1])",
    ]
