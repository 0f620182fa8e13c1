"""The shipped unit under a real systemd: what it promises to whoever operates it."""

import pytest

from tests.services.installed import ROOT
from tests.systemd.machine import Machine
from tests.systemd.service import Service

pytestmark = pytest.mark.soak

EMBEDDED = (ROOT / "streamd.toml").read_text()
COUNTS = """
[streamd]
state_dir = "."
admin = ""
[pipeline.events.source]
plugin = "generator"
rate = 2000
start = "2025-11-19T10:30:00Z"
[[pipeline.events.sink]]
id = "store"
plugin = "sqlite"
path = "events.db"
"""
FULL = COUNTS.replace('path = "events.db"', 'path = "events.db"\nbatch.rows = 100')


def test_the_embedded_default_runs_confined(machine: Machine) -> None:
    service = Service(machine, EMBEDDED)
    service.ctl("enable --now")
    assert service.state_now == "active running"
    assert machine.run("curl -s -o /dev/null -w '%{http_code}' 127.0.0.1:8001/readyz") == "200"
    service.until("StatusText", lambda text: "events: running, 5/s" in text or "5.1/s" in text)
    assert "events: running" in service.ctl("status"), "as people see it"
    pid = service.pid
    kept = machine.run(f"stat -Lc '%a %U' {service.state} {service.state}/*.db /proc/{pid}")
    assert set(kept.splitlines()) == {"700 streamd", "600 streamd", "555 streamd"}
    held = machine.run(f"cat /proc/{pid}/status")
    for line in ("NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000"):
        assert line in held
    seen = machine.run(
        f"nsenter -t {pid} -m sh -c 'touch /etc/x /usr/x; ls /home /root'", fails=None
    )
    assert seen.count("Read-only file system") == 2
    assert machine.run(f"readlink /proc/{pid}/ns/user") != machine.run("readlink /proc/1/ns/user")
    assert "error" not in machine.journal()


def test_ready_means_that_the_pipeline_runs(machine: Machine) -> None:
    service = Service(machine, COUNTS)
    service.ctl("start --no-block")
    service.until("SubState", lambda state: state == "running")
    machine.until("journalctl -o cat -u streamd", "Pipeline running", 0.1)


def test_a_reload_is_told_as_it_went(machine: Machine) -> None:
    service = Service(machine, COUNTS)
    service.ctl("start")
    pid = service.pid
    service.configure(COUNTS.replace("2000", "100"))
    service.ctl("reload")
    service.until("SubState", lambda state: state == "running")
    machine.until("journalctl -o cat -u streamd", '"Reloaded"')
    assert "refused" not in service.show("StatusText")
    service.configure(COUNTS.replace("2000", '"many"'))
    assert "Job for streamd.service failed" in service.ctl("reload", fails=True)
    service.until("StatusText", lambda text: "the last reload was refused" in text)
    assert service.state_now == "active running"
    grave = machine.run("journalctl --no-pager -o cat -p err -t streamd")
    assert "expected number, got" in grave
    assert "Reloaded" not in grave
    service.configure(COUNTS)
    service.ctl("reload")
    service.until("StatusText", lambda text: "refused" not in text)
    assert service.pid == pid
    assert service.show("NRestarts") == "0"


def test_a_stop_drains_and_a_kill_loses_nothing(machine: Machine) -> None:
    service = Service(machine, COUNTS)
    service.drop_in("RestartSec=100ms")
    service.ctl("start")
    for _ in range(3):
        before = service.stored() if service.show("NRestarts") != "0" else 0
        service.until("StatusText", lambda text: "running" in text)
        pid = service.pid
        machine.run(f"sleep 2; kill -9 {pid}")
        service.until_another(pid)
        assert service.stored() > before
    assert service.show("NRestarts") == "3"
    machine.run("sleep 1")
    service.ctl("stop")
    assert service.show("Result") == "success"
    assert service.show("ExecMainStatus") == "0"
    assert "Pipeline stopped" in machine.journal()
    # Each made-up event has a place, so a gap or a double would show.
    assert service.stored() == service.stored("count(DISTINCT offset)")
    assert service.stored() == service.stored("max(offset) + 1") > 2000


def test_a_wrong_configuration_is_not_tried_again(machine: Machine) -> None:
    service = Service(machine, COUNTS.replace("2000", '"many"'))
    service.drop_in("RestartSec=100ms")
    service.ctl("start", fails=True)
    machine.run("sleep 2")
    assert service.state_now == "failed failed"
    assert (service.show("ExecMainStatus"), service.show("NRestarts")) == ("78", "0")
    assert "streamd.toml:7" in service.ctl("status", fails=True)


def test_the_watchdog_starts_a_frozen_daemon_again(machine: Machine) -> None:
    service = Service(machine, COUNTS)
    service.drop_in("WatchdogSec=2", "RestartSec=100ms")
    service.ctl("start")
    pid = service.pid
    machine.run("sleep 5")
    assert service.pid == pid, "while it works it is left alone"
    machine.run(f"kill -STOP {pid}")
    service.until_another(pid)
    assert "Watchdog timeout" in machine.run("journalctl --no-pager -o cat _PID=1")
    assert service.show("NRestarts") == "1"


def test_draining_may_take_longer_than_the_time_to_stop(machine: Machine) -> None:
    slow = COUNTS.replace(
        "[pipeline.events.source]",
        '[pipeline.events]\ndrain_timeout = "12s"\n[pipeline.events.source]',
    )
    service = Service(machine, slow)
    service.drop_in("TimeoutStopSec=3")
    service.ctl("start")
    machine.run("sleep 2")
    lock = (
        "import sqlite3, time; c = sqlite3.connect('/var/lib/streamd/events.db', timeout=20);"
        " c.execute('BEGIN IMMEDIATE'); open('/tmp/held', 'w').close(); time.sleep(8)"
    )
    machine.run(f'/opt/streamd/bin/python -c "{lock}" >/tmp/log 2>&1 &')
    machine.run("until [ -e /tmp/held ]; do sleep 0.1; done; sleep 1")
    service.ctl("stop")
    assert service.show("Result") == "success"
    assert service.stored() == service.stored("max(offset) + 1") > 2000
