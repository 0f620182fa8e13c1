"""The file sink's files as a store of dead letters."""

import fcntl
import os
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from streamd.api import LetterFile, Sink, StoredLetter
from streamd.testing.contracts.dead_letters import (
    DeadLettersContract,
    DeadLettersSubject,
    dead_letters_context,
    document,
    letters_of,
)
from streamd_files import FileSink
from streamd_files.durable import append_lines


class FileSubject(DeadLettersSubject):
    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder = folder
        self.config = config
        self.overwrites = config.get("files") != "lines"

    def make(self) -> Sink:
        context = dead_letters_context(state_dir=self.folder)
        return FileSink(FileSink.Config(**self.config), context)


class TestFilePerLetter(DeadLettersContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> FileSubject:
        return FileSubject(tmp_path)


class TestLines(DeadLettersContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> FileSubject:
        return FileSubject(tmp_path, files="lines", path=str(tmp_path / "dead.jsonl"))


class TestLinesInSeveralFiles(DeadLettersContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> FileSubject:
        path = str(tmp_path / "d" / "{original_message.id}.jsonl")
        return FileSubject(tmp_path, files="lines", path=path)


async def test_files_that_are_no_letters_are_told_and_can_be_removed(tmp_path: Path) -> None:
    sink = FileSubject(tmp_path).make()
    folder = tmp_path / "dead_letters"
    folder.mkdir()
    (folder / "broken.json").write_text("{")
    (folder / "list.json").write_text("[]")
    (folder / "other.txt").write_text("not ours")
    assert isinstance(sink, FileSink)
    async with sink.dead_letters() as store:
        letters = [letter async for letter in store.read()]
        assert [letter.document for letter in letters] == [{}, {}]
        assert all(letter.fault for letter in letters)
        assert await store.remove(letters) == 2
    assert [path.name for path in folder.iterdir()] == ["other.txt"]


async def test_the_backlog_follows(tmp_path: Path) -> None:
    subject = FileSubject(tmp_path, files="lines", path=str(tmp_path / "dead.jsonl"))
    sink = subject.make()
    assert isinstance(sink, FileSink)
    await sink.write(letters_of([document(n) for n in range(5)]))
    assert await sink.backlog() == 5
    async with sink.dead_letters() as store:
        letters = [letter async for letter in store.read()]
        await store.remove(letters[:2])
        assert await sink.backlog() == 3
    assert await sink.backlog() == 3
    async with sink.dead_letters() as store:
        await store.remove([letter async for letter in store.read()])
    assert await sink.backlog() == 0
    assert os.listdir(tmp_path) == []


async def test_a_removal_that_was_cut_short_holds(tmp_path: Path) -> None:
    """As when the command is killed before it has compacted the file."""
    path = tmp_path / "dead.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": 2}\n{"n": 3}\n')
    letters = LetterFile(path, lambda line: {"line": line})
    first, _, last = letters.read()
    letters.remove([first, last])
    again = LetterFile(path, lambda line: {"line": line})
    assert [letter.document["line"] for letter in again.read()] == [b'{"n": 2}\n']
    notes = tmp_path / ".dead.jsonl.removed"
    notes.write_bytes(notes.read_bytes() + b"00000000000000000009 torn")
    assert len(list(again.read())) == 1
    again.compact()
    assert path.read_bytes() == b'{"n": 2}\n'
    assert os.listdir(tmp_path) == ["dead.jsonl"]


async def test_the_count_is_true_after_a_compaction_that_was_cut_short(tmp_path: Path) -> None:
    """As when the command is killed before its notes are gone: they name lines of the old file."""
    path = tmp_path / "dead.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": 2}\n{"n": 3}\n')
    letters = LetterFile(path, lambda line: {"line": line})
    first, *_ = letters.read()
    letters.remove([first])
    notes = tmp_path / ".dead.jsonl.removed"
    kept = notes.read_bytes()
    letters.compact()
    notes.write_bytes(kept)
    assert len(list(letters.read())) == letters.count() == 2


async def test_a_compacted_file_keeps_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root clears the letters of a daemon that has a user of its own and appends on."""
    path = tmp_path / "dead.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": 2}\n')
    owners: list[tuple[int, int]] = []
    real = os.fstat

    def fstat(fd: int) -> os.stat_result:
        found = real(fd)
        if found.st_ino != path.stat().st_ino:
            return found
        fields = list(found)
        fields[4:6] = [1234, 5678]
        return os.stat_result(fields)

    monkeypatch.setattr(os, "fstat", fstat)
    monkeypatch.setattr(os, "fchown", lambda _fd, user, group: owners.append((user, group)))
    letters = LetterFile(path, lambda line: {"line": line})
    first, _ = letters.read()
    letters.remove([first])
    letters.compact()
    assert owners == [(1234, 5678)]


def leave_aside(letter: StoredLetter) -> Path:
    """As when a command is killed while it looks what it has set aside."""
    path = Path(letter.place)
    path.rename(path.with_name(f".{path.name}.gone"))
    return path


async def test_a_letter_that_a_killed_command_has_set_aside_is_put_back(tmp_path: Path) -> None:
    sink = FileSubject(tmp_path).make()
    assert isinstance(sink, FileSink)
    await sink.write(letters_of([document(n) for n in range(3)]))
    async with sink.dead_letters() as store:
        first, second, third = [letter async for letter in store.read()]
        path, newer = leave_aside(first), leave_aside(second)
        newer.write_text("written once more")
        assert await store.remove([third]) == 1
    assert path.exists()
    assert newer.read_text() == "written once more"
    assert {file.name for file in path.parent.iterdir()} == {path.name, newer.name}


async def test_a_letter_that_was_written_anew_never_leaves_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = FileSubject(tmp_path).make()
    assert isinstance(sink, FileSink)
    await sink.write(letters_of([document(1)]))
    async with sink.dead_letters() as store:
        letters = [letter async for letter in store.read()]
        await sink.write(letters_of([document(1)]))
        monkeypatch.delattr(Path, "rename")
        assert await store.remove(letters) == 0


async def test_a_line_that_is_being_written_is_not_read_and_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": ')
    letters = LetterFile(path, lambda line: {"line": line})
    (whole,) = letters.read()
    letters.remove([whole])
    letters.compact()
    assert path.read_bytes() == b'{"n": '


async def test_who_appends_waits_until_the_file_is_compacted(tmp_path: Path) -> None:
    """A line that went into the old file, already replaced, would be lost."""
    path = tmp_path / "dead.jsonl"
    path.write_bytes(b"old\n")
    fd = os.open(path, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)

    def replace_and_unlock() -> None:
        (tmp_path / "new").write_bytes(b"compacted\n")
        (tmp_path / "new").replace(path)
        os.close(fd)

    async with anyio.create_task_group() as group:
        group.start_soon(to_thread.run_sync, partial(append_lines, path, b"appended\n"))
        await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        replace_and_unlock()
    assert path.read_bytes() == b"compacted\nappended\n"
