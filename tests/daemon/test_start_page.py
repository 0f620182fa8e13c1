"""docs/start.md, followed word by word: its files are written, its commands run and answered."""

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.services.server import free_ports

PAGE = Path(__file__).resolve().parents[2] / "docs" / "start.md"
_BLOCK = re.compile(r"(.*?)^```(toml|console)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_INSTALLS = "pip install"
_END = "--- end of the answer ---"


class Block(NamedTuple):
    """A fenced block: the text before it, its language, and what is in it."""

    before: str
    language: str
    text: str


class Said(NamedTuple):
    """A command, and what the page says that it answers; `…` stands for anything."""

    command: str
    answer: str


def blocks(page: str) -> list[Block]:
    return [Block(*match.groups()) for match in _BLOCK.finditer(page)]


def dialogue(text: str) -> Iterator[Said]:
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, answer = part.partition("\n")
        yield Said(command, answer)


class Shell:
    """One shell for the whole page, as its reader has one."""

    def __init__(self, folder: Path) -> None:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.process = subprocess.Popen(
            ["bash", "-c", "exec bash 2> stderr"],
            cwd=folder,
            env={**os.environ, "PATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def run(self, command: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\necho; echo '{_END}'\n")
        lines = []
        for line in self.process.stdout:
            if line.strip() == _END:
                break
            lines.append(line)
        return "".join(lines).strip()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("kill -9 $! 2>/dev/null; wait\n")
        self.process.stdin.close()
        self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()


def matches(answer: str, expected: str) -> bool:
    pattern = ".*".join(map(re.escape, expected.strip().split("…")))
    return re.fullmatch(pattern, answer, re.DOTALL) is not None


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ready(admin: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{admin}/readyz", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def test_the_page_is_true(tmp_path: Path) -> None:
    ingest, admin = free_ports(2)
    page = PAGE.read_text("utf-8").replace(":8000", f":{ingest}").replace(":8001", f":{admin}")
    log = tmp_path / "orders.log"
    shell, answered = Shell(tmp_path), 0
    try:
        for block in blocks(page):
            if block.language == "toml":
                names = re.findall(r"Write `([\w.]+)`", block.before)
                (tmp_path / names[-1]).write_text(block.text)
                continue
            if _INSTALLS in block.text:
                continue
            for said in dialogue(block.text):
                found = shell.run(said.command)
                assert matches(found, said.answer), f"{said.command}\n{found}"
                answered += bool(said.answer)
                if said.command.endswith("&"):
                    wait_until(lambda: ready(f"127.0.0.1:{admin}"))
                if "-HUP" in said.command:
                    wait_until(lambda: "Reloaded" in log.read_text())
    finally:
        shell.close()
    assert answered > 8


def test_a_page_that_is_not_true_would_be_found_out() -> None:
    assert matches("id evt_1, stored", "id evt_…, stored\n")
    assert not matches("id evt_1, refused", "id evt_…, stored\n")
    assert list(dialogue("$ a\n1\n2\n$ b\n")) == [Said("a", "1\n2\n"), Said("b", "")]
