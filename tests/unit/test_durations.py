"""Lengths of time and sizes that no machine can count are refused, not carried on as infinite."""

from __future__ import annotations

import pytest

from streamd.api import Duration, Size


@pytest.mark.parametrize("text", ["9" * 400 + "d", "1200000d"])
def test_a_duration_beyond_reason(text: str) -> None:
    with pytest.raises(ValueError, match="years"):
        Duration(text)


def test_a_size_beyond_reason() -> None:
    with pytest.raises(ValueError, match="a size"):
        Size("9" * 400 + "TB")


def test_what_people_write() -> None:
    assert Duration("1h30m") == 5400.0
    assert Duration("36500d") == 36500 * 86400.0
    assert Size("1.5GB") == 1_500_000_000
