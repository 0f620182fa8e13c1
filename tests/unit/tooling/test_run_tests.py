"""Two halves of the tests at once are one run: neither can fail unseen."""

import sys

import pytest

from scripts.run_tests import both


def command(status: int, says: str = "") -> list[str]:
    return [sys.executable, "-c", f"import sys; print({says!r}); sys.exit({status})"]


@pytest.mark.parametrize("live", [0, 1, -9])
@pytest.mark.parametrize("other", [0, 1, -9])
def test_the_run_fails_with_either_half(live: int, other: int) -> None:
    assert both(command(live), command(other)) is (live == other == 0)


def test_what_each_half_says_is_seen_whole(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    both(command(0, "seen at once"), command(1, "seen at the end\n" * 3))
    said = capfdbinary.readouterr().out.decode().splitlines()
    assert said.count("seen at once") == 1
    assert said.count("seen at the end") == 3
    assert said[-1] == "[tests] live half: passed; other half: failed"
