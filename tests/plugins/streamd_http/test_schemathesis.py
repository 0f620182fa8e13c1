"""Requests made up from the OpenAPI document, valid ones and others: the answers are as it says.

The same requests in every run.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.server import free_ports
from tests.services.streamd import Streamd

CONFIG = """
[streamd]
state_dir = "{state_dir}"
admin = "{admin}"

[pipeline.events.source]
plugin = "http"
listen = "127.0.0.1:PORT"
api_keys = { test = "a-key-for-the-test" }

[[pipeline.events.validate]]
plugin = "event"

[[pipeline.events.sink]]
id = "out"
plugin = "drop"
"""
EXAMPLES = 60
"""Of each operation and way to make requests: some four hundred in all."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    (port,) = free_ports(1)
    configuration = CONFIG.replace("PORT", str(port))
    with Streamd(tmp_path_factory.mktemp("schemathesis") / "d", configuration) as streamd:
        deadline = time.monotonic() + 60
        while streamd.get("/readyz")[0] != 200:
            assert time.monotonic() < deadline, streamd.last_words()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"


def run(folder: Path, document: Any, url: str) -> subprocess.CompletedProcess[str]:
    """Holds whoever listens at the URL to a document."""
    (folder / "openapi.json").write_text(json.dumps(document))
    command = [
        *(str(Path(sys.executable).parent / "st"), "run", "openapi.json", "--url", url),
        *("--header", "X-API-Key: a-key-for-the-test", "--no-color"),
        *("--generation-deterministic", "--max-examples", str(EXAMPLES)),
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def document_of(url: str) -> Any:
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=30) as answer:
        return json.load(answer)


def test_the_answers_are_as_documented(url: str, tmp_path: Path) -> None:
    done = run(tmp_path, document_of(url), url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 4" in done.stdout
    cases = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert cases is not None
    assert cases[1] == cases[2]
    assert int(cases[1]) > 200


def test_a_document_that_keeps_something_back_is_found_out(url: str, tmp_path: Path) -> None:
    document = document_of(url)
    del document["paths"]["/ingest"]["post"]["responses"]["422"]
    done = run(tmp_path, document, url)
    assert done.returncode == 1
    assert "Received: 422" in done.stdout
