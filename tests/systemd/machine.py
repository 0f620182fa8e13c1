"""A systemd to test with: the first process of namespaces of its own. See boot.sh."""

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

from tests.services.installed import ROOT
from tests.services.kafka import KafkaServer
from tests.services.server import Server

_BOOT = Path(__file__).with_name("boot.sh")
_SYSTEMD = Path("/lib/systemd/systemd")
_TOOLS = ("ip", "ldconfig", "mount", "nsenter", "pivot_root", "sh", "unshare")
_CLONE_NEWNET = 0x40000000

T = TypeVar("T")

_INSIDE = (
    "PATH=/opt/streamd/bin:/usr/sbin:/usr/bin",
    "HOME=/root",
    "LC_ALL=C.UTF-8",
    "TERM=dumb",
    "SYSTEMD_COLORS=0",
    "SYSTEMD_PAGER=",
)


class RefusedError(Exception):
    """Such a systemd cannot be had here; the message says why."""


def _cgroup() -> Path:
    """The cgroup2 of this process."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    mounted = next((Path(words[1]) for words in mounts if words[2] == "cgroup2"), None)
    ours = [line for line in Path("/proc/self/cgroup").read_text().splitlines() if "0::" in line]
    if mounted is None or not ours:
        raise RefusedError("no cgroup2 is mounted")
    return mounted / ours[0].removeprefix("0::/")


def check_here() -> None:
    """Raises RefusedError."""
    if os.geteuid():
        raise RefusedError("namespaces with a range of users need root")
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=path) is None]
    if missing or not _SYSTEMD.exists():
        raise RefusedError(f"not installed: {', '.join(missing) or _SYSTEMD}")
    tried = subprocess.run(
        ["unshare", "--user", "--mount", "--pid", "--net", "--cgroup", "--fork", "true"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if tried.returncode:
        raise RefusedError(tried.stderr.strip())
    try:
        tried_group = _cgroup() / f"streamd-try-{os.getpid()}"
        tried_group.mkdir()
        tried_group.rmdir()
    except OSError as error:
        raise RefusedError(f"no cgroup can be made: {error}") from error


class Machine(Server):
    """Started, it has a file system, a network and processes of its own, and nothing runs but
    systemd, its journal and the bus. /opt/streamd holds this work tree's streamd."""

    name: ClassVar[str] = "systemd"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._group = _cgroup() / f"streamd-test-{os.getpid()}"

    def prepare(self) -> None:
        """Everything is made by the start."""

    def command(self) -> list[str]:
        self._group.mkdir(exist_ok=True)
        packages = sysconfig.get_path("purelib")
        return ["sh", str(_BOOT), str(self._group), sys.base_prefix, packages, str(ROOT)]

    def environment(self) -> dict[str, str]:
        return {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}

    def answers(self) -> bool:
        if self.pid is None:
            return False
        return self.run("systemctl is-system-running", fails=None) == "running"

    @property
    def pid(self) -> int | None:
        """Of systemd, once it has been started."""
        assert self._process is not None
        outer = self._process.pid
        try:
            children = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
            named = {Path(f"/proc/{pid}/comm").read_text().strip(): int(pid) for pid in children}
        except OSError:
            return None
        return named.get("systemd")

    def run(self, script: str, *, fails: bool | None = False, stdin: str = "") -> str:
        """What a shell script prints, as root inside. `fails`: None if it may or may not."""
        ran = subprocess.run(
            ["nsenter", f"--target={self.pid}", "--all", "env", "-i", *_INSIDE, "sh", "-c", script],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        told = ran.stdout + ran.stderr
        assert fails is None or bool(ran.returncode) == fails, f"{script}: {ran.returncode}\n{told}"
        return told.strip()

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """Make a file inside, and its folder."""
        self.run(f"mkdir -p $(dirname {path}); cat >{path}; chmod {mode} {path}", stdin=text)

    def in_network(self, call: Callable[[], T]) -> T:
        """Call it as if from inside, as far as sockets are concerned."""
        answer: list[T] = []
        errors: list[Exception] = []

        def enter_and_call() -> None:
            try:
                with open(f"/proc/{self.pid}/ns/net") as network:
                    if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                answer.append(call())
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=enter_and_call)  # a namespace is entered by threads
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return answer[0]

    def until(self, script: str, wanted: str, timeout: float = 30) -> str:
        """Run the script until what it prints contains what is wanted."""
        deadline = time.monotonic() + timeout
        while wanted not in (told := self.run(script, fails=None)):
            assert time.monotonic() < deadline, (
                f"{script}: no {wanted!r} in\n{told}\n{self.journal()}"
            )
            time.sleep(0.2)
        return told

    def journal(self, unit: str = "streamd*", lines: int = 60) -> str:
        return self.run(f"journalctl --no-pager -o cat -n {lines} -u '{unit}'")

    def close(self) -> None:
        super().close()
        deadline = time.monotonic() + 10
        while self._group.exists() and time.monotonic() < deadline:
            for folder, _, _ in os.walk(self._group, topdown=False):
                with contextlib.suppress(OSError):  # its last process is about to end
                    Path(folder).rmdir()
            time.sleep(0.05)


class KafkaInside(KafkaServer):
    """A broker that is reached from inside alone."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        super().__init__(folder, heap="256m")
        self._machine = machine

    def command(self) -> list[str]:
        return ["nsenter", f"--target={self._machine.pid}", "--net", *super().command()]

    def answers(self) -> bool:
        return self._machine.in_network(super().answers)
