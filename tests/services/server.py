"""What Kafka, ClickHouse and MinIO have in common: a process to stop, kill and pause."""

import abc
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.services.guardian import Guardian

_guardian = Guardian()

# Below the kernel's range for outgoing connections: while a stopped server is away, no client's
# socket can be given its port.
_PORTS = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on. Random, as other test runs may look for theirs right now."""
    found: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, k=len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"no {count} free ports in {_PORTS}")


class ServerFailedError(Exception):
    """A server did not start, or did not stop; the message ends with its own last words."""


class Server(abc.ABC):
    """One server process. A restart keeps the folder, so the data, and the ports.

    The methods block for up to some seconds. An async test that must go on meanwhile calls
    `await anyio.to_thread.run_sync(server.stop)`.
    """

    name: ClassVar[str]
    port: int

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @abc.abstractmethod
    def prepare(self) -> None:
        """Write the configuration; called before the first start only."""

    @abc.abstractmethod
    def command(self) -> list[str]:
        """The server in the foreground; raises NotInstalledError."""

    @abc.abstractmethod
    def answers(self) -> bool:
        """True when a real request got its answer; OSError counts as no."""

    def environment(self) -> dict[str, str]:
        return {}

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = 60) -> None:
        if self.running:
            raise ServerFailedError(f"{self.name} is already running")
        command = self.command()
        if not self.folder.exists():
            self.folder.mkdir(parents=True)
            self.prepare()
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group to signal, out of reach of Ctrl-C
            )
        _guardian.watch(self._process.pid)
        self._wait_until_it_answers(self._process, time.monotonic() + timeout)

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                self._reap(process, 0)
                raise ServerFailedError(f"{self.name} exited at once\n{self.last_words()}")
            try:
                if self.answers():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        self.kill()
        raise ServerFailedError(f"{self.name} does not answer\n{self.last_words()}")

    def stop(self, timeout: float = 30) -> None:
        """SIGTERM, and wait for the orderly end."""
        if self._process is not None:
            self.resume()  # a stopped process would not see the SIGTERM
            self._signal(signal.SIGTERM)
            self._reap(self._process, timeout)

    def kill(self) -> None:
        """SIGKILL, as when the machine dies."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._reap(self._process, 30)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, as with a network that hangs.

        It has stopped on return: threads that run hear the signal a little later.
        """
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + 10
        while self.running and not self._stopped() and time.monotonic() < deadline:
            time.sleep(0.001)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def restore(self, timeout: float = 60) -> None:
        """Have it run and answer, whatever a test has done to it."""
        self.resume()
        if self._process is None or not self.running:
            self.start(timeout)
        else:
            self._wait_until_it_answers(self._process, time.monotonic() + timeout)

    def close(self) -> None:
        """End of the test: the data goes, the log stays for whoever looks into a failure."""
        self.kill()
        for entry in self.folder.iterdir() if self.folder.exists() else ():
            if entry.is_dir():
                shutil.rmtree(entry)

    def last_words(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def _stopped(self) -> bool:
        options = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        assert self._process is not None
        return os.waitid(os.P_PID, self._process.pid, options) is not None

    def _reap(self, process: subprocess.Popen[bytes], timeout: float) -> None:
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ServerFailedError(f"{self.name} does not stop\n{self.last_words()}") from None
        _guardian.forget(process.pid)
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
