"""What an operator does around a running service, and what its sandbox must not forbid."""

import json

import pytest

from tests.systemd.machine import KafkaInside, Machine
from tests.systemd.service import Service

pytestmark = pytest.mark.soak

LETTERS = """
[streamd]
state_dir = "${STATE_DIRECTORY:-var}"
admin = "127.0.0.1:8002"
admin_token = "@{credential:token}"
[[pipeline.events.source]]
id = "made_up"
plugin = "generator"
rate = 0
count = 200
invalid = 0.5
[[pipeline.events.source]]
id = "http"
plugin = "http"
listen = "127.0.0.1:8003"
[[pipeline.events.validate]]
plugin = "event"
[[pipeline.events.sink]]
id = "store"
plugin = "sqlite"
path = "events.db"
[[pipeline.events.sink]]
id = "dead"
plugin = "file"
path = "dead_letters/{dlq_id}.json"
inputs = ["dead_letters"]
"""
TOKEN = "a-token-of-some-length"

# Through every compiled library that a source or sink brings.
KAFKA = """
[streamd]
state_dir = "."
admin = ""
uvloop = true
[pipeline.made.source]
plugin = "generator"
rate = 0
count = 20000
[[pipeline.made.sink]]
id = "topic"
plugin = "kafka"
bootstrap_servers = "@bootstrap"
topic = "made"
compression = "zstd"

[pipeline.events.source]
plugin = "kafka"
bootstrap_servers = "@bootstrap"
topics = ["made"]
group_id = "events"
on_missing_topic = "wait"
metadata_max_age = "500ms"
[[pipeline.events.validate]]
plugin = "json_schema"
schema = '{"type": "object", "required": ["id"]}'
[[pipeline.events.window]]
id = "minutes"
plugin = "tumbling"
size = "60s"
[[pipeline.events.sink]]
id = "store"
plugin = "sqlite"
path = "events.db"
[[pipeline.events.sink]]
id = "rows"
plugin = "file"
inputs = ["minutes"]
path = "minutes.jsonl"
"""


@pytest.fixture
def service(machine: Machine) -> Service:
    """An instance with a secret."""
    service = Service(machine, LETTERS, instance="k")
    machine.write("/etc/streamd/token", TOKEN, "600")
    service.drop_in("LoadCredential=token:/etc/streamd/token")
    service.ctl("start")
    machine.until(f"ls {service.state}/dead_letters | wc -l; journalctl -o cat", "Dead-lettered")
    return service


def test_a_secret_is_the_services_alone(machine: Machine, service: Service) -> None:
    ask = "curl -s -o /dev/null -w '%{http_code}' 127.0.0.1:8002/status"
    assert machine.run(ask) == "401"
    assert machine.run(f"{ask} -H 'Authorization: Bearer {TOKEN}'") == "200"
    assert TOKEN not in machine.run(
        f"cat /proc/{service.pid}/environ; streamd as {service.name} echo"
    )
    service.ctl("reload")
    service.until("SubState", lambda state: state == "running")
    assert "refused" not in service.show("StatusText")


def test_instances_cannot_reach_into_each_other(machine: Machine, service: Service) -> None:
    other = Service(machine, LETTERS.replace(":800", ":810"), instance="other_1")
    other.drop_in("LoadCredential=token:/etc/streamd/token")
    other.ctl("start")
    users = machine.run(f"stat -Lc %U {service.state} {other.state}").split()
    assert users == ["streamd-k", "streamd-other_1"]
    assert machine.run(f"stat -Lc %a {service.state} {other.state}").split() == ["700", "700"]


def test_commands_see_what_the_service_sees(machine: Machine, service: Service) -> None:
    inside = f"streamd as {service.name}"
    assert f"{service.config}: good" in machine.run(f"{inside} check")
    machine.until(f"{inside} top --once", "events: running")
    tapped = f"streamd as {service.name} tap event --rejects --limit 1"
    sent = "curl -s -H 'Content-Type: application/json' -d '{}' 127.0.0.1:8003/ingest"
    machine.run(f"({tapped} >/run/tapped) & sleep 3; {sent}; wait")
    assert '"stage":"event"' in machine.run("cat /run/tapped")
    before = json.loads(machine.run(f"{inside} dlq stats --json"))
    assert before["total"] > 50
    # A shell has neither the secret nor the state directory, and must not pretend otherwise.
    blind = machine.run(f"cd /; streamd --config {service.config} dlq list", fails=True)
    assert "CREDENTIALS_DIRECTORY" in blind
    told = machine.run(f"{inside} dlq replay --limit 10", fails=None)
    assert "10 dead lettered" in told
    machine.run(f"{inside} dlq discard --limit 20")
    after = json.loads(machine.run(f"{inside} dlq stats --json"))
    assert after["total"] <= before["total"] - 20
    owners = machine.run(f"find {service.state}/ -printf '%u %m %y\\n' | sort -u")
    assert "root" not in owners
    assert machine.run(f"stat -Lc %a {service.state}") == "700"
    on_a_terminal = machine.run(f"script -qec '{inside} dlq list --limit 3' /dev/null")
    assert on_a_terminal.count("dlq_") == 3
    service.ctl("restart")
    assert service.state_now == "active running"


def test_the_exit_status_comes_through(machine: Machine, service: Service) -> None:
    assert "no pipeline x" in machine.run(
        f"streamd as {service.name} dlq list --pipeline x", fails=True
    )
    assert "streamd.service" in machine.run("streamd as streamd check", fails=True)
    assert "runs no `streamd" in machine.run("streamd as dbus check", fails=True)


def test_the_sandbox_lets_kafka_and_the_compiled_libraries_work(
    machine: Machine, kafka_inside: KafkaInside
) -> None:
    service = Service(machine, KAFKA.replace("@bootstrap", kafka_inside.bootstrap_servers))
    service.ctl("start")
    text = service.until("StatusText", lambda text: "20k read, lag 0" in text, 60)
    assert "events: running" in text
    assert "up to date" in text
    loaded = machine.run(f"cat /proc/{service.pid}/maps")
    for library in ("uvloop/loop", "aiokafka/record", "cramjam", "jsonschema_rs", "msgspec/_core"):
        assert library in loaded
    assert service.stored() == 20_000
    service.ctl("stop")
    assert service.show("Result") == "success"
