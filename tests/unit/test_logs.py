"""The log: what libraries say through the standard library's logging comes out as ours does."""

import json
import logging
import subprocess
import sys

SAYS = """
import logging
from streamd.telemetry import logs
logs.configure(level="info", form="json")
logging.getLogger("client.pool").warning("lost %s", "a connection")
try:
    raise ValueError("odd")
except ValueError:
    logging.getLogger("client").exception("failed")
"""


def test_what_a_library_logs_is_a_line_of_ours() -> None:
    # In a process of its own: the configuration of logging belongs to a whole process.
    told = subprocess.run(
        [sys.executable, "-c", SAYS], capture_output=True, text=True, check=True, timeout=60
    )
    first, second = map(json.loads, told.stderr.splitlines())
    assert (first["message"], first["logger"]) == ("lost a connection", "client.pool")
    assert first["level"] == logging.getLevelName(logging.WARNING).lower()
    assert "ValueError: odd" in second["exception"]
