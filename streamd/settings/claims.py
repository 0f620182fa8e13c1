"""Stages that cannot have the same thing both: a port, a file that is followed."""

from __future__ import annotations

from contextlib import suppress

from streamd.api import StageConfig
from streamd.settings.admin import parse_address
from streamd.settings.lines import Path
from streamd.settings.model import DaemonOptions
from streamd.settings.problems import Problems


class Claims:
    """Who has what, in all pipelines of a daemon. The admin port comes first."""

    def __init__(self, options: DaemonOptions, problems: Problems) -> None:
        self._problems = problems
        self._owners: dict[str, Path] = {}
        if options.admin:
            with suppress(ValueError):  # told already
                self._claim(f"the address {parse_address(options.admin)}", ("streamd", "admin"))

    def note(self, config: StageConfig, path: Path) -> None:
        """Note an error where the stage claims what another one has already."""
        for claim in config.claims():
            self._claim(claim, path)

    def _claim(self, claim: str, path: Path) -> None:
        if claim in self._owners:
            self._problems.add(path, f"{claim} is taken already", self._owners[claim])
        self._owners.setdefault(claim, path)
