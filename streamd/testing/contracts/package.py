"""What every package of plugins does.

class TestPackage(PackageContract):
    package = "streamd_mine"
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import pytest

from streamd.catalog import Catalog, Entry, config_of
from streamd.discovery import GROUP
from streamd.settings import SettingsError, load
from streamd.settings.fields import settings_of
from streamd.settings.keys import keys_of

_ASKED_FOR = re.compile(r"\$\{(\w+)(?::\?[^}]*)?\}|@\{env:(\w+)\}")


class PackageContract:
    """Inherit it and name the package. Run it where the package is installed, or by
    `streamd plugin test`, which does as if it was.

    Samples are looked for in `samples/` of the package or of the folder that it is in.
    """

    package: ClassVar[str]

    @pytest.fixture
    def entries(self) -> list[Entry]:
        """The plugins of the package."""
        return [
            entry
            for entry in Catalog.load().entries()
            if entry.plugin.cls.__module__.partition(".")[0] == self.package
        ]

    def test_an_entry_point_leads_to_it(self) -> None:
        values = [point.value for point in entry_points(group=GROUP)]
        found = [value for value in values if re.split(r"[.:]", value)[0] == self.package]
        assert found, "install it (pip install -e .), or run `streamd plugin test`"

    def test_all_that_it_offers_can_be_used(self, entries: list[Entry]) -> None:
        assert entries
        problems = map(str, Catalog.load().problems)
        assert [one for one in problems if self.package in one] == []

    def test_everything_is_described(self, entries: list[Entry]) -> None:
        assert all(entry.summary for entry in entries)
        bare = [
            f"{entry.plugin.name}: {setting.key}"
            for entry in entries
            for setting in settings_of(config_of(entry.plugin))
            if not setting.description
        ]
        assert bare == []

    def test_no_setting_has_the_name_of_an_engine_key(self, entries: list[Entry]) -> None:
        taken = [
            f"{entry.plugin.name}: {key}"
            for entry in entries
            for key in keys_of(entry.plugin.role)
            if key in config_of(entry.plugin).__struct_fields__
        ]
        assert taken == []

    def test_samples_are_good(self) -> None:
        samples = list(self._samples())
        assert samples, "a sample helps more than a page of text"
        assert [fault for sample in samples for fault in _faults(sample)] == []

    def _samples(self) -> Iterator[Path]:
        spec = find_spec(self.package)
        assert spec is not None
        assert spec.origin
        folder = Path(spec.origin).parent
        for place in (folder, folder.parent):
            yield from sorted(place.glob("samples/*.toml"))


def _faults(sample: Path) -> list[str]:
    """A sample may be a part of a pipeline: that a role is missing is no fault."""
    names = _ASKED_FOR.findall(sample.read_text("utf-8"))
    try:
        load(sample, {one or other: "x" for one, other in names})
    except SettingsError as error:
        part = "required: a pipeline has a "
        return [str(one) for one in error.problems if not one.message.startswith(part)]
    return []
