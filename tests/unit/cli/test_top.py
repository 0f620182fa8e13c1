"""`streamd top`: its frames, whom it asks, and that it leaves the terminal as it was."""

import os
import pty
import re
import select
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from fcntl import ioctl
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from termios import TIOCSWINSZ, tcgetattr

import msgspec
import pytest

from streamd import exits
from streamd.admin.look import Look, PipelineLook, Point
from streamd.cli import main as cli
from streamd.cli.frame import frame
from streamd.engine.status import PipelineStatus, StageStatus
from streamd.reloading import ReloadResult
from streamd.telemetry.figures import number, span

TOKEN = "a-token-of-some-length"

# Ctrl-C reaches only who has the terminal for its own.
ON_TERMINAL = """
import fcntl, sys, termios
from streamd.cli.main import main
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.exit(main())
"""


def pipeline(problem: str | None = None) -> PipelineLook:
    stages = {
        "in": StageStatus("source", "kafka", 1_234_567),
        "per_minute": StageStatus("window", "tumbling"),
        "store": StageStatus("sink", "clickhouse", 98_765, 4321, problem),
    }
    problems = [f"store: {problem}"] if problem else []
    return PipelineLook(
        PipelineStatus("running", not problems, problems, dead_lettered=17, stages=stages),
        Point(
            read=3000,
            written=2999,
            dead=1.5,
            latency=0.0123,
            latency_p99=0.4,
            lag_events=5e6,
            lag_seconds=75,
            watermark_lag=3,
        ),
        {"in": 3000, "per_minute": 3000, "store": 2999},
        {"per_minute": {"window_open": 5, "window_keys": 9, "watermark_lag_seconds": 3}},
    )


def look(**pipelines: PipelineLook) -> Look:
    return Look(1_800_003_725, 1_800_000_000, 2, "0.1.0", "d", pipelines)


def test_a_frame_tells_all_of_a_pipeline() -> None:
    lines = [line.rstrip() for line in frame(look(events=pipeline()), 80, 24, colour=False)]
    assert lines[0].startswith("streamd 0.1.0  up 1h02m  ")
    assert lines[1:] == [
        "",
        "events: running  read 3000/s  written 2999/s  dead 1.5/s",
        "  in flight 0  lag 5M  behind 1m15s  latency 12ms, p99 400ms  dead 17",
        "  watermark 3s behind",
        "  STAGE              KIND                      NOW  EVENTS   WAIT  MORE",
        "  in                 source kafka           3000/s   1.23M",
        "  per_minute         window tumbling        3000/s                 5 windows",
        "  store              sink clickhouse        2999/s   98.8k   4321",
        "q: quit",
    ]


def test_a_frame_tells_what_is_wrong_and_that_a_reload_was_refused() -> None:
    seen = msgspec.structs.replace(
        look(events=pipeline("refused\x1b[2J\nby the server")),
        reload=ReloadResult(0, "no such plugin", ""),
    )
    lines = frame(seen, 100, 24, colour=False)
    assert "the last reload was refused" in lines[0]
    assert "events: running, not well" in lines[2]
    assert lines[4].rstrip() == "  ! store: refused [2J by the server"
    assert lines[-2].rstrip().endswith("4321  refused [2J by the server")


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (20, 5), (1, 1), (300, 100)])
def test_a_frame_never_leaves_its_screen(width: int, height: int, colour: bool) -> None:
    many = look(**{f"p{number}": pipeline("down" * 100) for number in range(9)})
    lines = frame(many, width, height, colour=colour)
    plain = [re.sub(r"\x1b\[\d+m", "", line) for line in lines]
    assert {len(line) for line in plain} == {width}
    assert len(lines) == min(max(height, 3), 2 + 9 * 8)


def test_what_finds_no_room_is_counted() -> None:
    lines = frame(look(a=pipeline(), b=pipeline()), 80, 10, colour=False)
    assert lines[-2].strip() == "... 9 lines more"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (7.5, "7.5"), (7, "7"), (123.4, "123"), (9999, "9999"),
     (12_345, "12.3k"), (1_234_567, "1.23M"), (5e9, "5G")],
)  # fmt: skip
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0us"), (0.00025, "250us"), (0.0123, "12ms"), (3.21, "3.21s"), (75, "1m15s"),
     (7500, "2h05m"), (864_000, "10d")],
)  # fmt: skip
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


class Admin(BaseHTTPRequestHandler):
    """An admin port that asks for the token."""

    def do_GET(self) -> None:
        known = self.headers["Authorization"] == f"Bearer {TOKEN}" and self.path == "/status/live"
        self.send_response(200 if known else 401)
        self.end_headers()
        if known:
            self.wfile.write(msgspec.json.encode(look(events=pipeline())))

    def log_message(self, *_args: object) -> None: ...


@pytest.fixture
def admin() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Admin) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_it_asks_the_daemon_of_the_configuration(
    admin: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    config = tmp_path / "streamd.toml"
    # The pipelines are not judged: they may need what only the daemon's environment has.
    config.write_text(
        f'[streamd]\nadmin = "{admin}"\nadmin_token = "@{{file:token}}"\n'
        '[pipeline.events.source]\nplugin = "${NOT_SET_HERE}"\n'
    )
    assert cli.main(["--config", str(config), "top", "--once"]) == exits.OK
    told = capsys.readouterr().out
    assert "events: running  read 3000/s" in told
    assert "\x1b" not in told


def test_it_asks_another_daemon_with_its_token(
    admin: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["top", "--once", "--admin", admin]) == exits.FAILED
    assert "answers 401: give --token-file" in capsys.readouterr().err
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    arguments = ["top", "--once", "--admin", f"http://{admin}/", "--token-file"]
    assert cli.main([*arguments, str(tmp_path / "token")]) == exits.OK
    assert cli.main([*arguments, str(tmp_path / "none")]) == exits.FAILED


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ('[streamd]\nadmin = ""\n', exits.FAILED, "there is nobody to ask"),
        ("[streamd]\nadmin = 1\n", exits.CONFIG, "streamd.admin: expected string"),
        ('[streamd]\nadmin = "nowhere"\n', exits.FAILED, "expected HOST:PORT"),
        ('[streamd]\nadmin = "127.0.0.1:1"\n', exits.FAILED, "http://127.0.0.1:1: nobody listens"),
        ('[streamd]\nadmin = "no-such.invalid:1"\n', exits.FAILED, "no-such.invalid:1: "),
        ('[streamd]\nadmin_token = "@{env:NOT_SET_HERE}"\n', exits.CONFIG, "NOT_SET_HERE"),
    ],
)
def test_nobody_to_ask(
    text: str, status: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "streamd.toml").write_text(text)
    assert cli.main(["--config", str(tmp_path / "streamd.toml"), "top", "--once"]) == status
    assert message in capsys.readouterr().err


def test_without_a_terminal_it_says_so(admin: str) -> None:
    top = [str(Path(sys.executable).parent / "streamd"), "top", "--admin", admin]
    done = subprocess.run(
        top, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (exits.USAGE, "")
    assert "--once" in done.stderr


def read_until(terminal: int, wanted: bytes) -> bytes:
    """What was written to the terminal up to there."""
    seen = b""
    while wanted not in seen:
        assert select.select([terminal], [], [], 30)[0], seen
        seen += os.read(terminal, 65536)
    return seen


@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "ctrl-c"])
def test_it_lives_in_the_terminal_and_leaves_it_as_it_was(
    admin: str, tmp_path: Path, key: bytes
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    arguments = ["top", "--admin", admin, "--token-file", str(tmp_path / "token")]
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = tcgetattr(theirs)
    with subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={name: os.environ[name] for name in os.environ.keys() - {"COLUMNS", "LINES"}},
        start_new_session=True,
    ) as top:
        first = read_until(ours, b"q: quit")
        os.write(ours, key)
        last = read_until(ours, b"\x1b[?1049l")
        assert top.wait(30) == exits.OK
    screen = re.sub(rb"\x1b\[[?\d]*[a-zA-Z]", b"", first).decode().split("\r\n")
    assert screen[2].rstrip() == "events: running  read 3000/s  written 2999/s  dead 1.5/s"
    assert {len(line) for line in screen[1:-1]} == {80}
    assert b"\x1b[?25h" in last  # the cursor is back
    assert tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)
