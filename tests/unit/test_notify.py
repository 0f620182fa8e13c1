"""The service manager's protocol, over a real socket."""

import os
import socket
from pathlib import Path

import pytest

from streamd.notify import Notifier


def listen(address: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(address)
    server.settimeout(5)
    return server


@pytest.mark.parametrize("abstract", [False, True])
def test_messages_arrive_in_one_datagram_each(tmp_path: Path, abstract: bool) -> None:
    name = f"streamd-test-{os.getpid()}"
    path = str(tmp_path / "notify")
    with listen("\0" + name if abstract else path) as server:
        notifier = Notifier({"NOTIFY_SOCKET": "@" + name if abstract else path})
        notifier.ready("2 pipelines run")
        notifier.reloading()
        notifier.extend_timeout(1.5)
        notifier.alive()
        notifier.stopping("draining")
        received = [server.recv(1000).decode().split("\n") for _ in range(5)]
    assert received[0] == ["READY=1", "STATUS=2 pipelines run"]
    assert received[1][0] == "RELOADING=1"
    assert received[1][1].startswith("MONOTONIC_USEC=")
    assert received[2] == ["EXTEND_TIMEOUT_USEC=1500000"]
    assert received[3] == ["WATCHDOG=1"]
    assert received[4] == ["STOPPING=1", "STATUS=draining"]


def test_a_status_of_several_lines_stays_a_status(tmp_path: Path) -> None:
    with listen(str(tmp_path / "notify")) as server:
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}).status("out: refused\nREADY=1 \udce4")
        assert server.recv(1000) == b"STATUS=out: refused READY=1 ?"


def test_without_a_service_manager_nothing_happens() -> None:
    Notifier({}).ready("alone")
    Notifier({"NOTIFY_SOCKET": "/does/not/exist"}).ready("gone")


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_per_interval(
    environment: dict[str, str], interval: float | None
) -> None:
    assert Notifier(environment).watchdog_interval == interval
