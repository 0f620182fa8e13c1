"""The confluent format against a registry: what is asked, how often, and what failures become."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from streamd.api import Misconfigured, Rejected, Retryable
from streamd.testing.codecs import decode, encode
from streamd.testing.contracts.codec import CodecContract, CodecSubject
from streamd.testing.virtual_time import VirtualTimeLoop
from streamd_avro.builtin import SCHEMAS
from streamd_avro.codec import AvroCodec
from streamd_avro.confluent import RegistryClient
from streamd_avro.lookups import FORGET, Lookups
from streamd_avro.schema import NotRegisteredError, SchemaError
from tests.plugins.streamd_avro.helpers import EVENT, SMALL, make_codec, record
from tests.plugins.streamd_avro.registry_server import RegistryServer, serving

SUBJECT = "events-value"
NUMBER: Any = record("N", ("n", "int"))


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with serving(RegistryServer()) as running:
        yield running


def codec_for(server: RegistryServer, tmp_path: Path, **config: Any) -> AvroCodec:
    settings = {"format": "confluent", "registry": server.url, "subject": SUBJECT, **config}
    settings.setdefault("timeout", 10.0)
    return make_codec(tmp_path, role="sink", **settings)


class Subject(CodecSubject):
    def __init__(self, server: RegistryServer, tmp_path: Path) -> None:
        self._server, self._tmp_path = server, tmp_path

    def make(self) -> AvroCodec:
        return codec_for(self._server, self._tmp_path, register_schema=True)


class TestContract(CodecContract):
    @pytest.fixture
    def subject(self, server: RegistryServer, tmp_path: Path) -> CodecSubject:
        return Subject(server, tmp_path)


async def test_records_carry_the_id_of_their_schema(server: RegistryServer, tmp_path: Path) -> None:
    server.add("other", NUMBER)
    codec = codec_for(server, tmp_path, register_schema=True)
    raws = await encode(codec, [EVENT, SMALL])
    assert [raw[:5] for raw in raws] == [b"\x00\x00\x00\x00\x02"] * 2
    assert make_codec(tmp_path).encode([EVENT]) == [raws[0][5:]]
    assert await decode(codec, raws) == ([EVENT, SMALL], {})
    assert server.requests == [
        "POST /subjects/events-value/versions",
        "GET /schemas/ids/2",
    ]
    await encode(codec, [EVENT])
    await decode(codec, raws)
    assert len(server.requests) == 2, "what is known is not asked for again"


async def test_the_latest_version_of_the_subject_is_written(
    server: RegistryServer, tmp_path: Path
) -> None:
    server.add("a/b c", record("Old"))
    number = server.add("a/b c", NUMBER)
    codec = codec_for(server, tmp_path, subject="a/b c")
    assert await encode(codec, [{"n": 1}]) == [b"\0" + number.to_bytes(4, "big") + b"\x02"]
    assert server.requests == ["GET /subjects/a%2Fb%20c/versions/latest"]
    with pytest.raises(Rejected):
        await encode(codec, [{"n": "x"}])


async def test_schemas_are_mixed_in_one_batch(server: RegistryServer, tmp_path: Path) -> None:
    raws: list[bytes | None] = []
    for number in range(20):
        name = f"n{number}"
        codec = codec_for(server, tmp_path, subject=name)
        server.add(name, record("R", (name, "int")))
        raws += await encode(codec, [{name: number}])
    raws += [None, b"", b"\0\0\0", b"\1\0\0\0\1\2", b'{"id": 1}', b"\0\0\0\0\1", b"\0\0\0\0\x63\2"]
    server.requests.clear()
    reader = codec_for(server, tmp_path)
    values, rejects = await decode(reader, raws)
    assert values == [{f"n{number}": number} for number in range(20)] + [None] * 7
    assert [rejects[row].reason for row in range(20, 27)] == [
        "tombstone",
        "empty",
        "malformed_avro",
        "wrong_magic",
        "wrong_magic",
        "malformed_avro",
        "unknown_schema",
    ]
    assert "Schema 99 not found" in rejects[26].message
    assert len(server.requests) == 21
    await decode(reader, raws)
    assert len(server.requests) == 21, "not even what is not there, for a while"


async def test_reading_as_a_version_of_ones_own(server: RegistryServer, tmp_path: Path) -> None:
    one = codec_for(server, tmp_path, register_schema=True, version=1)
    raws = await encode(one, [SMALL])
    reader = codec_for(server, tmp_path, reader_version=2, nulls="keep")
    (event,), _ = await decode(reader, raws)
    assert event["payload"]["tags"] is None


async def test_a_schema_with_references(server: RegistryServer, tmp_path: Path) -> None:
    server.add("inner", record("Inner", ("x", "int"), namespace="a"))
    middle = [{"name": "a.Inner", "subject": "inner", "version": 1}]
    server.add("middle", record("Middle", ("i", "a.Inner"), namespace="a"), references=middle)
    outer = [{"name": "a.Middle", "subject": "middle", "version": 1}, *middle]
    server.add(SUBJECT, record("Outer", ("m", "a.Middle"), ("i", "a.Inner")), references=outer)
    codec = codec_for(server, tmp_path)
    value = {"m": {"i": {"x": 1}}, "i": {"x": 2}}
    assert await decode(codec, await encode(codec, [value])) == ([value], {})


async def test_schemas_that_are_not_avro(server: RegistryServer, tmp_path: Path) -> None:
    numbers = [
        server.add("json", {"type": "object"}, schemaType="JSON"),
        server.add("broken", {"type": "recrod"}),
    ]
    codec = codec_for(server, tmp_path, subject="json")
    with pytest.raises(Misconfigured, match="JSON, not AVRO"):
        await encode(codec, [EVENT])
    _, rejects = await decode(codec, [b"\0" + number.to_bytes(4, "big") for number in numbers])
    assert [rejects[row].reason for row in (0, 1)] == ["unknown_schema"] * 2


async def test_an_incompatible_schema_is_not_registered(
    server: RegistryServer, tmp_path: Path
) -> None:
    server.add(SUBJECT, record("IngestEvent", ("id", "int")))
    codec = codec_for(server, tmp_path, register_schema=True)
    with pytest.raises(Misconfigured, match="incompatible"):
        await encode(codec, [EVENT])
    assert server.versions(SUBJECT) == [1]


async def test_a_subject_that_is_not_there(server: RegistryServer, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="'events-value' not found"):
        await encode(codec_for(server, tmp_path), [EVENT])


async def test_user_and_password(tmp_path: Path) -> None:
    with serving(RegistryServer(auth=("me", "secret"))) as server:
        number = server.add(SUBJECT, NUMBER)
        with pytest.raises(Misconfigured, match="401"):
            await encode(codec_for(server, tmp_path), [{"n": 1}])
        codec = codec_for(server, tmp_path, user="me", password="secret")
        (raw,) = await encode(codec, [{"n": 1}])
        assert raw[1:5] == number.to_bytes(4, "big")
        assert await decode(codec, [raw]) == ([{"n": 1}], {})


@pytest.mark.parametrize(
    ("status", "body", "error", "told"),
    [
        (500, None, Retryable, "500 as told"),
        (503, b"<html>", Retryable, "503"),
        (429, None, Retryable, "429"),
        (302, None, Misconfigured, "302"),
        (307, None, Misconfigured, "307"),
        (401, None, Misconfigured, "401"),
        (403, None, Misconfigured, "403"),
        (404, b"<html>", Misconfigured, "404"),
        (404, b'{"error_code": 404, "message": "HTTP 404 Not Found"}', Misconfigured, "404"),
        (200, b"<html>", Misconfigured, "is no schema registry"),
        (200, b"{}", Misconfigured, "is no schema registry"),
        (200, b'{"schema": 5}', Misconfigured, "is no schema registry"),
        (200, b"\xff", Misconfigured, "is no schema registry"),
    ],
)
async def test_failures_are_classed(
    server: RegistryServer,
    tmp_path: Path,
    status: int,
    body: bytes | None,
    error: Any,
    told: str,
) -> None:
    server.status, server.body = status, body
    codec = codec_for(server, tmp_path)
    with pytest.raises(error, match=told) as caught:
        await decode(codec, [b"\0\0\0\0\1\2"])
    if status == 429:
        assert caught.value.after == 7
    with pytest.raises(error):
        await encode(codec, [EVENT])
    assert len(server.requests) == 2


async def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        server = RegistryServer()
        server.url = f"http://127.0.0.1:{port}"
        codec = codec_for(server, tmp_path)
        with pytest.raises(Retryable, match=r"[Cc]onnect"):
            await decode(codec, [b"\0\0\0\0\1\2"])
        assert (await decode(codec, [None, b"{}"]))[1].keys() == {0, 1}, (
            "what needs no schema goes on"
        )


async def test_what_was_answered_in_time_is_not_asked_for_again(
    server: RegistryServer, tmp_path: Path
) -> None:
    fast, slow = server.add("fast", NUMBER), server.add("slow", record("M", ("n", "int")))
    server.slow = {f"/schemas/ids/{slow}"}
    raws = [b"\0" + number.to_bytes(4, "big") + b"\x02" for number in (fast, slow)]
    codec = codec_for(server, tmp_path, timeout=0.5)
    with pytest.raises(Retryable, match="no answer"):
        await decode(codec, raws)
    server.slow = set()
    assert await decode(codec, raws) == ([{"n": 1}] * 2, {})
    assert sorted(server.requests) == [
        f"GET /schemas/ids/{number}" for number in (fast, slow, slow)
    ]


async def test_a_registry_that_hangs_does_not_hold_up_the_loop(
    server: RegistryServer, tmp_path: Path
) -> None:
    server.slow = {"/schemas/ids/1"}
    codec = codec_for(server, tmp_path, timeout=600.0)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(codec.prepare_to_decode, [b"\0\0\0\0\1\2"])
            # The loop goes on, or this would never end.
            while not server.requests:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            scope.cancel()
    server.slow = set()
    server.add("now", NUMBER)
    assert await decode(codec, [b"\0\0\0\0\1\2"]) == ([{"n": 1}], {})


async def test_two_who_ask_at_once_ask_once(server: RegistryServer, tmp_path: Path) -> None:
    raw = b"\0" + server.add("one", NUMBER).to_bytes(4, "big") + b"\2"
    codec = codec_for(server, tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(codec.prepare_to_decode, [raw])
        group.start_soon(codec.prepare_to_decode, [raw])
    assert len(server.requests) == 1
    assert codec.decode([raw]) == ([{"n": 1}], {})


def test_without_preparing_nothing_is_asked(server: RegistryServer, tmp_path: Path) -> None:
    codec = codec_for(server, tmp_path)
    with pytest.raises(Retryable, match="not asked"):
        codec.decode([b"\0\0\0\0\1\2"])
    with pytest.raises(Retryable, match="not asked"):
        codec.encode([EVENT])
    assert codec.encode([]) == []
    assert server.requests == []
    assert not make_codec(tmp_path).prepares, "only the format that asks has to be prepared"


async def test_the_client_alone(server: RegistryServer) -> None:
    client = RegistryClient(server.url + "/", user="", password="", timeout=10)
    number = await client.register(SUBJECT, SCHEMAS["IngestEvent"][2])
    again = await client.register(SUBJECT, SCHEMAS["IngestEvent"][2])
    assert again == number == (await client.latest(SUBJECT))[0]
    with pytest.raises(NotRegisteredError, match="77 not found"):
        await client.schema(77)
    server.body = json.dumps({"schema": "{", "id": 5}).encode()
    with pytest.raises(SchemaError):
        await client.schema(5)


async def test_an_answer_without_an_end_is_none(
    server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamd_avro.confluent._MAX_ANSWER", 100_000)
    server.body = b'"' + b"x" * 1_000_000 + b'"'
    client = RegistryClient(server.url, user="", password="", timeout=10)
    with pytest.raises(Misconfigured, match="no schema registry"):
        await client.schema(1)


# --- what check --connect finds -----------------------------------------------------------------


async def test_check_finds_what_would_fail(server: RegistryServer, tmp_path: Path) -> None:
    source = make_codec(tmp_path, format="confluent", registry=server.url)
    assert await source.healthcheck() == "the registry answers"
    writer = codec_for(server, tmp_path)
    with pytest.raises(Misconfigured, match="'events-value' not found"):
        await writer.healthcheck()
    registering = codec_for(server, tmp_path, register_schema=True)
    assert "fits" in await registering.healthcheck()
    assert server.versions(SUBJECT) == [], "a check changes nothing"
    server.add(SUBJECT, record("IngestEvent", ("id", "int")))
    assert "the latest of events-value" in await writer.healthcheck()
    with pytest.raises(Misconfigured, match="does not fit"):
        await registering.healthcheck()
    server.status = 401
    with pytest.raises(Misconfigured, match="401"):
        await source.healthcheck()


async def test_check_finds_a_schema_that_is_not_here(tmp_path: Path) -> None:
    assert "IngestEvent 2 is there" in await make_codec(tmp_path).healthcheck()
    with pytest.raises(Misconfigured, match="Nonsense"):
        await make_codec(tmp_path, schema="Nonsense").healthcheck()


# --- lookups by themselves ----------------------------------------------------------------------


class Asked:
    """A function that answers from a table, raising what is an exception there."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.keys: list[str] = []

    async def __call__(self, key: str) -> str:
        self.keys.append(key)
        await anyio.sleep(1)
        answer = self.answers[key]
        if isinstance(answer, Exception):
            raise answer
        return str(answer)


def in_virtual_time(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    anyio.run(main, backend_options={"loop_factory": VirtualTimeLoop})


def test_lookups_remember_and_forget() -> None:
    async def main() -> None:
        asked = Asked({"a": "1", "gone": NotRegisteredError("none"), "bad": SchemaError("no")})
        lookups = Lookups(asked, 30.0)
        await lookups.learn(["a", "gone", "bad", "a"])
        await lookups.learn(["a", "gone"])
        assert lookups.found == {"a": "1"}
        assert lookups.absent.keys() == {"gone", "bad"}
        assert sorted(asked.keys) == ["a", "bad", "gone"]
        await anyio.sleep(FORGET)
        asked.answers["gone"] = "2"
        await lookups.learn(["a", "gone"])
        assert lookups.found == {"a": "1", "gone": "2"}

    in_virtual_time(main)


def test_what_is_absent_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd_avro.lookups._MANY_ABSENT", 4)

    async def main() -> None:
        names = [f"n{number}" for number in range(10)]
        lookups = Lookups(Asked(dict.fromkeys([*names, "x"], NotRegisteredError("none"))), 30.0)
        await lookups.learn(names)
        assert len(lookups.absent) == 10, "what is fresh is about to be used"
        await anyio.sleep(FORGET)
        await lookups.learn(["x"])
        assert lookups.absent.keys() == {"x"}

    in_virtual_time(main)


def test_a_failure_ends_the_questions() -> None:
    async def main() -> None:
        names = [f"n{number}" for number in range(100)]
        asked = Asked(dict.fromkeys(names, Retryable("down")))
        lookups = Lookups(asked, 30.0)
        with pytest.raises(Retryable, match="down"):
            await lookups.learn(names)
        assert len(asked.keys) < 20
        asked.answers = dict.fromkeys(names, "up")
        await lookups.learn(names)
        assert lookups.found == asked.answers

    in_virtual_time(main)


def test_lookups_wait_no_longer_than_they_may() -> None:
    async def main() -> None:
        names = [f"n{number}" for number in range(20)]
        lookups = Lookups(Asked(dict.fromkeys(names, "up")), 2.5)  # eight at once, a second each
        with pytest.raises(Retryable, match=r"no answer within 2\.5 s"):
            await lookups.learn(names)
        assert anyio.current_time() == 2.5
        assert len(lookups.found) == 16
        await lookups.learn(names)
        assert len(lookups.found) == 20

    in_virtual_time(main)
