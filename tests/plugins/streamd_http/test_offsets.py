"""Offsets never come twice, whatever clock and restarts do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.api import Misconfigured
from streamd.testing import FakeClock
from streamd_http.offsets import Offsets


def test_they_start_at_the_clock_and_leave_no_gap(tmp_path: Path) -> None:
    offsets = Offsets(tmp_path / "http" / "a", FakeClock(5))
    offsets.open()
    assert offsets.take(3) == range(5000, 5003)
    assert offsets.take(0) == range(5003, 5003)
    assert offsets.take(2) == range(5003, 5005)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2_000_000_000_000), st.lists(st.integers(0, 4_000_000_000))),
        max_size=5,
    )
)
def test_no_run_repeats_an_offset_of_another(tmp_path_factory, runs) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("state") / "a"
    reached = -1
    for now, counts in runs:
        offsets = Offsets(path, FakeClock(now))
        offsets.open()
        for count in counts:
            taken = offsets.take(count)
            assert taken.start > reached
            reached = max(reached, taken.stop - 1)


@pytest.mark.parametrize("content", [b"", b"x", b"\xff"])
def test_a_broken_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(Misconfigured, match="a: "):
        Offsets(tmp_path / "a", FakeClock()).open()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "http").write_text("a file")
    with pytest.raises(Misconfigured):
        Offsets(tmp_path / "http" / "a", FakeClock()).open()
