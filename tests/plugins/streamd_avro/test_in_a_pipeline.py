"""The codec in a running pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamd.testing.cases import run_case
from tests.plugins.streamd_avro.helpers import EVENT, make_codec

CONFIG = """
[pipeline.main.source]
plugin = "file"
path = "input.bin"

[pipeline.main.source.codec]
plugin = "avro"
version = "${SCHEMA_VERSION:-2}"

[[pipeline.main.sink]]
id = "out"
plugin = "file"
path = "out.jsonl"
"""


async def test_the_version_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that was wholly a substitution is a string; it must do as a version."""
    monkeypatch.chdir(tmp_path)
    small = {**EVENT, "payload": {"event_type": "metric", "source": "s", "data": {"n": "1"}}}
    (raw,) = make_codec(tmp_path, version=1).encode([small])
    (tmp_path / "input.bin").write_bytes(raw + b"\n")
    (tmp_path / "streamd.toml").write_text(CONFIG)
    for version in ("1", "v1"):
        monkeypatch.setenv("SCHEMA_VERSION", version)
        assert await run_case(tmp_path, tmp_path / version) == {"out": [small]}
