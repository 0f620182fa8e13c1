"""`streamd install`: a unit that systemd itself finds nothing wrong with."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from streamd import exits
from streamd.cli.install import install
from streamd.cli.unit import name, unit
from streamd.settings.model import PipelineOptions

PROGRAM = Path(sys.executable).parent / "streamd"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "streamd.toml"
    path.touch()
    return path


def service(text: str) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser["Service"]


def complaints(systemd_analyze: str, folder: Path, text: str, *, instance: bool) -> str:
    path = folder / name(instance=instance)
    path.write_text(text)
    done = subprocess.run(
        [systemd_analyze, "verify", path], capture_output=True, text=True, timeout=60
    )
    return done.stderr + ("" if done.returncode == 0 else f"status {done.returncode}")


@pytest.mark.parametrize("instance", [False, True])
def test_systemd_finds_nothing_wrong(
    systemd_analyze: str, tmp_path: Path, config: Path, instance: bool
) -> None:
    text = unit(PROGRAM, config, instance=instance).replace("#LoadCred", "LoadCred")
    assert complaints(systemd_analyze, tmp_path, text, instance=instance) == ""
    assert "LoadCredential=clickhouse:" in text


def test_systemd_would_find_a_mistake(systemd_analyze: str, tmp_path: Path, config: Path) -> None:
    text = unit(PROGRAM, config, instance=False).replace("WatchdogSec", "WatchDogSec")
    told = complaints(systemd_analyze, tmp_path, text, instance=False)
    assert "Unknown key 'WatchDogSec'" in told


def test_the_service_is_confined(systemd_analyze: str, tmp_path: Path, config: Path) -> None:
    """The threshold is in tenths; what is left is the network and Unix sockets, which it needs."""
    path = tmp_path / "streamd.service"
    path.write_text(unit(PROGRAM, config, instance=False))
    command = [systemd_analyze, "security", "--offline=true", "--threshold=13", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("folder", ["two words", "100%i", "a$HOME", "a;b"])
def test_systemd_finds_the_program_whatever_its_path(
    systemd_analyze: str, tmp_path: Path, folder: str
) -> None:
    program = tmp_path / folder / "streamd"
    program.parent.mkdir()
    program.touch(mode=0o755)
    text = unit(program, program.parent / "a.toml", instance=False)
    assert complaints(systemd_analyze, tmp_path, text, instance=False) == ""


def test_the_unit_fits_the_daemon() -> None:
    text = unit(PROGRAM, Path("/etc/s/a.toml"), instance=False)
    keys = service(text)
    assert keys["ExecStart"] == f"{PROGRAM} --config /etc/s/a.toml"
    assert keys["RestartPreventExitStatus"] == str(exits.CONFIG)
    assert float(keys["TimeoutStopSec"]) > PipelineOptions().drain_timeout
    # First the signal, so that the daemon itself knows of what it refuses.
    assert re.findall("^ExecReload=(.*)", text, re.MULTILINE) == [
        "/bin/kill -HUP $MAINPID",
        f"{PROGRAM} --config /etc/s/a.toml check",
    ]


def test_each_instance_has_a_configuration_and_a_state_of_its_own() -> None:
    keys = service(unit(PROGRAM, Path("/etc/s/a.toml"), instance=True))
    assert keys["ExecStart"] == f"{PROGRAM} --config /etc/s/%i.toml"
    assert keys["StateDirectory"] == keys["User"] == "streamd-%i"


def test_it_is_printed(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(config.parent)
    assert install(Path(config.name), output=None, instance=False) == exits.OK
    assert service(capsys.readouterr().out)["ExecStart"] == f"{PROGRAM} --config {config}"


def test_the_command_that_was_called_is_the_one_that_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link stays: what it points to changes with an upgrade."""
    called = tmp_path / "bin" / "streamd"
    called.parent.mkdir()
    called.symlink_to(PROGRAM)
    monkeypatch.setattr(sys, "argv", [str(called)])
    install(tmp_path / "a.toml", output=None, instance=False)
    assert service(capsys.readouterr().out)["ExecStart"].startswith(f"{called} --config")


def test_it_is_written(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "streamd@.service").write_text("what an older version wrote")
    assert install(config, output=tmp_path, instance=True) == exits.OK
    assert "%i.toml" in (tmp_path / "streamd@.service").read_text()
    assert "systemctl enable --now streamd@NAME" in capsys.readouterr().out


def test_it_cannot_be_written(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(config, output=tmp_path / "none", instance=False) == exits.FAILED
    assert "No such file or directory" in capsys.readouterr().err


def test_what_the_service_could_not_see_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    install(Path("/home/somebody/streamd.toml"), output=None, instance=False)
    told = capsys.readouterr().err
    assert "warning: /home/somebody/streamd.toml does not exist" in told
    assert "warning: /home/somebody/streamd.toml is out of the service's sight" in told
