"""That nothing which systemd does inside reaches this machine, /tmp above all."""

import os
import tempfile
from pathlib import Path

import pytest

from tests.systemd.machine import Machine

pytestmark = pytest.mark.soak


def test_it_is_a_systemd_of_its_own(machine: Machine) -> None:
    assert machine.run("cat /proc/1/comm") == "systemd"
    assert machine.run("systemctl list-units --failed --no-legend") == ""
    for kind in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts"):
        assert machine.run(f"readlink /proc/1/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")


def test_the_machines_files_are_out_of_its_reach(machine: Machine) -> None:
    with tempfile.NamedTemporaryFile(dir="/tmp") as canary:
        machine.run("rm -rf /tmp/* /var/tmp/*; systemd-tmpfiles --clean --remove --prefix=/tmp")
        assert Path(canary.name).exists()
    for forbidden in (
        "touch /usr/lib/os-release",
        "mount -o remount,bind,rw /usr && touch /usr/lib/os-release",
        "echo 1 >/proc/sys/kernel/sysrq",
        "mknod /tmp/disk b 254 0",
        f"ls {canary.name} {Path(__file__)}",
    ):
        machine.run(forbidden, fails=True)
