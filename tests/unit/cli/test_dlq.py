"""`streamd dlq` without a daemon: which letters are meant, how they change, what it notes."""

import argparse
import io
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from streamd.api import StoredLetter
from streamd.cli.dlq import replaying
from streamd.cli.dlq.clearing import archive
from streamd.cli.dlq.editing import EditError, read_lines, with_event
from streamd.cli.dlq.lock import BusyError, InHand, alone
from streamd.cli.dlq.looking import printable, row
from streamd.cli.dlq.progress import Progress, bar
from streamd.cli.dlq.selection import Selection, parse_time
from streamd.cli.dlq.stores import Found
from streamd.cli.main import main
from streamd.control import Control, ControlError
from streamd.settings.model import PipelineSpec

NOW = datetime(2025, 11, 20, 12, tzinfo=UTC)


def document(number: int, **more: Any) -> dict[str, Any]:
    return {
        "dlq_id": f"dlq_1_{number}",
        "pipeline": "p",
        "stage": "out",
        "reason": "bad",
        "error": {"type": "ValueError", "message": "no"},
        "topic": "events",
        "metadata": {"partition": 0, "offset": number},
        "original_message": {"n": number},
        "failed_at": "2025-11-19T10:30:00Z",
        **more,
    }


def letter(number: int, **more: Any) -> StoredLetter:
    return StoredLetter(f"{number:03}", f"v{number}", document(number, **more))


# --- which are meant ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (Selection(), True),
        (Selection(reasons=frozenset({"bad"})), True),
        (Selection(reasons=frozenset({"worse"})), False),
        (Selection(error_types=frozenset({"ValueError", "x"})), True),
        (Selection(error_types=frozenset({"x"})), False),
        (Selection(stages=frozenset({"out"}), ids=frozenset({"dlq_1_1"})), True),
        (Selection(stages=frozenset({"out"}), ids=frozenset({"dlq_1_2"})), False),
        (Selection(parked=False), True),
        (Selection(parked=True), False),
        (Selection(since=datetime(2025, 11, 19, 10, 30, tzinfo=UTC)), True),
        (Selection(since=datetime(2025, 11, 19, 10, 31, tzinfo=UTC)), False),
        (Selection(until=datetime(2025, 11, 19, 10, 30, tzinfo=UTC)), False),
        (Selection(until=datetime(2025, 11, 19, 10, 31, tzinfo=UTC)), True),
    ],
)
def test_filters_must_all_agree(selection: Selection, meant: bool) -> None:
    assert selection.meets(letter(1)) is meant


def test_what_is_no_letter_meets_only_its_own_reason() -> None:
    broken = StoredLetter("x", "1", {}, "not JSON")
    assert Selection().meets(broken)
    assert Selection(reasons=frozenset({"unreadable"})).meets(broken)
    assert not Selection(reasons=frozenset({"bad"})).meets(broken)
    assert not Selection(since=NOW).meets(broken)
    odd = StoredLetter("x", "1", {"error": "text", "failed_at": 3, "metadata": None})
    assert not Selection(error_types=frozenset({"x"}), until=NOW).meets(odd)
    assert row(odd)[-1] == "x"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-11-19T10:30:00Z", datetime(2025, 11, 19, 10, 30, tzinfo=UTC)),
        ("2025-11-19T10:30:00+02:00", datetime(2025, 11, 19, 8, 30, tzinfo=UTC)),
        ("2025-11-19", datetime(2025, 11, 19, tzinfo=UTC)),
        ("2h", datetime(2025, 11, 20, 10, tzinfo=UTC)),
        ("1d", datetime(2025, 11, 19, 12, tzinfo=UTC)),
    ],
)
def test_times_are_written_in_three_ways(text: str, moment: datetime) -> None:
    assert parse_time(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2", "10:30"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time"):
        parse_time(text, NOW)


def test_what_letters_hold_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in printable("a\x1b[2J\x07b")


# --- changes --------------------------------------------------------------------------------


def test_an_event_that_is_not_changed_is_not_called_edited() -> None:
    assert with_event(document(1), {"n": 1}) == document(1)
    assert with_event(document(1), {"n": 2}) == document(1, event={"n": 2}, edited=True)


def test_lines_of_an_editor_come_back_to_their_letters() -> None:
    documents = [
        document(0),
        document(1),
        document(2, original_message=None, original_bytes="ew=="),
    ]
    lines = b'{"row": 2, "text": "{}"}\n\n{"row": 0, "event": {"n": 7}}\n'
    first, gone, text = read_lines(lines, documents)
    assert first.document == document(0, event={"n": 7}, edited=True)
    assert gone.document is None
    assert text.document is not None
    assert (text.document["original_bytes"], text.document["edited"]) == ("e30=", True)


@pytest.mark.parametrize(
    "line",
    [b"{", b"[]", b"{}", b'{"row": 5, "event": 1}', b'{"row": -3, "event": 1}', b'{"row": 0}'],
)
def test_lines_that_lost_their_way_change_nothing(line: bytes) -> None:
    with pytest.raises(EditError, match="line 1"):
        read_lines(line, [document(0), document(1)])


# --- one at a time --------------------------------------------------------------------------


def test_only_one_command_clears_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(BusyError), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


def test_what_is_in_hand_is_known_after_a_crash(tmp_path: Path) -> None:
    with alone(tmp_path):
        hand = InHand(tmp_path, "p", "dead")
        assert hand.left_over() == []
        hand.begin(["a", "b"])
        assert InHand(tmp_path, "p", "dead").left_over() == ["a", "b"]
        assert InHand(tmp_path, "p", "other").left_over() == []
        hand.end()
        assert hand.left_over() == []


def test_progress_is_drawn_on_a_terminal_only() -> None:
    out = io.StringIO()
    progress = Progress(10, out)
    progress.at(5)
    progress.end()
    assert out.getvalue() == ""
    assert bar(5, 10, 1.0).startswith("[###############               ] 5/10  5/s  1 s left")
    assert bar(5, None, 0.0) == "5  0/s"
    assert bar(12, 10, 2.0).count("#") == 30


# --- the replay -----------------------------------------------------------------------------


class FakeStore:
    """A store whose new letters come up behind the others."""

    def __init__(self, letters: Sequence[StoredLetter]) -> None:
        self.letters = list(letters)
        self.fail = False

    async def read(self, after: str = "") -> AsyncIterator[StoredLetter]:
        at = 0
        seen: set[str] = set()
        while at < len(self.letters):
            one = self.letters[at]
            at += 1
            if one.place not in seen:
                seen.add(one.place)
                yield one
                at = 0 if one not in self.letters else at

    async def remove(self, letters: Sequence[StoredLetter]) -> int:
        if self.fail:
            raise OSError(5, "the disk is gone")
        before = len(self.letters)
        self.letters = [one for one in self.letters if one not in letters]
        return before - len(self.letters)


class FakeDaemon:
    """Answers for each row; `fate` decides."""

    def __init__(self, fate: Callable[[dict[str, Any]], str]) -> None:
        self.fate = fate
        self.requests: list[dict[str, Any]] = []

    async def ask(self, do: str, **request: Any) -> dict[str, Any]:
        assert do == "replay"
        self.requests.append(request)
        return {"rows": [{"fate": self.fate(row), "reason": ""} for row in request["rows"]]}

    @property
    def rows(self) -> list[int]:
        return [row["metadata"]["offset"] for one in self.requests for row in one["rows"]]


def arguments(**given: Any) -> argparse.Namespace:
    defaults: dict[str, Any] = {
        "into": None,
        "through_pipeline": False,
        "past_state": False,
        "rate": None,
        "batch": 3,
        "max_attempts": 5,
        "dry_run": False,
        "edit": None,
        "editor": False,
        "parked": False,
    }
    return argparse.Namespace(**{**defaults, **given})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def replay(store: FakeStore, daemon: FakeDaemon, **given: Any) -> int:
        @asynccontextmanager
        async def connect(_state_dir: Path) -> AsyncIterator[FakeDaemon]:
            yield daemon

        monkeypatch.setattr(replaying, "Control", connect)
        pipeline = PipelineSpec(name="p", sources=(), steps=(), sinks=(), policies=())
        unused: Any = None
        found = Found(pipeline, "dead", tmp_path, unused)
        with alone(tmp_path):
            return anyio.run(
                replaying.replay, unused, found, store, lambda: store.read(), arguments(**given)
            )

    return replay


def test_letters_leave_the_store_when_they_are_done(run: Callable[..., int]) -> None:
    store = FakeStore([letter(number) for number in range(8)])
    fates = {1: "refused", 2: "dropped"}
    daemon = FakeDaemon(lambda row: fates.get(row["metadata"]["offset"], "done"))
    assert run(store, daemon) == 1
    assert daemon.rows == list(range(8))
    assert [len(one["rows"]) for one in daemon.requests] == [3, 3, 2]
    assert store.letters == [letter(1)]


def test_what_fails_again_is_let_in_once_a_run(run: Callable[..., int]) -> None:
    store = FakeStore([letter(number) for number in range(4)])

    def fail(row: dict[str, Any]) -> str:
        number = row["metadata"]["offset"]
        again = letter(number, replays=row.get("replays", 0) + 1)
        store.letters.append(StoredLetter(again.place + "-again", "w", again.document))
        return "dead_lettered"

    daemon = FakeDaemon(fail)
    assert run(store, daemon) == 1
    assert daemon.rows == [0, 1, 2, 3]
    assert [one.document["replays"] for one in store.letters] == [1, 1, 1, 1]


def test_parked_and_foreign_letters_stay(run: Callable[..., int]) -> None:
    store = FakeStore(
        [
            letter(0, replays=5),
            letter(1, pipeline="other"),
            StoredLetter("z", "1", {}, "not JSON"),
            letter(2, replays=4),
        ]
    )
    daemon = FakeDaemon(lambda _row: "done")
    assert run(store, daemon) == 1
    assert daemon.rows == [2]
    assert len(store.letters) == 3
    assert run(store, daemon, parked=True) == 1
    assert daemon.rows == [2, 0]


def test_a_store_that_fails_leaves_the_batch_in_hand(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = FakeStore([letter(number) for number in range(4)])
    store.fail = True
    daemon = FakeDaemon(lambda _row: "done")
    with pytest.raises(OSError, match="the disk is gone"):
        run(store, daemon)
    assert daemon.rows == [0, 1, 2]
    assert InHand(tmp_path, "p", "dead").left_over() == ["dlq_1_0", "dlq_1_1", "dlq_1_2"]
    store.fail = False
    assert run(store, daemon) == 0
    assert "dlq_1_2" in capsys.readouterr().err
    assert store.letters == []


def test_a_dry_run_changes_nothing(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    store = FakeStore([letter(0), letter(1)])
    daemon = FakeDaemon(lambda _row: "done")
    assert run(store, daemon, dry_run=True) == 0
    assert daemon.requests == []
    assert len(store.letters) == 2
    assert "2 letters would be let in at out" in capsys.readouterr().err


def test_large_letters_go_in_smaller_requests(run: Callable[..., int]) -> None:
    text = "x" * 9_000_000
    store = FakeStore([letter(n, original_message={"t": text}) for n in range(3)])
    daemon = FakeDaemon(lambda _row: "done")
    assert run(store, daemon) == 0
    assert [len(one["rows"]) for one in daemon.requests] == [1, 1, 1]


# --- archive --------------------------------------------------------------------------------


async def test_an_archive_overwrites_nothing(tmp_path: Path) -> None:
    same = letter(1)
    other = StoredLetter("002", "v", document(1, reason="other"))
    odd = StoredLetter("a/../b", "1", {}, "not JSON")
    for letters in ([same, other, odd], [same]):
        store = FakeStore(letters)
        await archive(store, lambda store=store: store.read(), tmp_path, dry_run=False)  # type: ignore[misc]
    day = tmp_path / "2025" / "11" / "19"
    assert sorted(os.listdir(day)) == ["dlq_1_1.2.json", "dlq_1_1.json"]
    kept = [msgspec.json.decode((day / name).read_bytes()) for name in sorted(os.listdir(day))]
    assert kept == [other.document, same.document]
    assert os.listdir(tmp_path / "undated") == ["a%2F..%2Fb.json"]


# --- the command line -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [["replay", "--rate", "0"], ["replay", "--batch", "x"], ["list", "--limit", "0"], []],
    ids=" ".join,
)
def test_a_wrong_command_line_is_refused(line: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["dlq", *line])
    assert caught.value.code == 2


async def test_without_a_daemon_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no daemon runs"):
        async with Control(tmp_path):
            pass


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--rate", "0"], "argument --rate: expected a number above 0, got '0'"),
        (["--rate", "fast"], "argument --rate: expected a number above 0, got 'fast'"),
        (["--batch", "0"], "argument --batch: expected a whole number from 1 on, got '0'"),
        (["--limit", "1.5"], "argument --limit: expected a whole number from 1 on, got '1.5'"),
    ],
)
def test_a_number_that_is_none_is_told_in_words(
    option: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["dlq", "replay", *option])
    assert caught.value.code == 2
    assert told in capsys.readouterr().err
