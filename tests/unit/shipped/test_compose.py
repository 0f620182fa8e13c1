"""The compose file parses, refers to what exists, and starts streamd with what it needs."""

import json
import re
from typing import Any

import pytest

from streamd.api import Duration
from streamd.settings.loader import load
from tests.unit.shipped.exposition import ROOT
from tests.unit.shipped.plain_yaml import PlainYamlError, read

FOLDER = ROOT / "config"
COMPOSE: dict[str, Any] = read((FOLDER / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_it_has_all_that_a_trial_needs() -> None:
    assert SERVICES.keys() >= {"kafka", "clickhouse", "s3", "prometheus", "grafana", "streamd"}
    for name, service in SERVICES.items():
        if name != "streamd":
            assert re.fullmatch(r"[\w./-]+:v?\S*\d\S*", service["image"]), "a version of its own"


def test_what_a_service_refers_to_exists() -> None:
    volumes = set()
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", ())) <= SERVICES.keys(), name
        assert {config["source"] for config in service.get("configs", ())} <= set(
            COMPOSE["configs"]
        )
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (FOLDER / source).exists(), volume
            else:
                volumes.add(source)
    assert volumes == set(COMPOSE["volumes"])


def test_who_is_waited_for_to_be_healthy_can_tell() -> None:
    for service in SERVICES.values():
        needs = service.get("depends_on", {})
        for other in needs if isinstance(needs, dict) else ():
            if needs[other]["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], other


def test_every_port_is_open_to_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == len(set(ports)) > 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_configuration_of_streamd_loads_with_its_environment() -> None:
    service = SERVICES["streamd"]
    mounted = service["volumes"][0].split(":")
    assert mounted[1] == "/etc/streamd/streamd.toml"
    settings = load(FOLDER / mounted[0], service["environment"])
    assert settings.daemon.admin == "0.0.0.0:8001"
    scraping = (FOLDER / "prometheus" / "prometheus.yml").read_text("utf-8")
    assert f"credentials: {settings.daemon.admin_token}\n" in scraping
    drains = max(pipeline.options.drain_timeout for pipeline in settings.pipelines)
    assert Duration(service["stop_grace_period"]) > drains
    addresses = json.dumps([repr(pipeline) for pipeline in settings.pipelines])
    assert all(f"{host}:" in addresses for host in ("kafka", "s3"))
    assert "127.0.0.1" not in addresses


def test_the_image_is_built_from_what_there_is() -> None:
    build = SERVICES["streamd"]["build"]
    dockerfile = (FOLDER / build["context"] / build["dockerfile"]).read_text("utf-8")
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text("utf-8").split()
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile, flags=re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored


def test_prometheus_scrapes_the_daemon_of_the_compose_file() -> None:
    sample = (FOLDER / "prometheus" / "prometheus.yml").read_text("utf-8")
    assert 'targets: ["streamd:8001"]' in sample
    assert "./prometheus:/etc/prometheus:ro" in SERVICES["prometheus"]["volumes"]


def test_what_the_reader_takes() -> None:
    text = 'a:\n  - b: 1\n    c: "x: y"\n  - [1, "2"]\nd: |\n  one\n    two\ne:\nf: t/u:1 # not\n'
    with pytest.raises(PlainYamlError, match="line 9: quote it"):
        read(text)
    assert read(text.replace(" # not", "")) == {
        "a": [{"b": 1, "c": "x: y"}, [1, "2"]],
        "d": "one\n  two\n",
        "e": None,
        "f": "t/u:1",
    }


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2", "a:\n  b: 1\n c: 2", "a: {b: 1}", "a\n", "a: [1,", "\ta: 1", "a: b: c"]
)
def test_what_the_reader_refuses(text: str) -> None:
    with pytest.raises(PlainYamlError):
        read(text)
