"""The command line of `streamd tap`; what it shows of a daemon is in tests/daemon."""

import argparse
from typing import Any

import pytest

from streamd.cli import main as cli
from streamd.cli.tap import client


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[argparse.Namespace]:
    """What the client is asked for."""
    asked: list[argparse.Namespace] = []

    def tap(args: argparse.Namespace) -> int:
        asked.append(args)
        return 0

    monkeypatch.setattr(client, "tap", tap)
    return asked


@pytest.mark.parametrize(
    ("rate", "one_in"), [("100", 100), ("1", 1), ("0.01", 100), ("0.4", 2.5), ("1e3", 1000)]
)
def test_a_rate_is_a_share_or_one_in_so_many(
    rate: str, one_in: float, given: list[argparse.Namespace]
) -> None:
    assert cli.main(["tap", "check", "--sample", rate, "--limit", "3", "--config", "x.toml"]) == 0
    (args,) = given
    assert args.sample == pytest.approx(one_in)
    assert (args.stage, args.limit, str(args.config)) == ("check", 3, "x.toml")
    assert (args.filter, args.pipeline, args.rejects, args.format) == (None, None, False, "json")


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--sample", "0"], "0 is neither a whole number nor a share below 1"),
        (["--sample", "-3"], "-3 is neither"),
        (["--sample", "1.5"], "1.5 is neither"),
        (["--sample", "nan"], "nan is neither"),
        (["--sample", "inf"], "inf is neither"),
        (["--sample", "some"], "some is neither"),
        (["--limit", "0"], "0 is no number of events"),
        (["--limit", "some"], "some is no number of events"),
    ],
)
def test_a_number_that_means_nothing_is_refused(
    option: list[str], told: str, given: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["tap", "check", *option])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert not given
