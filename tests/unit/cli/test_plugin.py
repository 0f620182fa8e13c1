"""`streamd plugin`: what it writes is good from the first moment, and is tested as it should."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamd import exits
from streamd.cli import main as cli
from streamd.cli.plugin import suite
from streamd.cli.plugin.arguments import ROLES
from streamd.cli.plugin.suite import NoTestsError, find_tests

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
LONGEST = "a_name_that_is_rather_long_yes"


def run(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True
    )


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("role", ROLES)
def test_a_new_plugin_keeps_its_contract(role: str, tmp_path: Path) -> None:
    assert cli.main(["plugin", "init", "mine", "--role", role]) == exits.OK
    project = tmp_path / "streamd-mine"
    done = run(str(BIN / "streamd"), "plugin", "test", "streamd-mine", "--", "-q", cwd=tmp_path)
    assert done.returncode == exits.OK, done.stdout + done.stderr
    assert " passed" in done.stdout
    # And without the command, as long as nothing asks whether the package is installed.
    done = run(
        *(sys.executable, "-m", "pytest", "-q", "--deselect", "tests/test_mine.py::TestPackage"),
        cwd=project,
        PYTHONPATH=str(project),
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["x", "mine", LONGEST])
def test_new_plugins_are_formatted_and_clean(name: str, tmp_path: Path) -> None:
    for role in ROLES:
        assert cli.main(["plugin", "init", name, "--role", role, role]) == exits.OK
    for command in (("format", "--check"), ("check",)):
        done = run(str(BIN / "ruff"), *command, "--no-cache", ".", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_new_plugins_are_fully_typed(tmp_path: Path) -> None:
    projects = [tmp_path / f"streamd-my-{role}" for role in ROLES]
    for role in ROLES:
        assert cli.main(["plugin", "init", f"my_{role}", "--role", role]) == exits.OK
    done = run(
        *(sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")),
        *(
            str(place)
            for project in projects
            for place in project.glob("*/")
            if place.name != "samples"
        ),
        cwd=tmp_path,
        MYPYPATH=os.pathsep.join(map(str, projects)),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_has_the_settings(tmp_path: Path) -> None:
    assert cli.main(["plugin", "init", "mine", "--role", "sink"]) == exits.OK
    readme = (tmp_path / "streamd-mine" / "README.md").read_text()
    assert "| `path` | string | required | File to append to. |" in readme
    assert "At least once" in readme


def test_the_readme_is_kept_up_to_date(tmp_path: Path) -> None:
    assert cli.main(["plugin", "init", "mine", "--role", "sink"]) == exits.OK
    project = tmp_path / "streamd-mine"
    suite.announce(project, tmp_path)
    path = os.pathsep.join((str(project), str(tmp_path)))
    write = (sys.executable, "-m", "streamd.cli.docs", ".")
    assert run(*write, "--check", cwd=project, PYTHONPATH=path).returncode == 0
    code = project / "streamd_mine" / "sink.py"
    code.write_text(code.read_text().replace("File to append to.", "Where to."))
    assert run(*write, "--check", cwd=project, PYTHONPATH=path).returncode == 1
    assert run(*write, cwd=project, PYTHONPATH=path).stdout == "written: README.md\n"
    assert "| Where to. |" in (project / "README.md").read_text()
    assert not (project / "config").exists()


def test_it_runs_in_a_daemon(tmp_path: Path) -> None:
    """The sample as it is, with the package on the path as an installation would have it."""
    assert cli.main(["plugin", "init", "mine", "--role", "sink"]) == exits.OK
    project = tmp_path / "streamd-mine"
    suite.announce(project, tmp_path)
    path = os.pathsep.join((str(project), str(tmp_path)))
    sample = project / "samples" / "mine.toml"
    sample.write_text('[streamd]\nadmin = ""\n' + sample.read_text())
    done = run(str(BIN / "streamd"), "--config", str(sample), cwd=tmp_path, PYTHONPATH=path)
    assert done.returncode == exits.OK, done.stderr
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 10


def test_it_is_tested_alike_once_it_is_installed(tmp_path: Path) -> None:
    """As after `pip install -e`: two descriptions of it are on the path, and one counts."""
    assert cli.main(["plugin", "init", "my_own", "--role", "sink"]) == exits.OK
    project, installed = tmp_path / "streamd-my-own", tmp_path / "site-packages"
    info = installed / "streamd_my_own-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: streamd-my-own\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[streamd]\nmy_own = streamd_my_own\n")
    path = os.pathsep.join((str(project), str(installed)))
    only = ("--", "-q", "-k", "can_be_used")
    for wanted in ("my_own", "streamd-my-own"):
        program = (str(BIN / "streamd"), "plugin", "test", wanted, *only)
        done = run(*program, cwd=tmp_path, PYTHONPATH=path)
        assert done.returncode == exits.OK, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["Mine", "a-b", "1st", "", "kafka", "a__b", "a" * 31])
def test_names_that_cannot_be(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugin", "init", name, "folder"]) == exits.USAGE
    assert capsys.readouterr().err
    assert not Path("folder").exists()


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert cli.main(["plugin", "init", "mine", "full"]) == exits.USAGE
    assert capsys.readouterr().err == "full exists and is not an empty folder\n"
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_a_broken_promise_is_found(tmp_path: Path) -> None:
    assert cli.main(["plugin", "init", "mine", "--role", "sink"]) == exits.OK
    code = tmp_path / "streamd-mine" / "streamd_mine" / "sink.py"
    code.write_text(
        code.read_text().replace("if rejects:\n            raise", "if False:\n            raise")
    )
    done = run(str(BIN / "streamd"), "plugin", "test", "streamd-mine", "--", "-q", cwd=tmp_path)
    assert done.returncode == exits.FAILED
    assert "test_rejected_names_exactly_the_rows" in done.stdout


def test_without_pytest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["plugin", "test", "."]) == exits.FAILED
    assert "pip install pytest" in capsys.readouterr().err


def test_an_installed_plugin_is_tested_where_its_source_is() -> None:
    found = find_tests("generator")
    assert found == (ROOT, Path("tests/plugins/streamd_generator"))
    assert (ROOT / found[1]).is_dir()


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("genrator", 'no plugin package is called "genrator", did you mean "generator"?'),
        ("./nowhere", "./nowhere holds no pyproject.toml"),
        ("plain", "has no entry point of the group streamd"),
        ("untested", "has no folder tests"),
    ],
)
def test_what_cannot_be_tested(wanted: str, told: str, tmp_path: Path) -> None:
    for name in ("plain", "untested"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n')
    with (tmp_path / "untested" / "pyproject.toml").open("a") as file:
        file.write('[project.entry-points.streamd]\nx = "streamd_x"\n')
    with pytest.raises(NoTestsError, match="(?s)" + told.replace("?", r"\?")):
        find_tests(wanted)
