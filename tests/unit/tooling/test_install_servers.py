"""The installer never leaves something half made, and says what went wrong."""

import sys
from pathlib import Path

import pytest

from scripts.install_servers import Job, MissingToolError, building, missing_packages, outcome


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job("kafka", tmp_path)


def test_what_was_built_appears_whole(tmp_path: Path) -> None:
    with building(tmp_path / "kafka-1") as scratch:
        (scratch / "a.jar").write_text("jar")
        assert not (tmp_path / "kafka-1").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["kafka-1"]
    assert (tmp_path / "kafka-1" / "a.jar").read_text() == "jar"


def test_an_interrupted_build_leaves_nothing(tmp_path: Path) -> None:
    def build() -> None:
        with building(tmp_path / "kafka-1") as scratch:
            (scratch / "a.jar").write_text("half a j")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_command_shows_its_last_words(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError, match="exit code 3"):
        job.run([sys.executable, "-c", "print('no such version'); raise SystemExit(3)"])
    assert "[kafka]     no such version" in capsys.readouterr().out


@pytest.mark.parametrize(("ci", "problem"), [("true", "kafka: no Java"), ("", "")])
def test_a_missing_tool_fails_only_ci(
    job: Job, monkeypatch: pytest.MonkeyPatch, ci: str, problem: str
) -> None:
    def install(job: Job) -> None:
        raise MissingToolError("no Java")

    monkeypatch.setenv("CI", ci)
    assert outcome(job, install) == problem


def test_a_broken_download_fails_everywhere(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(job: Job) -> None:
        raise RuntimeError("kafka: exit code 1")

    monkeypatch.delenv("CI", raising=False)
    assert outcome(job, install) == "kafka: exit code 1"


def test_tools_for_building_count_only_while_there_is_something_to_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda tool: None)
    monkeypatch.setattr("tests.services.installed.kafka_libs", lambda: tmp_path / "none")
    monkeypatch.setattr("tests.services.installed.minio_dir", lambda: tmp_path)
    always = ["default-jre-headless", "prometheus", "systemd", "chromium"]
    assert missing_packages() == [*always, "maven"]
