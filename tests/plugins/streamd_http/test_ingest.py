"""POST /ingest and its neighbours, over real sockets: what is taken and how it is answered."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import cramjam
import msgspec
import pytest

from streamd.api import Reject, Retryable, Settlement, Violation
from streamd.testing import AskingJson, FakeClock, FakeControl, RecordedMetrics
from tests.plugins.streamd_http.helpers import (
    JSON,
    NDJSON,
    Engine,
    client_of,
    encoded,
    event,
    serving,
    source_of,
)

CORPUS = {
    f"{path.parent.name}/{path.stem}": path.read_bytes()
    for path in sorted((Path(__file__).parents[1] / "streamd_json" / "corpus").rglob("*.bin"))
}
BROKEN = Reject("invalid", "broken", (Violation("$.a", "wrong"), Violation("$.b", "missing")))


def reject_bad(partition: str, offset: int, raw: bytes) -> Settlement | None:
    return Settlement(partition, offset, "rejected", BROKEN, None) if b"bad" in raw else None


async def test_one_event_is_answered_with_its_id(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, engine):
        assert await client.post(encoded("a")) == (200, {"status": "stored", "id": "a"})
        assert engine.raws == [encoded("a")], "byte for byte"
        status, body = await client.post(b' { "payload" : {} }')
        whole = json.loads(engine.raws[-1])
        assert (status, body["id"]) == (200, whole["id"])
        assert whole["timestamp"] == "2025-11-19T10:30:00.000Z"


@pytest.mark.parametrize(
    ("headers", "join"),
    [(JSON, lambda raws: b"[" + b",".join(raws) + b"]"), (NDJSON, b"\n".join)],
    ids=["array", "ndjson"],
)
async def test_a_batch_is_answered_event_by_event(
    tmp_path: Path, headers: dict[str, str], join: Any
) -> None:
    raws = [encoded("a"), encoded("bad"), encoded("c")]
    async with serving(tmp_path, judge=reject_bad) as (client, engine):
        status, body = await client.post(join(raws), headers)
        assert engine.raws == raws
    assert status == 422
    assert [(e["id"], e["status"]) for e in body["events"]] == [
        ("a", "stored"),
        ("bad", "rejected"),
        ("c", "stored"),
    ]
    assert [error["path"] for error in body["events"][1]["errors"]] == ["$.a", "$.b"]


async def test_offsets_ascend_over_restarts_and_times_are_of_arrival(tmp_path: Path) -> None:
    clock = FakeClock()
    offsets: list[int] = []
    for _ in range(2):
        async with serving(tmp_path, clock=clock) as (client, engine):
            await client.post(b"[{},{},{}]")
            assert engine.timestamps == [clock.now] * 3
            offsets += engine.offsets
        clock.advance(-3600)
    assert offsets == sorted(set(offsets))
    assert len(offsets) == 6


async def test_requests_share_a_batch(tmp_path: Path) -> None:
    async with source_of(tmp_path) as source, client_of(source) as client:
        engine = Engine(source)
        async with anyio.create_task_group() as group:
            for n in range(20):
                group.start_soon(client.post, encoded(f"e{n}"))
            while source._inbox.events < 20:
                await anyio.lowlevel.checkpoint()
            await engine.step()
        assert engine.sizes == [20]


@pytest.mark.parametrize("name", CORPUS)
async def test_anything_at_all_is_answered(tmp_path: Path, name: str) -> None:
    body = CORPUS[name]
    async with serving(tmp_path) as (client, engine):
        for headers in (JSON, NDJSON):
            status, answer = await client.post(body, headers)
            assert status in (200, 400), answer
        status, answer = await client.post(body, path="/validate")
        assert status == 200
        if not name.startswith("accept/"):
            assert not answer["valid"]
        assert (await client.post(encoded("a")))[0] == 200
    assert engine.raws[-1] == encoded("a")


async def test_half_a_surrogate_pair_in_an_id(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _):
        assert (await client.post(rb'{"id":"a\ud800","timestamp":""}'))[0] == 200


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_deflated_bodies(tmp_path: Path, encoding: str) -> None:
    deflate: Any = gzip.compress if encoding == "gzip" else cramjam.zstd.compress
    headers = {**NDJSON, "Content-Encoding": encoding}
    raws = [encoded(f"e{n}") for n in range(2000)]
    async with serving(tmp_path, max_body="300KiB") as (client, engine):
        assert (await client.post(bytes(deflate(b"\n".join(raws))), headers))[0] == 200
        assert engine.raws == raws
        bomb = bytes(deflate(bytes(100_000_000)))
        assert (await client.post(bomb, headers))[0] == 413
        assert (await client.post(b"no such thing", headers))[0] == 400
        assert (await client.post(b"\n".join(raws[:3]), {**NDJSON, "Content-Encoding": "br"}))[
            0
        ] == 415
        assert engine.raws == raws


async def test_keys(tmp_path: Path) -> None:
    metrics = RecordedMetrics()
    keys = {"one": "first", "two": "sécond"}
    async with serving(tmp_path, api_keys=keys, metrics=metrics) as (client, engine):
        for path in ("/ingest", "/validate"):
            for given in ({}, {"X-API-Key": "firs"}, {"X-API-Key": ""}, {"X-API-Key": "first "}):
                status, body = await client.post(encoded("a"), {**JSON, **given}, path)
                expected = 200 if given.get("X-API-Key") == "first " else 401
                assert (status, "error" in body) == (expected, expected == 401)
        assert engine.raws == [
            encoded("a")
        ]  # white space around a header's value is not part of it
        assert (await client.post(encoded("b"), {**JSON, "X-API-Key": "sécond"}))[0] == 200
        assert (await client.ask("GET", "/health"))[0] == 200
    count = metrics.value("http_requests", route="/ingest", key="two", code="200")
    assert count == 1
    assert metrics.value("http_requests", route="/ingest", key="", code="401") == 3


async def test_what_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, max_body="2KB", max_request_events=3) as (client, engine):
        text = {"Content-Type": "text/plain"}
        assert (await client.post(encoded("a"), text))[0] == 415
        assert (await client.post(b"x" * 2001))[0] == 413
        assert (await client.post(b"[{},{},{},{}]"))[0] == 413
        assert (await client.post(b"{}\n{}\n{}\n{}", NDJSON))[0] == 413
        assert (await client.post(b""))[0] == 400
        assert (await client.post(b"[]"))[0] == 400
        assert (await client.post(b"[{]"))[0] == 400
        status, _, headers = await client.ask("GET", "/ingest")
        assert (status, headers["Allow"]) == (405, "POST")
        assert (await client.ask("GET", "/nowhere"))[0] == 404
        assert engine.raws == []


async def test_a_connection_outlives_a_refusal_whose_body_was_read(tmp_path: Path) -> None:
    async with serving(tmp_path, max_body="2KB") as (client, _):
        for body, closes in ((b"[]", False), (b"x" * 300_000, True)):
            status, _, headers = await client.ask("POST", "/ingest", data=body, headers=JSON)
            assert (status, headers.get("Connection")) == (
                (413, "close") if closes else (400, None)
            )


async def test_a_body_in_chunks_has_the_same_limit(tmp_path: Path) -> None:
    async def chunks(count: int) -> Any:
        for _ in range(count):
            yield b"x" * 1000
            await asyncio.sleep(0)

    async with serving(tmp_path, max_body="10KB") as (client, engine):
        assert (await client.post(chunks(10)))[0] == 200
        assert engine.raws == [b"x" * 10_000]
        assert (await client.post(chunks(11)))[0] == 413


async def test_full_is_429_until_there_is_room(tmp_path: Path) -> None:
    async with source_of(tmp_path, max_queue_events=3) as source, client_of(source) as client:
        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(client.post, encoded(name))
            while source._inbox.events < 3:
                await anyio.lowlevel.checkpoint()
            status, _, headers = await client.ask(
                "POST", "/ingest", data=encoded("d"), headers=JSON
            )
            assert (status, headers["Retry-After"]) == (429, "1")
            engine = Engine(source)
            await engine.step()
            group.start_soon(engine.run)
            assert (await client.post(encoded("d")))[0] == 200
            group.cancel_scope.cancel()
        assert engine.raws[-1] == encoded("d")


async def test_undecided_in_time_is_503_and_may_be_sent_again(tmp_path: Path) -> None:
    async with (
        source_of(tmp_path, answer_timeout="100ms") as source,
        client_of(source) as client,
    ):
        status, _, headers = await client.ask("POST", "/ingest", data=encoded("a"), headers=JSON)
        assert (status, headers["Retry-After"]) == (503, "1")
        assert await source.poll(10, 0) == [], "it had not entered: the client sends it again"


async def test_503_once_nothing_is_polled_any_more(tmp_path: Path) -> None:
    async with source_of(tmp_path) as source, client_of(source) as client:
        assert (await client.ask("GET", "/health"))[0] == 200
        source.drain()
        status, _, headers = await client.ask("POST", "/ingest", data=encoded("a"), headers=JSON)
        assert (status, headers["Retry-After"], headers["Connection"]) == (503, "5", "close")
        assert (await client.ask("GET", "/health"))[0] == 503


async def test_what_waits_to_be_polled_is_sent_away_at_once(tmp_path: Path) -> None:
    answers: list[int] = []
    async with (
        source_of(tmp_path) as source,
        client_of(source) as client,
        anyio.create_task_group() as group,
    ):

        async def ask() -> None:
            answers.append((await client.post(encoded("a")))[0])

        group.start_soon(ask)
        await source._inbox.arrived.wait()
        source.drain()
    assert answers == [503]


async def test_the_end_answers_whoever_waits(tmp_path: Path) -> None:
    answers: list[int] = []
    async with anyio.create_task_group() as group:
        source = source_of(tmp_path)
        async with source, client_of(source) as client:

            async def ask(name: str) -> None:
                answers.append((await client.post(encoded(name)))[0])

            group.start_soon(ask, "polled")
            while not await source.poll(10, 0.01):
                pass
            group.start_soon(ask, "queued")
            while not source._inbox.events:
                await anyio.lowlevel.checkpoint()
            await source.__aexit__()
            while len(answers) < 2:
                await anyio.lowlevel.checkpoint()
    assert answers == [503, 503]


async def test_accepted(tmp_path: Path) -> None:
    async with (
        source_of(tmp_path, ack="accepted") as source,
        client_of(source) as client,
        anyio.create_task_group() as group,
    ):
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await client.post(encoded("a")))

        group.start_soon(ask)
        (batch,) = await source.poll(10, 5)
        while not answers:
            await anyio.lowlevel.checkpoint()
        assert answers == [(202, {"status": "accepted", "id": "a"})]
        assert not source.waiting(), "nothing need hurry"
        source.settle({batch.spans[0].partition: batch.spans[0].stop}, [])


async def test_a_client_that_leaves_takes_nothing_back(tmp_path: Path) -> None:
    control = FakeControl()
    async with source_of(tmp_path, control=control) as source:
        _, writer = await asyncio.open_connection(*source.address)
        body = encoded("a")
        writer.write(
            b"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        while not source._inbox.events:
            await anyio.lowlevel.checkpoint()
        writer.close()
        await writer.wait_closed()
        (batch,) = await source.poll(10, 1)
        assert batch.raws == [body]
        assert source.waiting()
        source.settle({batch.spans[0].partition: batch.spans[0].stop}, [])
        assert not source.waiting()
    assert control.assignments == [{batch.spans[0].partition: None}]


async def test_validate(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, engine):
        ask = {"event_type": "user_action", "source": "web", "tags": ["a b", "c!"]}
        status, body = await client.post(msgspec.json.encode(ask), path="/validate")
        assert (status, body["valid"]) == (200, False)
        assert [error["path"] for error in body["errors"]] == ["$.tags[0]", "$.tags[1]"]
        assert body["warnings"] == ["User action events should include user_id"]
        good = msgspec.json.encode(event("a")["payload"])
        expected = {"valid": True, "errors": [], "warnings": []}
        assert await client.post(good, path="/validate") == (200, expected)
        assert (await client.post(good, NDJSON, "/validate"))[0] == 415
        six = msgspec.json.encode({"event_type": "metric", "source": "x", "ip_address": "::1"})
        assert not (await client.post(six, path="/validate"))[1]["valid"]
        assert engine.raws == []
    async with serving(tmp_path, ipv6=True) as (client, _):
        assert (await client.post(six, path="/validate"))[1]["valid"]


async def test_validate_prepares_a_codec_that_asks_for_it(tmp_path: Path) -> None:
    codec = AskingJson()
    good = msgspec.json.encode(event("a")["payload"])
    async with serving(tmp_path, codec=codec) as (client, _):
        assert (await client.post(good, path="/validate"))[1]["valid"]
        codec.away = Retryable("the registry is away")
        status, body = await client.post(b"{}", path="/validate")
        assert (status, body["error"]) == (503, "the registry is away")
