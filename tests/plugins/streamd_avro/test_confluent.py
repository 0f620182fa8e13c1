"""The confluent format against a registry: what is asked, how often, and what failures become."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamd.api import Misconfigured, Rejected, Retryable
from streamd.testing.contracts.codec import CodecContract, CodecSubject
from streamd_avro.builtin import SCHEMAS
from streamd_avro.codec import AvroCodec
from streamd_avro.confluent import RegistryClient
from streamd_avro.lookups import FORGET, PAUSE, Lookups
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


def test_records_carry_the_id_of_their_schema(server: RegistryServer, tmp_path: Path) -> None:
    server.add("other", NUMBER)
    codec = codec_for(server, tmp_path, register_schema=True)
    raws = codec.encode([EVENT, SMALL])
    assert [raw[:5] for raw in raws] == [b"\x00\x00\x00\x00\x02"] * 2
    assert make_codec(tmp_path).encode([EVENT]) == [raws[0][5:]]
    assert codec.decode(raws) == ([EVENT, SMALL], {})
    assert server.requests == [
        "POST /subjects/events-value/versions",
        "GET /schemas/ids/2",
    ]
    codec.encode([EVENT])
    codec.decode(raws)
    assert len(server.requests) == 2, "what is known is not asked for again"


def test_the_latest_version_of_the_subject_is_written(
    server: RegistryServer, tmp_path: Path
) -> None:
    server.add("a/b c", record("Old"))
    number = server.add("a/b c", NUMBER)
    codec = codec_for(server, tmp_path, subject="a/b c")
    assert codec.encode([{"n": 1}]) == [b"\0" + number.to_bytes(4, "big") + b"\x02"]
    assert server.requests == ["GET /subjects/a%2Fb%20c/versions/latest"]
    with pytest.raises(Rejected):
        codec.encode([{"n": "x"}])


def test_schemas_are_mixed_in_one_batch(server: RegistryServer, tmp_path: Path) -> None:
    raws: list[bytes | None] = []
    for number in range(20):
        name = f"n{number}"
        codec = codec_for(server, tmp_path, subject=name)
        server.add(name, record("R", (name, "int")))
        raws += codec.encode([{name: number}])
    raws += [None, b"", b"\0\0\0", b"\1\0\0\0\1\2", b'{"id": 1}', b"\0\0\0\0\1", b"\0\0\0\0\x63\2"]
    server.requests.clear()
    reader = codec_for(server, tmp_path)
    values, rejects = reader.decode(raws)
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
    reader.decode(raws)
    assert len(server.requests) == 21, "not even what is not there, for a while"


def test_reading_as_a_version_of_ones_own(server: RegistryServer, tmp_path: Path) -> None:
    one = codec_for(server, tmp_path, register_schema=True, version=1)
    raws = one.encode([SMALL])
    reader = codec_for(server, tmp_path, reader_version=2, nulls="keep")
    (event,), _ = reader.decode(raws)
    assert event["payload"]["tags"] is None


def test_a_schema_with_references(server: RegistryServer, tmp_path: Path) -> None:
    server.add("inner", record("Inner", ("x", "int"), namespace="a"))
    middle = [{"name": "a.Inner", "subject": "inner", "version": 1}]
    server.add("middle", record("Middle", ("i", "a.Inner"), namespace="a"), references=middle)
    outer = [{"name": "a.Middle", "subject": "middle", "version": 1}, *middle]
    server.add(SUBJECT, record("Outer", ("m", "a.Middle"), ("i", "a.Inner")), references=outer)
    codec = codec_for(server, tmp_path)
    value = {"m": {"i": {"x": 1}}, "i": {"x": 2}}
    assert codec.decode(codec.encode([value])) == ([value], {})


def test_schemas_that_are_not_avro(server: RegistryServer, tmp_path: Path) -> None:
    numbers = [
        server.add("json", {"type": "object"}, schemaType="JSON"),
        server.add("broken", {"type": "recrod"}),
    ]
    codec = codec_for(server, tmp_path, subject="json")
    with pytest.raises(Misconfigured, match="JSON, not AVRO"):
        codec.encode([EVENT])
    _, rejects = codec.decode([b"\0" + number.to_bytes(4, "big") for number in numbers])
    assert [rejects[row].reason for row in (0, 1)] == ["unknown_schema"] * 2


def test_an_incompatible_schema_is_not_registered(server: RegistryServer, tmp_path: Path) -> None:
    server.add(SUBJECT, record("IngestEvent", ("id", "int")))
    codec = codec_for(server, tmp_path, register_schema=True)
    with pytest.raises(Misconfigured, match="incompatible"):
        codec.encode([EVENT])
    assert server.versions(SUBJECT) == [1]


def test_a_subject_that_is_not_there(server: RegistryServer, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="'events-value' not found"):
        codec_for(server, tmp_path).encode([EVENT])


def test_user_and_password(tmp_path: Path) -> None:
    with serving(RegistryServer(auth=("me", "secret"))) as server:
        number = server.add(SUBJECT, NUMBER)
        with pytest.raises(Misconfigured, match="401"):
            codec_for(server, tmp_path).encode([{"n": 1}])
        codec = codec_for(server, tmp_path, user="me", password="secret")
        (raw,) = codec.encode([{"n": 1}])
        assert raw[1:5] == number.to_bytes(4, "big")
        assert codec.decode([raw]) == ([{"n": 1}], {})


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
def test_failures_are_classed(
    server: RegistryServer,
    tmp_path: Path,
    status: int,
    body: bytes | None,
    error: Any,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamd_avro.lookups.PAUSE", 600.0)
    server.status, server.body = status, body
    codec = codec_for(server, tmp_path)
    with pytest.raises(error, match=told) as caught:
        codec.decode([b"\0\0\0\0\1\2"])
    if status == 429:
        assert caught.value.after == 7
    with pytest.raises(error):
        codec.encode([EVENT])
    with pytest.raises(error):
        codec.decode([b"\0\0\0\0\1\2"])
    assert len(server.requests) == 2, "after a failure it is left alone for a while"


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        server = RegistryServer()
        server.url = f"http://127.0.0.1:{port}"
        codec = codec_for(server, tmp_path)
        with pytest.raises(Retryable, match="refused"):
            codec.decode([b"\0\0\0\0\1\2"])
        assert codec.decode([None, b"{}"])[1].keys() == {0, 1}, "what needs no schema goes on"


def test_an_answer_that_comes_too_late_is_there_at_a_later_try(
    server: RegistryServer, tmp_path: Path
) -> None:
    number = server.add(SUBJECT, NUMBER)
    raw = b"\0" + number.to_bytes(4, "big") + b"\x02"
    server.delay = 0.2
    # The client's own time limit is not what is tested here.
    codec = codec_for(server, tmp_path, timeout=30.0)
    codec._framing._by_id._wait = 0.01  # type: ignore[attr-defined]
    with pytest.raises(Retryable, match="no answer"):
        codec.decode([raw])
    while True:
        try:
            found = codec.decode([raw])
        except Retryable:
            continue
        break
    assert found == ([{"n": 1}], {})
    assert len(server.requests) == 1


def test_the_client_alone(server: RegistryServer) -> None:
    client = RegistryClient(server.url + "/", user="", password="", timeout=10)
    number = client.register(SUBJECT, SCHEMAS["IngestEvent"][2])
    assert (
        client.register(SUBJECT, SCHEMAS["IngestEvent"][2]) == number == client.latest(SUBJECT)[0]
    )
    with pytest.raises(NotRegisteredError, match="77 not found"):
        client.schema(77)
    server.body = json.dumps({"schema": "{", "id": 5}).encode()
    with pytest.raises(SchemaError):
        client.schema(5)


class Now:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Asked:
    """A function that answers from a table, raising what is an exception there."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.keys: list[str] = []

    def __call__(self, key: str) -> str:
        self.keys.append(key)
        answer = self.answers[key]
        if isinstance(answer, Exception):
            raise answer
        return str(answer)


def test_lookups_remember_and_forget() -> None:
    now = Now()
    asked = Asked({"a": "1", "gone": NotRegisteredError("none"), "bad": SchemaError("no")})
    lookups = Lookups(asked, 30.0, now)
    assert lookups.ask(["a", "gone", "bad"]).keys() == {"gone", "bad"}
    assert lookups.ask(["a", "gone"]).keys() == {"gone"}
    assert lookups.found == {"a": "1"}
    assert sorted(asked.keys) == ["a", "bad", "gone"]
    now.seconds += FORGET
    asked.answers["gone"] = "2"
    assert lookups.ask(["a", "gone"]) == {}
    assert lookups.found == {"a": "1", "gone": "2"}


def test_lookups_leave_alone_what_fails() -> None:
    now = Now()
    asked = Asked({key: Retryable("down") for key in "abc"})
    lookups = Lookups(asked, 30.0, now)
    for _ in range(3):
        with pytest.raises(Retryable, match="down"):
            lookups.ask("abc")
    assert sorted(asked.keys) == ["a", "b", "c"]
    now.seconds += PAUSE
    asked.answers |= dict.fromkeys("abc", "up")
    assert lookups.ask("abc") == {}
    assert lookups.found == dict.fromkeys("abc", "up")


def test_lookups_wait_no_longer_than_they_may() -> None:
    answer = threading.Event()

    def ask(key: str) -> str:
        assert answer.wait(60)
        return key

    lookups = Lookups(ask, 0.05)
    with pytest.raises(Retryable, match="no answer for a within"):
        lookups.ask(["a"])
    answer.set()
    while "a" not in lookups.found:
        try:
            lookups.ask(["a"])
        except Retryable:
            continue
    assert lookups.found == {"a": "a"}
