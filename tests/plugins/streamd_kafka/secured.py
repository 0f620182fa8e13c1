"""A Kafka with a login, rights and TLS, beside the open listener that the tests prepare it by."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.services.kafka import KafkaServer
from tests.services.server import ServerFailedError, free_ports

_LISTENERS = """\
listeners=PLAINTEXT://127.0.0.1:{open},SASL_PLAINTEXT://127.0.0.1:{sasl},SSL://127.0.0.1:{tls},\
CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{open},SASL_PLAINTEXT://127.0.0.1:{sasl},\
SSL://127.0.0.1:{tls}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,\
CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required \
user_admin="admin-secret" user_stranger="stranger-secret";
ssl.keystore.location={keystore}
ssl.keystore.password=keystore-secret
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:admin
auto.create.topics.enable=false
"""


class SecuredKafka(KafkaServer):
    """Users: admin, who may do all, and stranger, who may do nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._sasl_port, self._tls_port = free_ports(2)

    @property
    def sasl_servers(self) -> str:
        return f"127.0.0.1:{self._sasl_port}"

    @property
    def tls_servers(self) -> str:
        return f"127.0.0.1:{self._tls_port}"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def prepare(self) -> None:
        super().prepare()
        keystore = self.folder / "keystore.p12"
        store = ["-keystore", str(keystore), "-storepass", "keystore-secret", "-alias", "kafka"]
        names = ["-dname", "CN=kafka", "-ext", "san=ip:127.0.0.1"]
        self._keytool("-genkeypair", *store, *names, "-keyalg", "EC", "-storetype", "PKCS12")
        self._keytool("-exportcert", "-rfc", *store, "-file", str(self.ca))
        settings = self.folder / "server.properties"
        lines = [
            line
            for line in settings.read_text().splitlines(keepends=True)
            if not line.startswith(("listeners=", "advertised.listeners="))
        ]
        listeners = _LISTENERS.format(
            open=self.port,
            sasl=self._sasl_port,
            tls=self._tls_port,
            controller=self._controller_port,
            keystore=keystore,
        )
        settings.write_text("".join(lines) + listeners)

    def _keytool(self, *arguments: str) -> None:
        result = subprocess.run(
            ["keytool", *arguments], capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise ServerFailedError(f"keytool: {result.stdout}{result.stderr}")
