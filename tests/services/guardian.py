"""Kill the servers of a test run that did not live to stop them itself.

PR_SET_PDEATHSIG would be tied to the *thread* that started the server, and tests start servers
from worker threads too. So a small process of its own holds the reading end of a pipe: when the
test process ends, however it ends, the pipe closes and everything still watched is killed.
Lines on the pipe: `+PID` watch this process group, `-PID` forget it.
"""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading


class Guardian:
    """The test process' side: one guardian process, started with the first server."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def watch(self, pid: int) -> None:
        self._tell(f"+{pid}\n")

    def forget(self, pid: int) -> None:
        self._tell(f"-{pid}\n")

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._process is None:
                self._process = self._launch()
            assert self._process.stdin is not None
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()

    def _launch(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C in the terminal must not reach it.
        process = subprocess.Popen(
            [sys.executable, "-I", __file__], stdin=subprocess.PIPE, start_new_session=True
        )
        atexit.register(self._finish)
        return process

    def _finish(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None


def serve() -> None:
    watched: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        if line[0] == "+":
            watched.add(pid)
        else:
            watched.discard(pid)
    for pid in watched:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve()
