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


IN_THE_JOURNAL = """
import os, sys
found = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino + int(sys.argv[1])}"
import structlog
from streamd.telemetry import logs
logs.configure(level="info", form="json")
log = structlog.get_logger()
for tell in (log.info, log.warning, log.error, log.critical):
    tell("it is so")
"""


def told_by(script: str, *arguments: str) -> list[str]:
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stderr.splitlines()


def test_the_journal_learns_how_grave_a_line_is() -> None:
    lines = told_by(IN_THE_JOURNAL, "0")
    assert [line[:3] for line in lines] == ["<6>", "<4>", "<3>", "<2>"]
    assert json.loads(lines[1][3:])["level"] == "warning"


def test_another_log_has_only_json() -> None:
    """The variable is inherited by whatever the service starts, with other streams."""
    assert all(json.loads(line) for line in told_by(IN_THE_JOURNAL, "1"))
