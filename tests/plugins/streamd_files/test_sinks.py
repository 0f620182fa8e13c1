"""The sinks file, stdout and drop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamd.api import (
    ConfigError,
    Fatal,
    Misconfigured,
    Rejected,
    Retryable,
    Sink,
    StageContext,
    merge,
)
from streamd.testing import batch_of, sample_event
from streamd.testing.contracts import SinkContract, SinkSubject, sink_context
from streamd_files import DropSink, FileSink, StdoutSink


def file_sink(context: StageContext, **settings: Any) -> FileSink:
    return FileSink(FileSink.Config(**settings), context)


def dead_letter(number: int, text: str = "click") -> dict[str, Any]:
    return {
        "dlq_id": f"dlq_1763548200{number:03}_evt_{number}",
        "original_message": sample_event(number, text),
    }


class Files(SinkSubject):
    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.settings = settings

    def make(self) -> Sink:
        return file_sink(sink_context(state_dir=self.folder), **self.settings)

    async def stored(self) -> list[Any]:
        return [
            msgspec.json.decode(line)
            for path in sorted(self.folder.rglob("*.*"))
            for line in path.read_bytes().splitlines()
        ]

    def poison(self, number: int) -> Any:
        return {"id": f"evt_{number}", "value": object()}

    def batch(self, values: list[Any], **place: Any) -> Any:
        return batch_of(values, raws=[b"{}"] * len(values), **place)


class OneFilePerEvent(Files):
    replay = "overwrites"

    def make(self) -> Sink:
        context = sink_context(state_dir=self.folder, inputs=("dead_letters",))
        return file_sink(context, **self.settings)

    def event(self, number: int, text: str = "click") -> Any:
        return dead_letter(number, text)


class TestLines(SinkContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Files:
        return Files(tmp_path)


class TestLinesByField(SinkContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Files:
        return Files(tmp_path, path=f"{tmp_path}/%Y/{{topic}}/{{payload.user_id}}.jsonl")


class TestDeadLetters(SinkContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> OneFilePerEvent:
        return OneFilePerEvent(tmp_path)


class Counted(SinkSubject):
    counts_only = True

    def __init__(self, cls: type, **settings: Any) -> None:
        self.cls, self.settings = cls, settings

    def make(self) -> Sink:
        sink: Sink = self.cls(self.cls.Config(**self.settings), sink_context())  # type: ignore[attr-defined]
        return sink

    async def stored(self) -> list[Any]:
        return []


class TestDrop(SinkContract):
    @pytest.fixture(params=[{}, {"encode": True}])
    def subject(self, request: pytest.FixtureRequest) -> Counted:
        return Counted(DropSink, **request.param)


class TestStdout(SinkContract):
    @pytest.fixture
    def subject(self, capfdbinary: pytest.CaptureFixture[bytes]) -> Counted:
        return Counted(StdoutSink)


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


async def test_a_dead_letter_has_the_name_of_its_time(tmp_path: Path) -> None:
    context = sink_context(state_dir=tmp_path, inputs=("dead_letters",))
    async with file_sink(context) as sink:
        await sink.write(batch_of([dead_letter(7)]))
    path = tmp_path / "dead_letters/2025/11/19/dlq_1763548200007_evt_7.json"
    assert msgspec.json.decode(path.read_bytes()) == dead_letter(7)
    assert await sink.backlog() == 1


async def test_lines_go_to_state_dir_by_default(tmp_path: Path) -> None:
    context = sink_context(state_dir=tmp_path / "100%{var}")
    async with file_sink(context) as sink:
        await sink.write(batch_of([sample_event(1), sample_event(2)]))
        assert await sink.backlog() == 2
    assert (tmp_path / "100%{var}" / "stage.jsonl").is_file()


async def test_each_path_gets_its_lines_in_order(tmp_path: Path) -> None:
    batch = merge(
        [
            batch_of([{"n": 1}, {"n": 2}], partition="a:0"),
            batch_of([{"n": 3}], partition="b:0"),
            batch_of([{"n": 4}], partition="a:1"),
        ]
    )
    async with file_sink(sink_context(), path=f"{tmp_path}/{{topic}}.jsonl") as sink:
        await sink.write(batch)
        assert await sink.backlog() == 4
    assert (tmp_path / "a.jsonl").read_text() == '{"n":1}\n{"n":2}\n{"n":4}\n'
    assert (tmp_path / "b.jsonl").read_text() == '{"n":3}\n'


async def test_events_cannot_leave_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    async with file_sink(sink_context(), path=f"{inside}/{{id}}.jsonl") as sink:
        await sink.write(batch_of([{"id": "../../outside"}, {"id": ".."}, {"id": "/etc/x"}]))
    assert len(names_in(inside)) == 3
    assert names_in(tmp_path) == ["inside"]


async def test_a_record_with_a_line_break_is_refused(tmp_path: Path) -> None:
    values = [{"n": 1}, msgspec.Raw(b'{"n":\n2}'), {"n": 3}, object()]
    path = tmp_path / "out.jsonl"
    async with file_sink(sink_context(), path=str(path)) as sink:
        with pytest.raises(Rejected) as caught:
            await sink.write(batch_of(values, raws=[b""] * 4))
    assert {row: reject.reason for row, reject in caught.value.rows.items()} == {
        1: "line_break",
        3: "unencodable",
    }
    assert path.read_text() == '{"n":1}\n{"n":3}\n'


async def test_a_file_that_was_rotated_away_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    async with file_sink(sink_context(), path=str(path)) as sink:
        await sink.write(batch_of([{"n": 1}]))
        path.rename(tmp_path / "out.jsonl.1")
        await sink.write(batch_of([{"n": 2}]))
    assert path.read_text() == '{"n":2}\n'


@pytest.mark.parametrize("files", ["lines", "event"])
async def test_a_path_that_cannot_be_written_is_for_a_person(tmp_path: Path, files: str) -> None:
    (tmp_path / "file").touch()
    sink = file_sink(sink_context(), path=f"{tmp_path}/file/%Y/{{id}}.jsonl", files=files)
    with pytest.raises(Misconfigured):
        await sink.write(batch_of([sample_event(1)]))
    with pytest.raises(Misconfigured):
        await sink.healthcheck()


async def test_a_full_disk_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = file_sink(sink_context(), path=f"{tmp_path}/out.jsonl")

    def full(fd: int, data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(Retryable, match="No space"):
            await sink.write(batch_of([sample_event(1)]))
    await sink.write(batch_of([sample_event(1)]))
    assert await sink.backlog() == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "out/{payload.source}.json", "files": "event"}, "overwrite"),
        ({"path": "out/{first_offset}.jsonl"}, "no offset"),
        ({"path": "out/%Q"}, "%Q"),
    ],
)
def test_paths_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        file_sink(sink_context(), **settings)
    assert caught.value.path == "path"


async def test_stdout_prints_lines(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    sink = StdoutSink(StdoutSink.Config(), sink_context())
    await sink.write(batch_of([{"n": 1}, {"n": 2}]))
    assert capfdbinary.readouterr().out == b'{"n":1}\n{"n":2}\n'


async def test_stdout_that_was_closed_ends_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, sender = os.pipe()
    os.close(receiver)
    with os.fdopen(sender, "wb", 0) as raw, monkeypatch.context() as patch:

        class Closed:
            buffer = raw

        patch.setattr("sys.stdout", Closed)
        sink = StdoutSink(StdoutSink.Config(), sink_context())
        with pytest.raises(Fatal):
            await sink.write(batch_of([{"n": 1}]))


async def test_drop_counts() -> None:
    sink = DropSink(DropSink.Config(), sink_context())
    await sink.write(batch_of([{"n": 1}, {"n": 22}]))
    assert (sink.rows, sink.bytes) == (2, 15)
