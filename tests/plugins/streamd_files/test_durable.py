"""What is on the disk after faults."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from streamd_files.durable import append_lines, replace_file, replace_files


def test_appends(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "out.jsonl"
    append_lines(path, b"1\n2\n")
    append_lines(path, b"3\n")
    assert path.read_bytes() == b"1\n2\n3\n"


@pytest.mark.parametrize("torn", [b'{"half', b"x" * 5000, b"\x00\xff"])
@pytest.mark.parametrize("before", [b"", b"1\n", b"1\n" * 5000])
def test_a_torn_line_is_moved_away(tmp_path: Path, before: bytes, torn: bytes) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(before + torn)
    assert append_lines(path, b"2\n") == len(torn)
    assert path.read_bytes() == before + b"2\n"
    assert (tmp_path / "out.jsonl.torn").read_bytes() == torn + b"\n"
    assert append_lines(path, b"3\n") == 0


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_failed_append_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "out.jsonl"
    append_lines(path, b"1\n")
    write = os.write

    def full(fd: int, data: memoryview) -> int:
        if len(data) < 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data[:4])

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full if call == "write" else broken)
        with pytest.raises(OSError, match=r"error|space"):
            append_lines(path, b"234567\n")
    assert path.read_bytes() == b"1\n"
    append_lines(path, b"2\n")
    assert path.read_bytes() == b"1\n2\n"


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a" / "doc.json"
    replace_file(path, b"old")

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="error"):
            replace_file(path, b"new, but not to be trusted")
    assert path.read_bytes() == b"old"
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["doc.json"]


def test_folders_are_synced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def record(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", record)
    replace_files([(tmp_path / "a" / "b" / "x", b"1"), (tmp_path / "a" / "b" / "y", b"2")])
    folders = [path for path in synced if Path(path).is_dir()]
    assert folders == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")]
