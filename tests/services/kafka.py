"""A one-node Kafka (KRaft), with transactions and groups."""

import base64
import socket
import struct
import subprocess
import uuid
from pathlib import Path
from typing import ClassVar

from tests.services import installed
from tests.services.server import Server, ServerFailedError, free_ports

# Retention is off: events in tests are stamped years ago, and Kafka deletes by that stamp.
# group.initial.rebalance.delay.ms: 3 s for every group's start otherwise.
# broker.session.timeout.ms: a killed broker is back once its old session is over (9 s by default).
# group.min.session.timeout.ms: lets a test see a dead member leave within a second.
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
log.retention.ms=-1
log.cleaner.dedupe.buffer.size=16777216
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
"""

_LOGGING = """\
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""

# ApiVersions would be answered before the broker has joined its own cluster; Metadata lists it
# only afterwards. Version 1, no client id, all topics.
_METADATA_REQUEST = struct.pack(">hhihi", 3, 1, 1, -1, -1)


class KafkaServer(Server):
    name: ClassVar[str] = "kafka"

    def __init__(self, folder: Path, heap: str = "512m") -> None:
        super().__init__(folder)
        self.heap = heap
        self.port, self._controller_port = free_ports(2)

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def prepare(self) -> None:
        text = _PROPERTIES.format(
            port=self.port, controller_port=self._controller_port, data=self.folder / "data"
        )
        (self.folder / "server.properties").write_text(text)
        (self.folder / "log4j2.properties").write_text(_LOGGING)
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        arguments = ["format", f"--cluster-id={cluster_id}", "-c", "server.properties"]
        result = subprocess.run(
            self._java("kafka.tools.StorageTool", *arguments),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise ServerFailedError(f"kafka: format failed\n{result.stdout}\n{result.stderr}")

    def command(self) -> list[str]:
        return self._java("kafka.Kafka", "server.properties")

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(struct.pack(">i", len(_METADATA_REQUEST)) + _METADATA_REQUEST)
            with connection.makefile("rb") as reply:
                head = reply.read(12)  # size, correlation id, number of brokers
        return len(head) == 12 and struct.unpack(">iii", head)[2] == 1

    def _java(self, main_class: str, *arguments: str) -> list[str]:
        options = [
            f"-Xmx{self.heap}",
            "-XX:+UseSerialGC",  # the leanest on two cores that the tests need too
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
        ]
        classpath = installed.kafka_classpath()
        return [installed.java_command(), *options, "-cp", classpath, main_class, *arguments]
