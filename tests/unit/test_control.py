"""The control socket: who may ask, and what becomes of a bad question."""

import errno
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from streamd.control import NAME, Control, ControlError, serve
from streamd.engine.replay import ReplayRefusedError, ReplayRequest, RowAnswer
from streamd.engine.tap import Outlets
from streamd.testing.batches import batch_of
from streamd.testing.harness import pipeline, stage

SPEC = pipeline(stage("sink", "out", lambda _context: None), name="p")


class FakeSupervisor:
    ended = False

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.spec = SPEC
        self.outlets = Outlets()
        self.asked: list[ReplayRequest] = []

    async def replay(self, request: ReplayRequest) -> list[RowAnswer]:
        self.asked.append(request)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return [RowAnswer(self.outcome)] * len(request.rows)


@asynccontextmanager
async def serving(folder: Path, **supervisors: Any) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(serve, folder, supervisors, lambda text: _judge if text else None)
        await _until_it_listens(folder)
        yield
        await anyio.sleep(0.01)  # for the other side to see that we have hung up
        group.cancel_scope.cancel()


def _judge(values: Any, _errors: Any) -> Any:
    return [row for row, value in enumerate(values) if value > 1]


async def _until_it_listens(folder: Path) -> None:
    for _ in range(500):
        try:
            async with Control(folder):
                return
        except ControlError:
            await anyio.sleep(0.01)
    pytest.fail("nobody listens")


async def test_only_the_owner_may_ask_and_nothing_is_left_behind(tmp_path: Path) -> None:
    async with serving(tmp_path), Control(tmp_path):
        assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert not (tmp_path / NAME).exists()


async def test_a_replay_reaches_its_pipeline(tmp_path: Path) -> None:
    supervisor = FakeSupervisor("done")
    async with serving(tmp_path, p=supervisor), Control(tmp_path) as control:
        answer = await control.ask("replay", pipeline="p", rows=[{"a": 1}], park_after=2)
        again = await control.ask("replay", pipeline="p", rows=[])
    assert answer == {"rows": [{"fate": "done", "reason": ""}]}
    assert again == {"rows": []}
    assert supervisor.asked[0] == ReplayRequest(({"a": 1},), park_after=2)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ({"do": "dance"}, "no such command"),
        ({"do": "replay", "pipeline": "q", "rows": []}, "no such pipeline, only p"),
        ({"do": "replay", "pipeline": "p", "rows": 7}, "not a request"),
        ({"do": "replay", "pipeline": "p"}, "not a request"),
        ({"do": "replay", "pipeline": "p", "rows": []}, "it is draining"),
        ({"do": "replay", "pipeline": "bug", "rows": []}, "the daemon is at fault"),
        ({"do": "tap", "stage": "sink"}, "there is no stage sink"),
        ({"do": "tap", "stage": "out", "limit": 0}, "not a request"),
        ({"do": "tap", "stage": "out", "one_in": 0.5}, "not a request"),
        ({"do": "tap", "stage": "out", "sampel": 1}, "not a request"),
        ({"do": "tap", "stage": "out", "filter": ""}, "knows filters"),
    ],
)
async def test_a_question_that_cannot_be_answered_is_refused_and_the_next_one_answered(
    tmp_path: Path, question: dict[str, Any], answer: str
) -> None:
    refusing = FakeSupervisor(ReplayRefusedError("it is draining"))
    broken = FakeSupervisor(KeyError("x"))
    broken.spec = pipeline(name="bug")
    async with serving(tmp_path, p=refusing, bug=broken), Control(tmp_path) as control:
        for _ in range(2):
            with pytest.raises(ControlError, match=answer):
                await control.ask(**question)


async def test_a_tap_is_answered_by_lines_until_it_ends(tmp_path: Path) -> None:
    supervisor = FakeSupervisor("done")
    outlet = supervisor.outlets.of("p", "out")
    told = []
    async with serving(tmp_path, p=supervisor), Control(tmp_path) as control:
        async for line in control.follow("tap", stage="p/out", limit=2, filter="more than one"):
            if b"tapping" in line:
                outlet.leaves("", batch_of([0, 1, 2, 3, 4]))
            told.append(msgspec.json.decode(line))
        with pytest.raises(ControlError, match="the daemon has ended"):
            await control.ask("replay", pipeline="p", rows=[])
    assert told[0] == {"tapping": "sink p/out"}
    assert [one["event"]["value"] for one in told[1:-1]] == [2, 3]
    assert told[-1] == {"ended": "the limit is reached", "done": True}


async def test_noise_and_hanging_up_harm_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path, p=FakeSupervisor("done")):
        for noise in (b"\xff\xfe\n", b"{\n", b"[]\n", b"no end"):
            with socket.socket(socket.AF_UNIX) as caller:
                caller.setblocking(False)
                caller.connect(str(tmp_path / NAME))
                caller.send(noise)
            await anyio.sleep(0.01)
        async with Control(tmp_path) as control:
            assert await control.ask("replay", pipeline="p", rows=[]) == {"rows": []}


async def test_a_socket_of_a_daemon_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / NAME))
    with pytest.raises(ControlError, match="no daemon runs"):
        async with Control(tmp_path):
            pass
    async with serving(tmp_path, p=FakeSupervisor("done")), Control(tmp_path) as control:
        assert await control.ask("replay", pipeline="p", rows=[]) == {"rows": []}


async def test_a_folder_that_cannot_hold_a_socket_stops_nothing(tmp_path: Path) -> None:
    with anyio.fail_after(10):
        await serve(tmp_path / "never" / "made", {})


async def test_a_long_path_is_reached_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    monkeypatch.chdir(folder)
    async with serving(folder, p=FakeSupervisor("done")), Control(folder) as control:
        assert await control.ask("replay", pipeline="p", rows=[]) == {"rows": []}


async def test_a_shortage_of_files_passes_and_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = True
    accept = socket.socket.accept

    def scarce(self: socket.socket) -> Any:
        if short:
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(self)

    async with serving(tmp_path, p=FakeSupervisor("done")):
        monkeypatch.setattr(socket.socket, "accept", scarce)
        monkeypatch.setattr("streamd.control._LISTENS_AGAIN", 0.01)
        async with Control(tmp_path) as first, Control(tmp_path) as second:
            await anyio.wait_all_tasks_blocked()
            short = False
            for control in (second, first):
                with anyio.fail_after(10):
                    assert await control.ask("replay", pipeline="p", rows=[]) == {"rows": []}


async def test_an_answer_that_fails_ends_that_conversation_alone(tmp_path: Path) -> None:
    class Odd(FakeSupervisor):
        @property
        def ended(self) -> bool:  # type: ignore[override]
            raise KeyError("a plugin's bug")

    async with serving(tmp_path, p=Odd("done")):
        async with Control(tmp_path) as control:
            with anyio.fail_after(10):
                assert [line async for line in control.follow("tap", stage="p/out")]
        async with Control(tmp_path) as control:
            assert await control.ask("replay", pipeline="p", rows=[]) == {"rows": []}
