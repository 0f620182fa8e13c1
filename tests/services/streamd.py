"""The daemon itself as a server of a test: to start, stop, kill and ask."""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tests.services.server import Server, free_ports

# The daemon as it is, but for its patience.
_HASTY = """
import importlib, json, sys
from streamd.cli.main import main
for name, seconds in json.loads(sys.argv.pop(1)).items():
    place, _, constant = name.rpartition(".")
    module = importlib.import_module(place)
    assert isinstance(getattr(module, constant), float), name
    setattr(module, constant, seconds)
sys.exit(main())
"""


class Streamd(Server):
    """`streamd --config` with a configuration of the test, in a folder of its own.

    `{admin}` and `{state_dir}` in the configuration become this daemon's. `patience` gives
    constants of its modules, by their full names, other values in seconds: half a minute for each
    step would be long in a test.
    """

    name: ClassVar[str] = "streamd"

    def __init__(
        self,
        folder: Path,
        configuration: str,
        environment: Mapping[str, str] | None = None,
        patience: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(folder)
        (self.port,) = free_ports(1)
        self._configuration = configuration
        self._environment = dict(environment or {})
        self._patience = dict(patience or {})

    @property
    def admin(self) -> str:
        return f"127.0.0.1:{self.port}"

    def prepare(self) -> None:
        self.configure(self._configuration)

    def configure(self, configuration: str) -> None:
        """Write another configuration; the next start, or a reload, reads it."""
        text = configuration.replace("{admin}", self.admin).replace("{state_dir}", "var")
        (self.folder / "streamd.toml").write_text(text)

    def command(self) -> list[str]:
        program = [str(Path(sys.executable).parent / "streamd")]
        if self._patience:
            program = [sys.executable, "-c", _HASTY, json.dumps(self._patience)]
        return [*program, "--config", "streamd.toml"]

    def environment(self) -> dict[str, str]:
        return self._environment

    def answers(self) -> bool:
        return self.get("/healthz")[0] == 200

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a request to the admin port."""
        try:
            with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self) -> dict[str, Any]:
        """The pipelines by name, as /status has them."""
        pipelines: dict[str, Any] = json.loads(self.get("/status")[1])["pipelines"]
        return pipelines

    def metric(self, name: str) -> float:
        """The sum of a metric over all of its labels."""
        lines = self.get("/metrics")[1].splitlines()
        found = [line for line in lines if line.startswith((name + " ", name + "{"))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)
