"""Lines and their offsets, however the stream is cut into chunks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamd_files.lines import LineSplitter

PIECES = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\r", b"{}", b"0123456789"]))


def taken(splitter: LineSplitter, most: int = 3) -> list[tuple[int, bytes, int]]:
    """Offset, line, and the offset after it that a restart would resume from."""
    rows: list[tuple[int, bytes, int]] = []
    while splitter.waiting:
        lines = splitter.take(most)
        stops = [*lines.offsets[1:], lines.stop]
        rows += zip(lines.offsets, lines.raws, stops, strict=True)
    return rows


def fed(pieces: list[bytes], start: int = 0, max_line: int = 8) -> list[tuple[int, bytes, int]]:
    splitter = LineSplitter(start, max_line)
    rows = []
    for piece in pieces:
        splitter.feed(piece)
        rows += taken(splitter)
    splitter.finish()
    return rows + taken(splitter)


def lines_of(rows: list[tuple[int, bytes, int]]) -> list[tuple[int, bytes]]:
    return [(offset, raw) for offset, raw, _ in rows]


def expected(stream: bytes, max_line: int = 8) -> list[tuple[int, bytes]]:
    rows, offset = [], 0
    for line in stream.split(b"\n"):
        text = line[:-1] if line.endswith(b"\r") and len(line) <= max_line else line
        if len(text) > max_line:
            text = text[:max_line] + b" ...[cut: a line may have 8 bytes]"
        if text:
            rows.append((offset, text))
        offset += len(line) + 1
    return rows


@given(PIECES)
def test_lines_do_not_depend_on_chunks(pieces: list[bytes]) -> None:
    stream = b"".join(pieces)
    assert lines_of(fed(pieces)) == expected(stream)


@given(PIECES, st.data())
def test_any_stop_is_a_place_to_resume(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    rows = fed(pieces)
    if not rows:
        return
    at = data.draw(st.integers(0, len(rows) - 1))
    stop = rows[at][2]
    assert lines_of(fed([stream[stop:]], start=stop)) == lines_of(rows[at + 1 :])


def test_a_half_written_line_waits() -> None:
    splitter = LineSplitter(0, 100)
    splitter.feed(b'{"a": 1}\n{"a"')
    assert taken(splitter) == [(0, b'{"a": 1}', 9)]
    splitter.feed(b": 2")
    assert splitter.waiting == 0
    splitter.feed(b"}\n")
    assert taken(splitter) == [(9, b'{"a": 2}', 18)]


def test_an_endless_line_takes_bounded_memory() -> None:
    splitter = LineSplitter(0, 10)
    for _ in range(1000):
        splitter.feed(b"x" * 1000)
    assert len(splitter._rest) == 11
    splitter.feed(b"\nnext\n")
    ((offset, raw, _), (after, line, stop)) = taken(splitter)
    assert (offset, raw[:11]) == (0, b"x" * 10 + b" ")
    assert (after, line, stop) == (1_000_001, b"next", 1_000_006)
    assert splitter.cut == 1
