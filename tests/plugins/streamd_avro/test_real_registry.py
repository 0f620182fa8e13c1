"""The confluent format against a registry that others wrote."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamd.api import Misconfigured
from streamd.testing.codecs import decode, encode
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


async def test_events_come_back_through_the_registry(url: str) -> None:
    raws = await encode(codec_for(url, "events-value", register_schema=True), [EVENT, SMALL])
    assert raws[0][0] == 0
    by_latest = codec_for(url, "events-value")
    assert await encode(by_latest, [EVENT, SMALL]) == raws
    assert await decode(codec_for(url, "unused"), raws) == ([EVENT, SMALL], {})


async def test_what_is_not_there(url: str) -> None:
    _, rejects = await decode(codec_for(url, "unused"), [b"\x00\x00\x00\x7f\xff\x02"])
    assert rejects[0].reason == "unknown_schema"
    for subject, place in (("nowhere", url), ("events-value", f"{url}/nonsense")):
        with pytest.raises(Misconfigured, match="404"):
            await encode(codec_for(place, subject), [EVENT])


async def test_what_it_refuses_is_a_misconfiguration(url: str) -> None:
    client = RegistryClient(url, user="", password="", timeout=30)
    await client.register("strict", SCHEMAS["IngestEvent"][2])
    send("PUT", f"{url}/config/strict", {"compatibility": "BACKWARD"})
    other = record("IngestEvent", ("id", "int"), namespace="streamd")
    with pytest.raises(Misconfigured, match="409"):
        await client.register("strict", other)
    with pytest.raises(Misconfigured, match="422"):
        await client.register("strict", {"type": "nope"})


async def test_references(url: str) -> None:
    inner = record("Inner", ("x", "int"), namespace="a")
    send("POST", f"{url}/subjects/inner/versions", {"schema": json.dumps(inner)})
    outer = {
        "schema": json.dumps(record("Outer", ("i", "a.Inner"))),
        "references": [{"name": "a.Inner", "subject": "inner", "version": 1}],
    }
    send("POST", f"{url}/subjects/outer/versions", outer)
    raws = await encode(codec_for(url, "outer"), [{"i": {"x": 5}}])
    assert await decode(codec_for(url, "unused"), raws) == ([{"i": {"x": 5}}], {})


async def test_what_check_asks(url: str) -> None:
    source = make_codec(Path("nowhere"), format="confluent", registry=url, timeout=30.0)
    assert await source.healthcheck() == "the registry answers"
    with pytest.raises(Misconfigured, match="404"):
        await codec_for(url, "not-yet").healthcheck()
    assert "fits" in await codec_for(url, "not-yet", register_schema=True).healthcheck()
    client = RegistryClient(url, user="", password="", timeout=30)
    await client.register("checked", record("IngestEvent", ("id", "int"), namespace="streamd"))
    assert "the latest of checked" in await codec_for(url, "checked").healthcheck()
    send("PUT", f"{url}/config/checked", {"compatibility": "BACKWARD"})
    with pytest.raises(Misconfigured, match="does not fit"):
        await codec_for(url, "checked", register_schema=True).healthcheck()
