"""Fixtures that every test may ask for: real servers, started when the first test wants one.

`kafka`, `clickhouse` and `minio` are shared by the whole run: leave them running, use topics,
databases and buckets of your own. `private_kafka` and so on belong to one test at a time, which
may stop, kill and pause them. A test that asks for any of these is marked `integration` by itself.
"""

import os
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from tests.services.clickhouse import ClickHouseServer
from tests.services.clients import TopicFactory, create_topic, s3_client
from tests.services.installed import NotInstalledError, tool_command
from tests.services.kafka import KafkaServer
from tests.services.minio import MinioServer
from tests.services.server import Server

_SHARED = ("kafka", "clickhouse", "minio")
_SERVER_FIXTURES = {*_SHARED, *(f"private_{name}" for name in _SHARED)}
S = TypeVar("S", bound=Server)
_MISSING = "server not installed: "
_TESTS = Path(__file__).parent
_LIVE_FOLDERS = [_TESTS / name for name in ("browser", "daemon", "integration")]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Session-wide, so that async fixtures of any scope can be written."""
    return "asyncio"


def _serve(server: S) -> Iterator[S]:
    """Start, lend, end. Without the server: a failure in CI, a skip that is told elsewhere."""
    missing: NotInstalledError | None = None
    try:
        try:
            server.start()
        except NotInstalledError as error:
            missing = error
        if missing:
            _go_without(missing)
        yield server
    finally:
        server.close()


def _go_without(missing: NotInstalledError) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(str(missing), pytrace=False)
    pytest.skip(_MISSING + missing.service)


def _tool(program: str) -> str:
    missing: NotInstalledError | None = None
    try:
        return tool_command(program)
    except NotInstalledError as error:
        missing = error
    _go_without(missing)


@pytest.fixture(scope="session")
def promtool() -> str:
    """The command that checks rules of Prometheus and runs their unit tests."""
    return _tool("promtool")


@pytest.fixture(scope="session")
def systemd_analyze() -> str:
    """The command that checks units; it needs no running systemd."""
    return _tool("systemd-analyze")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The command of a real browser."""
    return _tool("chromium")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    yield from _serve(KafkaServer(tmp_path_factory.mktemp("kafka") / "server"))


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    yield from _serve(ClickHouseServer(tmp_path_factory.mktemp("clickhouse") / "server"))


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    yield from _serve(MinioServer(tmp_path_factory.mktemp("minio") / "server"))


@pytest.fixture(scope="session")
def _second_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    yield from _serve(KafkaServer(tmp_path_factory.mktemp("kafka") / "server"))


@pytest.fixture
def private_kafka(_second_kafka: KafkaServer) -> Iterator[KafkaServer]:
    """One broker, lent to one test after the other, as its start takes five seconds."""
    _second_kafka.restore()
    yield _second_kafka
    _second_kafka.resume()


@pytest.fixture
def private_clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    yield from _serve(ClickHouseServer(tmp_path_factory.mktemp("clickhouse") / "server"))


@pytest.fixture
def private_minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    yield from _serve(MinioServer(tmp_path_factory.mktemp("minio") / "server"))


@pytest.fixture
def kafka_topic(kafka: KafkaServer) -> TopicFactory:
    """Fresh topics on the shared server; for a private one see tests.services.clients."""

    async def create(
        partitions: int = 1,
        config: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> str:
        return await create_topic(kafka, partitions, config, name)

    return create


@pytest.fixture
def clickhouse_database(clickhouse: ClickHouseServer) -> Iterator[str]:
    """A fresh database on the shared server: `clickhouse.url_of(name)`."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    clickhouse.query(f"CREATE DATABASE {name}")
    yield name
    clickhouse.query(f"DROP DATABASE {name}")


@pytest.fixture
async def minio_bucket(minio: MinioServer) -> str:
    """A fresh bucket on the shared server."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    async with s3_client(minio) as client:
        await client.create_bucket(Bucket=name)
    return name


@pytest.hookimpl(tryfirst=True)  # before -m decides what to leave out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and not _SERVER_FIXTURES.isdisjoint(item.fixturenames):
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.live)
        elif any(item.path.is_relative_to(folder) for folder in _LIVE_FOLDERS):
            item.add_marker(pytest.mark.live)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Skipped must never look like passed: name what was missing, and the way to get it."""
    missing: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        _, found, service = reason.partition(_MISSING)
        if found:
            missing[service] += 1
    if not missing:
        return
    terminalreporter.section("servers and tools that were missing", yellow=True)
    for service, count in sorted(missing.items()):
        tests = "test" if count == 1 else "tests"
        terminalreporter.line(f"{service}: {count} {tests} skipped, it was tested by nothing")
    terminalreporter.line("Install them with `make test` (it needs Java 17, Maven, Go and apt).")
