"""`streamd test` as a person calls it; and the tests that the shipped configurations hold."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from streamd import exits
from streamd.cli import main as cli

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = [
    path
    for pattern in ("*.toml", "config/examples/**/*.toml", "plugins/*/samples/*.toml")
    for path in sorted(ROOT.glob(pattern))
    if "test" in tomllib.loads(path.read_text("utf-8"))
]
PIPELINE = """
[pipeline.events.source]
plugin = "generator"
[[pipeline.events.sink]]
id = "out"
plugin = "stdout"
"""
PASSES = """
[[test]]
name = "passes"
[[test.input]]
events = [{ id = 1 }]
[[test.expect]]
sink = "out"
rows = [{ id = 1 }]
"""
FAILS = PASSES.replace("passes", "fails").replace("rows = [{ id = 1 }]", "rows = [{ id = 2 }]")

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(arguments)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("streamd.toml").write_text(PIPELINE + PASSES)
    Path("both.toml").write_text(PIPELINE + PASSES + FAILS)
    Path("none.toml").write_text(PIPELINE)
    Path("wrong.toml").write_text(PIPELINE + PASSES.replace("sink", "snik"))


def test_a_test_that_passes(call: Call) -> None:
    assert call("test") == (exits.OK, "ok      streamd.toml: passes\n1 passed, 0 failed\n", "")


def test_a_test_that_fails(call: Call) -> None:
    status, out, err = call("test", "both.toml")
    assert (status, err) == (exits.FAILED, "")
    assert out.splitlines() == [
        "ok      both.toml: passes",
        "FAILED  both.toml: fails",
        "        both.toml:20: sink out: no row like the expected",
        '          - {"id":2}',
        '          + {"id":1}',
        "              id: expected 2, got 1",
        "1 passed, 1 failed",
    ]


def test_what_was_logged_is_shown_with_a_test_that_fails(call: Call) -> None:
    fault = '[[test.fault]]\nsink = "out"\nerror = "retryable"\ntimes = 1\n'
    Path("both.toml").write_text(PIPELINE + PASSES + fault + FAILS + fault)
    lines = call("test", "both.toml")[1].splitlines()
    assert lines.count("        log:") == 1
    assert "Will try again" in lines[-2]


def test_several_files_and_a_choice_of_tests(call: Call) -> None:
    status, out, _ = call("test", "streamd.toml", "both.toml", "--only", "pass")
    assert status == exits.OK
    assert out.splitlines() == [
        "ok      streamd.toml: passes",
        "ok      both.toml: passes",
        "2 passed, 0 failed",
    ]


def test_running_nothing_is_no_success(call: Call) -> None:
    told = "no test was found: write tables [[test]]\n"
    assert call("test", "none.toml") == (exits.FAILED, "", told)
    told = 'no test holds "fly" in its name\n'
    assert call("test", "both.toml", "--only", "fly") == (exits.FAILED, "", told)


def test_a_test_that_is_wrong(call: Call) -> None:
    status, out, err = call("test", "both.toml", "wrong.toml", "nowhere.toml")
    assert (status, out) == (exits.CONFIG, "")
    assert err.splitlines() == [
        'wrong.toml:13: test[0].expect[0].snik: unknown key, did you mean "sink"?',
        "nowhere.toml: cannot read the configuration: No such file or directory",
    ]


# --- what `streamd check` says of them -----------------------------------------------------------


def test_check_reads_the_tests_and_runs_none(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.testing.scenarios.run", None)
    told = "both.toml: good (events; 2 stages, 2 tests)\n"
    assert call("check", "--config", "both.toml") == (exits.OK, told, "")
    told = "none.toml: good (events; 2 stages)\n"
    assert call("check", "--config", "none.toml") == (exits.OK, told, "")


@pytest.mark.parametrize("more", [(), ("--connect",)])
def test_check_finds_what_is_wrong_in_a_test(call: Call, more: tuple[str, ...]) -> None:
    status, out, err = call("check", "--config", "wrong.toml", *more)
    assert (status, out) == (exits.CONFIG, "")
    assert err == 'wrong.toml:13: test[0].expect[0].snik: unknown key, did you mean "sink"?\n'


def test_check_tells_all_mistakes_at_once_and_each_once(call: Call) -> None:
    wrong = PIPELINE.replace('"stdout"', '"stduot"') + PASSES.replace("name =", "nmae =")
    Path("wrong.toml").write_text(wrong + '[[test]]\nname = "other"\n[[test.expect]]\n')
    status, _, err = call("check", "--config", "wrong.toml")
    assert status == exits.CONFIG
    assert [line.partition(": ")[0] for line in err.splitlines()] == [
        "wrong.toml:6",
        "wrong.toml:8",
        "wrong.toml:9",
    ]
    assert 'did you mean "stdout"' in err


def test_a_variable_that_is_missing_is_told_once(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PIPELINE.replace('"out"', '"${NAME:?say it}"') + PASSES
    Path("needs.toml").write_text(config)
    place = "needs.toml:5: pipeline.events.sink[0].id: environment variable NAME is not set: say it"
    assert call("check", "--config", "needs.toml") == (exits.CONFIG, "", f"{place}\n")
    monkeypatch.setenv("NAME", "out")
    told = f"{place} (a test sees only the variables of its env)\n"
    assert call("check", "--config", "needs.toml") == (exits.CONFIG, "", told)
    Path("needs.toml").write_text(config.replace("[[test]]", '[[test]]\nenv = { NAME = "out" }'))
    assert call("check", "--config", "needs.toml")[0] == exits.OK


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_tests_of_a_shipped_configuration_pass(
    path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    status, out, err = call("test", str(path))
    assert (status, err) == (exits.OK, ""), out


def test_some_shipped_configurations_have_tests() -> None:
    assert SHIPPED
