"""The codec in a running pipeline: a registry that is down holds events back and loses none."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamd.testing.cases import run_case
from tests.plugins.streamd_avro.helpers import EVENT, make_codec, record
from tests.plugins.streamd_avro.registry_server import RegistryServer, serving

CONFIG = """
[pipeline.main.source]
plugin = "file"
path = "input.bin"

[pipeline.main.source.codec]
plugin = "avro"
format = "confluent"
registry = "{url}"

[[pipeline.main.policy]]
plugin = "block"
initial = "1ms"

[[pipeline.main.sink]]
id = "out"
plugin = "file"
path = "out.jsonl"
"""


async def test_a_registry_that_comes_back_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("streamd_avro.lookups.PAUSE", 0.001)
    with serving(RegistryServer()) as server:
        server.failures = 3
        number = server.add("events-value", record("N", ("n", "int")))
        # As a file's lines: none of these bytes ends one.
        header = b"\0" + number.to_bytes(4, "big")
        numbers = [n for n in range(60) if n not in (5, -6)]
        lines = [header + bytes((n << 1,)) for n in numbers]
        (tmp_path / "input.bin").write_bytes(b"\n".join(lines) + b"\n")
        (tmp_path / "streamd.toml").write_text(CONFIG.format(url=server.url))
        rows = await run_case(tmp_path, tmp_path / "state")
    assert rows == {"out": [{"n": n} for n in numbers]}
    assert len(server.requests) == 4


async def test_the_version_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that was wholly a substitution is a string; it must do as a version."""
    monkeypatch.chdir(tmp_path)
    small = {**EVENT, "payload": {"event_type": "metric", "source": "s", "data": {"n": "1"}}}
    (raw,) = make_codec(tmp_path, version=1).encode([small])
    (tmp_path / "input.bin").write_bytes(raw + b"\n")
    config = CONFIG.replace('format = "confluent"', 'version = "${{SCHEMA_VERSION:-2}}"')
    config = config.replace('registry = "{url}"', "").format()
    (tmp_path / "streamd.toml").write_text(config)
    for version in ("1", "v1"):
        monkeypatch.setenv("SCHEMA_VERSION", version)
        assert await run_case(tmp_path, tmp_path / version) == {"out": [small]}
