"""Settings that are wrong are told before anything listens."""

from __future__ import annotations

import socket
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from streamd.api import ConfigError, Misconfigured
from streamd.testing import stage_context
from streamd_http import HttpSource
from streamd_http.config import Address, HttpConfig, parse_address
from streamd_json.codec import JsonCodec
from tests.plugins.streamd_http.helpers import client_of, source_of
from tests.services.server import free_ports


def test_addresses() -> None:
    assert parse_address("127.0.0.1:80") == Address("127.0.0.1", 80)
    assert parse_address("[::1]:0") == Address("::1", 0)
    assert str(Address("::1", 80)) == "[::1]:80"
    assert [Address(host, 1).local for host in ("127.0.0.9", "::1", "localhost", "0.0.0.0")] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("listen", "claims"),
    [
        ("127.0.0.1:8000", ("the address 127.0.0.1:8000",)),
        ("[::1]:8000", ("the address [::1]:8000",)),
        ("127.0.0.1:0", ()),
    ],
)
def test_a_port_is_for_one_source(listen: str, claims: tuple[str, ...]) -> None:
    assert HttpConfig(listen=listen).claims() == claims


@pytest.mark.parametrize("text", ["", "8000", ":8000", "a:", "a:b", "a:65536", "a:-1", "a:１"])
def test_what_is_no_address(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="expected an address") as caught:
        source_of(tmp_path, listen=text)
    assert caught.value.path == "listen"


@pytest.mark.parametrize(
    ("keys", "path"), [({"a": ""}, "api_keys.a"), ({"a": "x", "b": "x"}, "api_keys.b")]
)
def test_keys_that_protect_nothing(tmp_path: Path, keys: dict[str, str], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        source_of(tmp_path, api_keys=keys)
    assert caught.value.path == path


def test_a_codec_that_is_not_json_is_refused() -> None:
    codec = JsonCodec(JsonCodec.Config(), stage_context("codec"))
    codec.content_type = "avro/binary"
    with pytest.raises(ConfigError, match="JSON"):
        HttpSource(HttpConfig(), stage_context("source", codec=codec))


def test_rejects_go_to_the_policies_where_nobody_is_told_of_them(tmp_path: Path) -> None:
    assert source_of(tmp_path).answers_rejects
    assert not source_of(tmp_path, dead_letter_rejects=True).answers_rejects
    assert not source_of(tmp_path, ack="accepted").answers_rejects


async def test_an_address_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        source = source_of(tmp_path, listen=listen)
        with pytest.raises(Misconfigured, match="cannot listen on 127"):
            await source.__aenter__()
        other.settimeout(5)

        def hang_up() -> None:
            other.accept()[0].close()

        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, hang_up)
            with pytest.raises(Misconfigured, match="cannot listen on 127"):
                await source.healthcheck()


async def test_an_address_that_a_running_daemon_has(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    other = source_of(tmp_path, listen=f"127.0.0.1:{port}")
    assert await other.healthcheck() == f"127.0.0.1:{port} is free"
    async with source_of(tmp_path, listen=f"127.0.0.1:{port}"):
        assert "streamd that runs" in await other.healthcheck()


async def test_ipv6(tmp_path: Path) -> None:
    async with source_of(tmp_path, listen="[::1]:0") as source, client_of(source) as client:
        assert (await client.ask("GET", "/health"))[0] == 200
