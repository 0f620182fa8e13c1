"""Settings are tested with the plugins of `fakes`, whatever is installed."""

from importlib.metadata import EntryPoint

import pytest


@pytest.fixture(autouse=True)
def only_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("fakes", f"{__package__ or 'tests.unit.settings'}.fakes", "streamd")
    monkeypatch.setattr("streamd.discovery.installed", lambda group: [point])
