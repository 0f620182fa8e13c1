"""The file source: files that grow, are rotated and truncated, with and without a restart."""

from __future__ import annotations

import os
import time
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.api import Batch, ConfigError, Control, Misconfigured, Retryable, Source
from streamd.testing import FakeControl, RecordedMetrics, sample_event, stage_context
from streamd.testing.contracts import SourceContract, SourceSubject
from streamd.testing.contracts.source import drain, positions_after, raws_of
from streamd_files import FileSource
from streamd_files.tail import Tail

FUTURE = int(time.time()) + 3600


def file_source(
    folder: Path,
    control: Control | None = None,
    metrics: RecordedMetrics | None = None,
    **settings: Any,
) -> FileSource:
    context = stage_context("source", control=control, state_dir=folder / "state", metrics=metrics)
    return FileSource(FileSource.Config(**settings), context)


class OneFile(SourceSubject):
    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder, self.settings = folder, settings
        self.live = settings.get("follow", False)
        self.count = 0

    def make(self, control: Control) -> Source:
        settings = {"path": f"{self.folder}/in.jsonl", "interval": 0.01, **self.settings}
        return file_source(self.folder, control, **settings)

    async def feed(self, count: int) -> list[bytes]:
        raws = [msgspec.json.encode(sample_event(self.count + n)) for n in range(count)]
        self.count += count
        for at, raw in enumerate(raws):
            self.append(self.path_of(at), raw + b"\n")
        return raws

    def path_of(self, at: int) -> Path:
        return self.folder / "in.jsonl"

    def append(self, path: Path, data: bytes) -> None:
        with path.open("ab") as file:
            file.write(data)


class ManyFiles(OneFile):
    def make(self, control: Control) -> Source:
        return file_source(
            self.folder, control, path=f"{self.folder}/in-*.jsonl", interval=0.01, **self.settings
        )

    def path_of(self, at: int) -> Path:
        return self.folder / f"in-{at % 3}.jsonl"


class TestOneFile(SourceContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> OneFile:
        return OneFile(tmp_path)


class TestFollowedFile(SourceContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> OneFile:
        return OneFile(tmp_path, follow=True)


class TestManyFiles(SourceContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> ManyFiles:
        return ManyFiles(tmp_path)


class TestManyFollowedFiles(SourceContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> ManyFiles:
        return ManyFiles(tmp_path, follow=True)


class Follower:
    """A followed file with a source that can be started again where it was committed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "app.jsonl"
        self.folder = folder
        self.positions: dict[str, int] = {}
        self._stack = AsyncExitStack()

    async def start(self, **settings: Any) -> None:
        await self._stack.aclose()
        source = file_source(
            self.folder,
            FakeControl(self.positions),
            path=str(self.path),
            follow=True,
            interval=0.001,
            **settings,
        )
        self.source = await self._stack.enter_async_context(source)

    async def stop(self) -> None:
        await self._stack.aclose()

    def write(self, *lines: str) -> None:
        with self.path.open("a") as file:
            file.writelines(line + "\n" for line in lines)

    def rotate(self, to: str = "app.jsonl.1") -> None:
        self.path.rename(self.folder / to)

    def date(self, seconds: int) -> None:
        """Say that the file was written so long after a moment that lies an hour ahead."""
        moment = FUTURE + seconds
        os.utime(self.path, (moment, moment))

    def truncate(self, *lines: str) -> None:
        with self.path.open("r+b") as file:
            file.truncate()
            file.write(b"".join(line.encode() + b"\n" for line in lines))

    async def read(self, count: int, *, commit: bool = True) -> list[str]:
        batches = await drain(self.source, count, max_events=10)
        if commit:
            await self.commit(batches)
        return [raw.decode() for raw in raws_of(batches)]

    async def commit(self, batches: list[Batch]) -> None:
        positions = positions_after(batches)
        self.positions |= positions
        await self.source.commit(positions, "tag")

    async def nothing_more(self) -> bool:
        return await self.source.poll(10, 0.02) == []


@pytest.fixture
async def follower(tmp_path: Path) -> Any:
    follower = Follower(tmp_path)
    yield follower
    await follower.stop()


async def test_positions_are_byte_offsets(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"a":1}\n\n{"a":22}\r\n{"a":3}\n')
    async with file_source(tmp_path, path=str(path)) as source:
        (batch,) = await source.poll(10, 1.0)
    assert batch.raws == [b'{"a":1}', b'{"a":22}', b'{"a":3}']
    assert list(batch.offsets) == [0, 9, 19]
    assert batch.spans == [(f"{path}:0", 0, 27, 3)]


async def test_events_have_the_time_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"1\n2\n")
    os.utime(path, ns=(0, 1_763_548_200_123_000_000))
    async with file_source(tmp_path, path=str(path)) as source:
        (batch,) = await source.poll(10, 1.0)
    assert list(batch.timestamps) == [1_763_548_200_123] * 2


async def test_a_last_line_without_an_end_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"1\n2")
    async with file_source(tmp_path, path=str(path)) as source:
        assert raws_of(await drain(source, 2)) == [b"1", b"2"]
        assert await source.poll(10, 0.0) == []
        assert source.exhausted()


async def test_half_a_line_waits_for_the_rest(follower: Follower) -> None:
    follower.path.write_text('{"a":1}\n{"a"')
    await follower.start()
    assert await follower.read(1) == ['{"a":1}']
    assert await follower.nothing_more()
    await follower.start()
    follower.write(":2}")
    assert await follower.read(1) == ['{"a":2}']


async def test_the_file_may_come_later(follower: Follower) -> None:
    await follower.start()
    assert await follower.nothing_more()
    follower.write("1")
    assert await follower.read(1) == ["1"]


async def test_from_the_end(follower: Follower) -> None:
    follower.path.write_text("old\nhal")
    await follower.start(start="end")
    assert await follower.nothing_more()
    follower.write("f", "new")
    assert await follower.read(2, commit=False) == ["half", "new"]
    # Nothing was committed, yet the end of that first look still counts.
    await follower.start(start="end")
    assert await follower.read(2) == ["half", "new"]


async def test_rotation(follower: Follower) -> None:
    follower.write("1", "2")
    await follower.start()
    assert await follower.read(2) == ["1", "2"]
    follower.write("3")
    follower.rotate()
    follower.write("4", "5")
    assert await follower.read(3) == ["3", "4", "5"]
    assert set(follower.positions) == {f"{follower.path}:0", f"{follower.path}:1"}
    await follower.start()
    follower.write("6")
    assert await follower.read(1) == ["6"]


async def test_rotation_is_not_seen_before_the_new_file_is_there(follower: Follower) -> None:
    follower.write("1")
    await follower.start()
    assert await follower.read(1) == ["1"]
    follower.rotate()
    assert await follower.nothing_more()
    with (follower.folder / "app.jsonl.1").open("a") as file:
        file.write("2\n")  # whoever writes still has the old file open
    assert await follower.read(1) == ["2"]
    follower.write("3")
    assert await follower.read(1) == ["3"]


async def test_the_last_line_of_a_rotated_file_needs_no_end(follower: Follower) -> None:
    follower.path.write_text("1\n2")
    await follower.start()
    assert await follower.read(1) == ["1"]
    follower.rotate()
    follower.write("3")
    assert await follower.read(2) == ["2", "3"]


async def test_what_was_rotated_while_away_is_read_first(follower: Follower) -> None:
    follower.write("1", "2", "3")
    await follower.start()
    assert await follower.read(3, commit=False) == ["1", "2", "3"]
    follower.positions = {f"{follower.path}:0": 2}  # only the first was stored
    await follower.stop()
    follower.rotate()
    follower.write("4")
    await follower.start()
    assert await follower.read(3) == ["2", "3", "4"]


async def test_a_crash_after_a_rotation_loses_nothing(follower: Follower) -> None:
    follower.write("1", "2")
    await follower.start()
    assert await follower.read(1, commit=False) == ["1", "2"]
    for number in range(1, 4):
        follower.rotate(f"app.jsonl.{number}")
        follower.write(f"after {number}")
        assert await follower.read(1, commit=False) == [f"after {number}"]
    await follower.start()
    everything = ["1", "2", "after 1", "after 2", "after 3"]
    assert await follower.read(5) == everything
    await follower.start()
    assert await follower.nothing_more()


async def test_what_is_not_stored_is_not_forgotten_with_what_is(follower: Follower) -> None:
    follower.write("0")
    await follower.start()
    first = await drain(follower.source, 1)
    for number in (1, 2):
        follower.date(number)
        follower.rotate(f"app.jsonl.{number}")
        follower.write(str(number))
        assert await follower.read(1, commit=False) == [str(number)]
    await follower.commit(first)
    assert await follower.nothing_more()
    await follower.start()
    assert await follower.read(2) == ["1", "2"]


async def test_stored_rotated_files_are_forgotten(follower: Follower) -> None:
    follower.write("0")
    await follower.start()
    for number in range(1, 5):
        assert await follower.read(1) == [str(number - 1)]
        follower.rotate("app.jsonl.1")
        follower.write(str(number))
    assert await follower.read(1) == ["4"]
    assert await follower.nothing_more()
    (memory,) = (follower.folder / "state" / "files").iterdir()
    known = msgspec.json.decode(memory.read_bytes())
    assert [incarnation["number"] for incarnation in known] == [4]


async def test_files_that_came_and_went_while_away_are_read_in_order(follower: Follower) -> None:
    follower.write("1")
    await follower.start()
    assert await follower.read(1) == ["1"]
    await follower.stop()
    for number in range(2, 6):
        follower.rotate(f"app.jsonl.{number}")
        follower.write(str(number))
        follower.date(10 * number)
    for name in ("app.jsonl.gz", "app.jsonl.bak", "app.jsonl-old", "other.jsonl.1"):
        (follower.folder / name).write_text("not ours\n")
    await follower.start()
    assert await follower.read(4) == ["2", "3", "4", "5"]
    await follower.start()
    assert await follower.nothing_more()


async def test_what_was_rotated_before_the_first_start_is_left_alone(follower: Follower) -> None:
    (follower.folder / "app.jsonl.1").write_text("old\n")
    follower.write("1")
    await follower.start()
    assert await follower.read(1) == ["1"]
    assert await follower.nothing_more()


async def test_a_number_is_never_given_twice(follower: Follower) -> None:
    follower.write("first")
    await follower.start()
    assert await follower.read(1) == ["first"]
    follower.path.unlink()
    assert await follower.nothing_more()
    assert await follower.nothing_more()
    await follower.stop()
    follower.write("second, longer than the first")
    await follower.start()
    assert await follower.read(1) == ["second, longer than the first"]


@pytest.mark.parametrize("restart", [False, True])
async def test_the_rest_of_a_truncated_file_is_read_from_its_copy(
    follower: Follower, restart: bool
) -> None:
    follower.write("1", "2")
    await follower.start()
    assert await follower.read(2) == ["1", "2"]
    follower.write("3")
    (follower.folder / "app.jsonl.1").write_bytes(follower.path.read_bytes())
    follower.truncate("4")
    if restart:
        await follower.start()
    assert await follower.read(2) == ["3", "4"]
    assert await follower.nothing_more()
    await follower.start()
    assert await follower.nothing_more()


STEPS = st.sampled_from(["write", "write", "rotate", "read", "store", "restart"])


@given(st.lists(STEPS, max_size=40), st.booleans())
@settings(max_examples=60, deadline=None)
async def test_whatever_happens_every_line_is_stored(steps: list[str], same_time: bool) -> None:
    with TemporaryDirectory() as folder:
        follower = Follower(Path(folder))
        written, stored, unstored = ["0"], set[str](), list[Batch]()
        follower.write("0")
        await follower.start()
        unstored += await follower.source.poll(3, 0.0)
        for number, step in enumerate([*steps, "restart"], start=1):
            match step:
                case "write":
                    follower.write(str(number))
                    written.append(str(number))
                case "rotate" if follower.path.exists():
                    follower.date(1 if same_time else number)
                    follower.rotate(f"app.jsonl.{number}")
                case "read":
                    unstored += await follower.source.poll(3, 0.0)
                case "store":
                    await follower.commit(unstored)
                    stored |= {raw.decode() for raw in raws_of(unstored)}
                    unstored.clear()
                case "restart":
                    await follower.start()
                    unstored.clear()
        follower.write("end")
        written.append("end")
        for _ in range(3 * len(written) + 10):
            batches = await follower.source.poll(10, 0.0)
            await follower.commit(batches)
            stored |= {raw.decode() for raw in raws_of(batches)}
        assert stored == set(written)
        assert await follower.source.poll(10, 0.0) == []
        await follower.stop()


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("lines", [["x"], ["x"] * 50])
async def test_truncation(follower: Follower, lines: list[str], restart: bool) -> None:
    follower.write("1", "2", "3")
    await follower.start()
    assert await follower.read(3) == ["1", "2", "3"]
    follower.truncate(*lines)
    if restart:
        await follower.start()
    assert await follower.read(len(lines)) == lines
    assert await follower.nothing_more()


async def test_a_file_that_begins_alike_but_is_shorter_was_truncated(follower: Follower) -> None:
    follower.write("1", "2", "3")
    await follower.start()
    assert await follower.read(3) == ["1", "2", "3"]
    follower.truncate("1")
    assert await follower.read(1) == ["1"]


async def test_a_deleted_file_is_let_go(follower: Follower) -> None:
    follower.write("1")
    await follower.start()
    assert await follower.read(1) == ["1"]
    follower.path.unlink()
    assert await follower.nothing_more()
    follower.write("2")
    assert await follower.read(1) == ["2"]


async def test_new_files_of_a_pattern_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamd_files.files._RESCAN", 0.0)
    (tmp_path / "a.log").write_text("a1\n")
    pattern = f"{tmp_path}/*.log"
    async with file_source(tmp_path, path=pattern, follow=True, interval=0.001) as source:
        assert raws_of(await drain(source, 1)) == [b"a1"]
        (tmp_path / "b.log").write_text("b1\n")
        assert raws_of(await drain(source, 1)) == [b"b1"]


async def test_more_files_than_are_open_at_a_time(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number:03}.log").write_text(f"{number}\n")
    async with file_source(tmp_path, path=f"{tmp_path}/*.log") as source:
        read = raws_of(await drain(source, 200))
        assert await source.poll(10, 0.0) == []
        assert source.exhausted()
    assert sorted(map(int, read)) == list(range(200))


async def test_one_unreadable_file_does_not_hold_back_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.log").write_text(f"{name}1\n")
    read = Tail.read

    def broken(tail: Tail) -> None:
        if tail.path.endswith("a.log"):
            raise OSError(5, "Input/output error")
        read(tail)

    async with file_source(tmp_path, path=f"{tmp_path}/*.log") as source:
        with monkeypatch.context() as patch:
            patch.setattr(Tail, "read", broken)
            assert raws_of(await drain(source, 1)) == [b"b1"]
            with pytest.raises(Retryable, match=r"a\.log: Input/output error"):
                await source.poll(10, 0.0)
        assert raws_of(await drain(source, 1)) == [b"a1"]


async def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.log").mkdir()
    async with file_source(tmp_path, path=f"{tmp_path}/a.log") as source:
        with pytest.raises(Retryable, match="directory"):
            await source.poll(10, 0.0)


async def test_a_line_that_is_too_long_is_cut_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"a":"' + b"x" * 3_000_000 + b'"}\n{"b":1}\n')
    metrics = RecordedMetrics()
    async with file_source(tmp_path, path=str(path), max_line=1000, metrics=metrics) as source:
        long, short = raws_of(await drain(source, 2))
    assert len(long) < 1100
    assert b"cut" in long
    assert short == b'{"b":1}'
    assert metrics.value("file_lines_cut_total") == 1


async def test_missing_file(tmp_path: Path) -> None:
    source = file_source(tmp_path, path=f"{tmp_path}/none.jsonl")
    with pytest.raises(Misconfigured, match="no file"):
        await source.healthcheck()
    with pytest.raises(Misconfigured, match="no file"):
        async with source:
            pass


def test_start_at_the_end_needs_follow(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        file_source(tmp_path, path="x", start="end")
    assert caught.value.path == "start"


async def test_a_cancelled_poll_loses_nothing(follower: Follower) -> None:
    follower.write("1")
    await follower.start()
    async with anyio.create_task_group() as group:
        group.start_soon(follower.source.poll, 10, 5.0)
        group.cancel_scope.cancel()
    assert await follower.read(1) == ["1"]
