"""Standard input, of all kinds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from streamd.testing import FakeClock, FakeControl, RecordedMetric, stage_context
from streamd.testing.contracts.source import raws_of
from streamd_files import FileSource
from streamd_files.stdin import Stdin


def stdin_of(fd: int, control: FakeControl | None = None) -> Stdin:
    return Stdin(
        max_line=1000,
        control=control or FakeControl(),
        clock=FakeClock(123),
        cut=RecordedMetric(),
        fd=fd,
    )


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


async def test_a_pipe_is_read_until_it_ends(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    control = FakeControl()
    stdin = stdin_of(reader, control)
    os.write(writer, b"1\n2\n3")
    (batch,) = await stdin.poll(1, 5.0)
    assert control.assignments == [{"stdin:0": None}]
    assert (batch.raws, list(batch.timestamps)) == ([b"1"], [123])
    assert raws_of(await stdin.poll(10, 5.0)) == [b"2"]
    assert await stdin.poll(10, 0.0) == []
    assert not stdin.exhausted()
    os.close(writer)
    assert raws_of(await stdin.poll(10, 5.0)) == [b"3"]
    assert stdin.exhausted()
    assert await stdin.poll(10, 5.0) == []


async def test_a_cancelled_poll_loses_nothing(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    stdin = stdin_of(reader)
    async with anyio.create_task_group() as group:
        group.start_soon(stdin.poll, 10, 5.0)
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    os.write(writer, b"1\n")
    assert raws_of(await stdin.poll(10, 5.0)) == [b"1"]
    os.close(writer)


@pytest.mark.parametrize("content", [b"", b"1\n2\n"])
async def test_a_file_as_standard_input(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "in"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        stdin = stdin_of(fd)
        read = raws_of([*await stdin.poll(10, 5.0), *await stdin.poll(10, 5.0)])
        assert read == content.split()
        assert stdin.exhausted()
    finally:
        os.close(fd)


async def test_nothing_as_standard_input() -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    try:
        stdin = stdin_of(fd)
        assert await stdin.poll(10, 5.0) == []
        assert stdin.exhausted()
    finally:
        os.close(fd)


async def test_a_dash_means_standard_input() -> None:
    source = FileSource(FileSource.Config(path="-"), stage_context("source"))
    assert not source.resumes
    assert await source.healthcheck() == "reads standard input"
