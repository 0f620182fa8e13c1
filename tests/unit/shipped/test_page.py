"""What the page and `streamd top` take from plugins by name is what plugins really make."""

import re

import pytest

from tests.unit.shipped.exposition import ROOT, exposed

MADE = set(exposed())
ENDINGS = ("_lag_records", "_lag_seconds")
LOOKED_FOR = ("watermark_lag_seconds", "window_open", "window_keys")


@pytest.mark.parametrize("name", LOOKED_FOR)
def test_a_gauge_of_windows_that_is_shown_exists(name: str) -> None:
    assert f"streamd_{name}" in MADE
    sources = [*ROOT.glob("streamd/admin/*.py"), *ROOT.glob("streamd/page/*.js")]
    assert any(name in path.read_text("utf-8") for path in sources)


@pytest.mark.parametrize("ending", ENDINGS)
def test_some_source_tells_its_lag_by_this_ending(ending: str) -> None:
    found = [name for name in MADE if name.endswith(ending) and "watermark" not in name]
    assert found
    assert ending in (ROOT / "streamd" / "telemetry" / "lag.py").read_text("utf-8")


def test_every_counter_that_becomes_a_rate_exists() -> None:
    code = (ROOT / "streamd" / "admin" / "compare.py").read_text("utf-8")
    counters = re.findall(r'_rate\([^"]+"(\w+)"', code)
    assert set(counters) == {"events", "rejected_events", "dropped_events", "retries"}
    assert {f"streamd_{name}_total" for name in counters} <= MADE
