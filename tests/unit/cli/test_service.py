"""`streamd as`: what it asks systemd-run for. That systemd does it is tests/systemd's."""

from pathlib import Path

import pytest

from streamd import exits
from streamd.cli import main as cli
from streamd.cli.service import NoServiceError, transient
from tests.services.installed import ROOT

EMBEDDED = (ROOT / "streamd.toml").read_text()
SHOWN = {
    "ExecStart": "{ path=/usr/bin/streamd ; argv[]=/usr/bin/streamd --config /etc/my streamd/k.toml"
    " ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }",
    "DynamicUser": "yes",
    "Group": "",
    "StateDirectory": "streamd-k",
    "StateDirectoryMode": "0700",
    "SupplementaryGroups": "adm",
    "UMask": "0077",
    "User": "streamd",
    "WorkingDirectory": "/var/lib/streamd-k",
}
WRITTEN = """\
# /etc/systemd/system/streamd@.service
[Service]
#LoadCredential=clickhouse:/etc/streamd/credentials/clickhouse
ExecStart=/usr/bin/streamd --config /etc/streamd/%i.toml
# /etc/systemd/system/streamd@k.service.d/override.conf
[Service]
LoadCredential=token:/etc/streamd/%i.token
Environment=A=1 "B=50%% of it"
EnvironmentFile=-/etc/default/streamd
"""


def test_a_transient_unit_is_like_the_service() -> None:
    words = transient("streamd@k", SHOWN, WRITTEN, ["dlq", "list", "--limit", "5"])
    told = words[: words.index("--")]
    assert words[words.index("--") + 1 :] == [
        "/usr/bin/streamd",
        *("--config", "/etc/my streamd/k.toml"),
        *("dlq", "list", "--limit", "5"),
    ]
    assert {word.removeprefix("--property=") for word in told if "--property=" in word} == {
        "DynamicUser=yes",
        "StateDirectory=streamd-k",
        "StateDirectoryMode=0700",
        "SupplementaryGroups=adm",
        "UMask=0077",
        "User=streamd",
        "WorkingDirectory=/var/lib/streamd-k",
        "LoadCredential=token:/etc/streamd/k.token",
        'Environment=A=1 "B=50% of it"',
        "EnvironmentFile=-/etc/default/streamd",
    }
    assert "--wait" in told


@pytest.mark.parametrize(
    "started",
    [
        {},
        {"ExecStart": "{ path=/bin/cat ; argv[]=/bin/cat ; ignore_errors=no ; pid=0 }"},
    ],
)
def test_a_service_of_something_else(started: dict[str, str]) -> None:
    with pytest.raises(NoServiceError, match="cron runs no `streamd"):
        transient("cron", started, "", ["dlq", "list"])


@pytest.mark.parametrize("place", ["/tmp/letters", "/var/tmp", "/tmp"])
def test_what_is_written_into_the_services_own_tmp_would_be_lost(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["as", "streamd", "dlq", "archive", place]) == exits.USAGE
    assert place in capsys.readouterr().err


def test_a_command_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["as", "streamd"]) == exits.USAGE
    assert "dlq list" in capsys.readouterr().err


@pytest.mark.parametrize("installed", [True, False])
def test_without_systemd_it_says_so(
    installed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if installed:
        (tmp_path / "systemctl").write_text("#!/bin/sh\necho Host is down >&2\nexit 1\n")
        (tmp_path / "systemctl").chmod(0o755)
    assert cli.main(["as", "streamd", "dlq", "list"]) == exits.FAILED
    assert ("Host is down" if installed else "systemctl") in capsys.readouterr().err


@pytest.mark.parametrize("has_run", [True, False])
def test_letters_of_no_daemon_are_told_from_none(
    has_run: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As root a shell has not the service's STATE_DIRECTORY, and looks at another place."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    (tmp_path / "streamd.toml").write_text(EMBEDDED)
    if has_run:
        (tmp_path / "var").mkdir()
    assert cli.main(["dlq", "list"]) == exits.OK
    told = capsys.readouterr()
    assert "0 letters" in told.out + told.err
    assert (f"no daemon has run in {tmp_path}/var" in told.err) != has_run
