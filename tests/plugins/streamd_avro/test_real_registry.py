"""The confluent format against a registry that others wrote."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamd.api import Misconfigured
from streamd_avro.builtin import SCHEMAS
from streamd_avro.codec import AvroCodec
from streamd_avro.confluent import RegistryClient
from tests.plugins.streamd_avro.apicurio import ApicurioServer
from tests.plugins.streamd_avro.helpers import EVENT, SMALL, make_codec, record
from tests.services.installed import NotInstalledError

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = ApicurioServer(tmp_path_factory.mktemp("apicurio") / "server")
    try:
        server.start()
    except NotInstalledError as error:
        pytest.skip(f"server not installed: {error.service}")
    try:
        yield server.url
    finally:
        server.close()


def codec_for(url: str, subject: str, **config: Any) -> AvroCodec:
    settings = {"format": "confluent", "registry": url, "subject": subject, "timeout": 30.0}
    return make_codec(Path("nowhere"), role="sink", **settings, **config)


def send(method: str, url: str, body: Any) -> None:
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    urllib.request.urlopen(request, timeout=30).close()


def test_events_come_back_through_the_registry(url: str) -> None:
    raws = codec_for(url, "events-value", register_schema=True).encode([EVENT, SMALL])
    assert raws[0][0] == 0
    by_latest = codec_for(url, "events-value")
    assert by_latest.encode([EVENT, SMALL]) == raws
    assert codec_for(url, "unused").decode(raws) == ([EVENT, SMALL], {})


def test_what_is_not_there(url: str) -> None:
    _, rejects = codec_for(url, "unused").decode([b"\x00\x00\x00\x7f\xff\x02"])
    assert rejects[0].reason == "unknown_schema"
    for subject, place in (("nowhere", url), ("events-value", f"{url}/nonsense")):
        with pytest.raises(Misconfigured, match="404"):
            codec_for(place, subject).encode([EVENT])


def test_what_it_refuses_is_a_misconfiguration(url: str) -> None:
    client = RegistryClient(url, user="", password="", timeout=30)
    client.register("strict", SCHEMAS["IngestEvent"][2])
    send("PUT", f"{url}/config/strict", {"compatibility": "BACKWARD"})
    other = record("IngestEvent", ("id", "int"), namespace="streamd")
    with pytest.raises(Misconfigured, match="409"):
        client.register("strict", other)
    with pytest.raises(Misconfigured, match="422"):
        client.register("strict", {"type": "nope"})


def test_references(url: str) -> None:
    inner = record("Inner", ("x", "int"), namespace="a")
    send("POST", f"{url}/subjects/inner/versions", {"schema": json.dumps(inner)})
    outer = {
        "schema": json.dumps(record("Outer", ("i", "a.Inner"))),
        "references": [{"name": "a.Inner", "subject": "inner", "version": 1}],
    }
    send("POST", f"{url}/subjects/outer/versions", outer)
    raws = codec_for(url, "outer").encode([{"i": {"x": 5}}])
    assert codec_for(url, "unused").decode(raws) == ([{"i": {"x": 5}}], {})
