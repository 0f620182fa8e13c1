"""What the server fixtures promise when things go wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.services.installed import ROOT
from tests.services.server import free_ports

# The sleeper holds the script's output open, so the script's reader sees the end of the output
# only when the sleeper is dead.
LEAVE_A_SLEEPER = """
import os, signal, subprocess, threading
from tests.services.guardian import Guardian
guardian = Guardian()
def launch():
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
    guardian.watch(sleeper.pid)
thread = threading.Thread(target=launch)
thread.start()
thread.join()
print("still there", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_no_server() -> None:
    result = subprocess.run(
        [sys.executable, "-c", LEAVE_A_SLEEPER],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL
    assert result.stdout == "still there\n", result.stderr


def run_without_servers(cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """One MinIO test, on a machine where nothing is installed."""
    inherited = {name: value for name, value in os.environ.items() if name != "CI"}
    test = "tests/integration/test_services.py::test_minio_gives_back_what_it_was_given"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test],
        cwd=ROOT,
        env={**inherited, **environment, "STREAMD_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_missing_server_skips_and_says_so(tmp_path: Path) -> None:
    result = run_without_servers(tmp_path)
    assert result.returncode == 0
    assert "minio: 1 test skipped" in result.stdout
    assert "make test" in result.stdout


def test_a_missing_server_fails_in_ci(tmp_path: Path) -> None:
    result = run_without_servers(tmp_path, CI="true")
    assert result.returncode == 1
    assert "minio is not installed" in result.stdout


def test_free_ports_are_distinct() -> None:
    assert len(set(free_ports(20))) == 20
