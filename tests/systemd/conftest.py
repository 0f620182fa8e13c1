"""The machine is booted once; each test installs a service of its own in it."""

from collections.abc import Iterator

import pytest

from tests.systemd.machine import KafkaInside, Machine, RefusedError, check_here


@pytest.fixture(scope="session")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    try:
        check_here()
    except RefusedError as error:
        pytest.skip(f"no systemd of its own: {error}")
    machine = Machine(tmp_path_factory.mktemp("systemd") / "machine")
    try:
        machine.start()
        yield machine
    finally:
        machine.close()


@pytest.fixture
def machine(booted: Machine) -> Iterator[Machine]:
    """Without a service yet, and without what an earlier one has left."""
    yield booted
    booted.run(
        "systemctl stop 'streamd*'; rm -rf /etc/systemd/system/streamd* /etc/streamd/*"
        " /var/lib/private/streamd* /var/lib/streamd*; systemctl daemon-reload;"
        " systemctl reset-failed; journalctl --rotate --vacuum-time=1s",
        fails=None,
    )


@pytest.fixture
def kafka_inside(
    machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KafkaInside]:
    server = KafkaInside(tmp_path_factory.mktemp("kafka") / "server", machine)
    try:
        server.start()
        yield server
    finally:
        server.close()
