"""Commands as a person calls them: what they print, where, and their exit status."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from streamd import __version__, exits
from streamd.api import Misconfigured
from streamd.cli import main as cli
from tests.unit.settings import fakes

GOOD = """
[pipeline.events.source]
plugin = "numbers"
topics = ["a"]
[[pipeline.events.sink]]
id = "store"
plugin = "store"
password = "@{env:STREAMD_TEST_PASSWORD}"
"""

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def only_fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point = EntryPoint("fakes", "tests.unit.settings.fakes", "streamd")
    monkeypatch.setattr("streamd.discovery.installed", lambda group: [point])
    monkeypatch.setenv("STREAMD_TEST_PASSWORD", "swordfish")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "bad.toml").write_text(GOOD.replace("topics", "topic"))


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*arguments: str) -> tuple[int, str, str]:
        try:
            status = cli.main(arguments)
        except SystemExit as error:
            status = int(error.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("run",),
        ("--config", "good.toml"),
        ("--config", "good.toml", "run"),
        ("run", "--config", "good.toml"),
    ],
)
def test_the_daemon_runs_by_default(
    arguments: tuple[str, ...], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []

    class Daemon:
        @staticmethod
        def run(config: Path) -> int:
            started.append(config)
            return 75

    monkeypatch.setitem(sys.modules, "streamd.daemon", Daemon)
    assert call(*arguments) == (75, "", "")
    assert started == [Path("good.toml" if len(arguments) > 1 else "streamd.toml")]


def test_version(call: Call) -> None:
    assert call("--version") == (exits.OK, f"streamd {__version__}\n", "")


def test_check_of_a_good_file(call: Call) -> None:
    told = "good.toml: good (events; 2 stages)\n"
    assert call("check", "--config", "good.toml") == (exits.OK, told, "")


def test_check_of_a_bad_file(call: Call) -> None:
    status, out, err = call("--config", "bad.toml", "check")
    assert (status, out) == (exits.CONFIG, "")
    assert err.splitlines() == [
        "bad.toml:2: pipeline.events.source.topics: required, but not given",
        'bad.toml:4: pipeline.events.source.topic: unknown key, did you mean "topics"?',
    ]


def test_check_without_a_file(call: Call) -> None:
    status, _, err = call("check")
    assert status == exits.CONFIG
    assert err == "streamd.toml: cannot read the configuration: No such file or directory\n"


@pytest.mark.parametrize(
    ("answer", "status", "told"),
    [
        (
            "3 topics",
            exits.OK,
            "events.numbers  -  connects to nothing\nevents.store  ok  3 topics",
        ),
        (Misconfigured("no table"), exits.FAILED, "events.store  FAILED  Misconfigured: no table"),
        (RuntimeError("a bug"), exits.FAILED, "events.store  FAILED  RuntimeError: a bug"),
        (None, exits.FAILED, "events.store  FAILED  no answer within 0.001 s"),
    ],
)
def test_check_connect(
    answer: Any, status: int, told: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def healthcheck(self: Any) -> str:
        if answer is None:
            import anyio

            await anyio.sleep_forever()
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr(fakes.Store, "healthcheck", healthcheck, raising=False)
    arguments = ("check", "--connect", "--config", "good.toml", "--timeout", "0.001")
    found, out, err = call(*arguments)
    assert (found, f"{told}\n" in (out, err)) == (status, True), (out, err)


def test_echo_masks_secrets(call: Call) -> None:
    status, out, _ = call("echo", "--config", "good.toml")
    assert status == exits.OK
    assert 'password = "***"' in out
    assert "max_rows = 100" in out
    assert "swordfish" not in out
    assert call("echo", "--config", "bad.toml")[0] == exits.CONFIG


def test_list(call: Call) -> None:
    status, out, _ = call("list")
    assert status == exits.OK
    assert [line.split()[:2] for line in out.splitlines()][:3] == [
        ["aggregation", "count"],
        ["codec", "json"],
        ["policy", "block"],
    ]
    assert call("list", "window")[1].splitlines() == [
        "window  join    Reads two streams that its settings name."
        "  unknown distribution (fakes = tests.unit.settings.fakes)",
        "window  tumble  Counts per minute."
        "                         unknown distribution (fakes = tests.unit.settings.fakes)",
    ]


def test_list_of_an_unknown_role(call: Call) -> None:
    told = 'no role is called "windw", did you mean "window"?\n'
    assert call("list", "windw") == (exits.USAGE, "", told)


def test_list_knows_the_plugin_files_of_the_configuration(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "typo.py").write_text("import nowhere")
    (tmp_path / "good.toml").write_text('[streamd]\nplugins_dir = ["${NONE:-mine}"]\n' + GOOD)
    status, _, err = call("list", "--config", "good.toml")
    assert status == exits.OK
    assert err.startswith("warning: plugin mine/typo.py: ModuleNotFoundError: No module named")


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("sink/stoer", 'no sink is called "stoer"; did you mean "store"?'),
        ("store", '"store": write ROLE/PLUGIN'),
        ("snik/store", 'no snik is called "store" (there is a sink of that name)'),
    ],
)
def test_create_of_an_unknown_plugin(wanted: str, told: str, call: Call) -> None:
    status, out, err = call("create", wanted)
    assert (status, out) == (exits.USAGE, "")
    assert err.startswith(told)


def test_a_plugin_adds_a_command(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def streamd_commands(commands: Any) -> None:
        hello = commands.add_parser("hello", help="Greets.")
        hello.add_argument("name")
        hello.set_defaults(run=lambda args: print("hello", args.name))

    streamd_commands.streamd_impl = fakes.streamd_plugins.streamd_impl  # type: ignore[attr-defined]
    monkeypatch.setattr(fakes, "streamd_commands", streamd_commands, raising=False)
    assert call("hello", "you") == (exits.OK, "hello you\n", "")
    assert "Greets." in call("--help")[1]


def test_a_plugin_that_fails_to_add_its_command_takes_none_away(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def streamd_commands(commands: Any) -> None:
        raise RuntimeError("a bug")

    streamd_commands.streamd_impl = fakes.streamd_plugins.streamd_impl  # type: ignore[attr-defined]
    monkeypatch.setattr(fakes, "streamd_commands", streamd_commands, raising=False)
    status, out, err = call("--help")
    assert (status, "echo" in out) == (exits.OK, True)
    assert err == "warning: a plugin cannot add its command: RuntimeError('a bug')\n"


def test_an_unknown_command(call: Call) -> None:
    status, _, err = call("chekc")
    assert status == exits.USAGE
    assert "invalid choice: 'chekc'" in err


def test_the_version_needs_no_heavy_import() -> None:
    """What a shell prompt or a service manager waits for must not load a network library."""
    script = (
        "import sys; from streamd.cli.main import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: print(*sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "argparse" in loaded
    assert not loaded & {"anyio", "asyncio", "msgspec", "pluggy", "structlog", "aiohttp", "ssl"}


@pytest.mark.parametrize(
    ("new", "status", "told"),
    [
        (GOOD, exits.OK, "A reload would change nothing.\n"),
        (GOOD + 'table = "x"\n', exits.OK, "    sink    store    replaced  table; its queue stays"),
        ('[streamd]\nadmin = ""\n' + GOOD, exits.FAILED, "  [streamd] admin cannot change"),
    ],
)
def test_diff(new: str, status: int, told: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / "new.toml").write_text(new)
    found, out, err = call("diff", "good.toml", "new.toml")
    assert (found, told in out, err) == (status, True, ""), out


def test_diff_of_a_bad_file(call: Call) -> None:
    status, out, err = call("diff", "good.toml", "bad.toml")
    assert (status, out) == (exits.CONFIG, "")
    assert err.startswith("bad.toml:2: ")


@pytest.mark.parametrize("command", ["list", "echo", "config-schema", "create sink/drop", "check"])
def test_a_reader_that_has_had_enough_is_no_error(command: str, tmp_path: Path) -> None:
    """As in `streamd list | head -1`."""
    (tmp_path / "drop.toml").write_text(
        '[pipeline.events.source]\nplugin = "generator"\n'
        '[[pipeline.events.sink]]\nid = "out"\nplugin = "drop"\n'
    )
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [Path(sys.executable).parent / "streamd", "--config", "drop.toml", *command.split()],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (exits.OK, b"")


def test_ctrl_c_ends_a_command_without_a_traceback(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: object, **_options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("streamd.cli.plugins.list_plugins", interrupted)
    assert call("list") == (exits.FAILED, "", "")
