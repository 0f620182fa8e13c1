"""A ClickHouse server; its configuration suits the old one of Debian and today's alike."""

import http.client
import json
import socket
import urllib.parse
from pathlib import Path
from typing import Any, ClassVar

from tests.services import installed
from tests.services.server import Server, free_ports

_CONFIG = """\
<yandex>
  <logger><level>warning</level><console>1</console></logger>
  <http_port>{http_port}</http_port>
  <tcp_port>{port}</tcp_port>
  <listen_host>127.0.0.1</listen_host>
  <timezone>UTC</timezone>
  <path>{folder}/data/</path>
  <tmp_path>{folder}/tmp/</tmp_path>
  <user_files_path>{folder}/files/</user_files_path>
  <format_schema_path>{folder}/schemas/</format_schema_path>
  <users_config>{folder}/users.xml</users_config>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <mark_cache_size>134217728</mark_cache_size>
</yandex>
"""

# poll_interval: how long a connection that nobody uses holds up the end of the server (10 s by
# default).
_USERS = """\
<yandex>
  <profiles><default><poll_interval>1</poll_interval></default></profiles>
  <users>
    <default>
      <password></password>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
    </default>
  </users>
  <quotas><default/></quotas>
</yandex>
"""


class ClickHouseError(Exception):
    """The server refused a query; the message is the server's."""


class ClickHouseServer(Server):
    name: ClassVar[str] = "clickhouse"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port, self.http_port = free_ports(2)

    @property
    def url(self) -> str:
        return self.url_of("default")

    def url_of(self, database: str) -> str:
        return f"clickhouse://127.0.0.1:{self.port}/{database}"

    def query(self, sql: str, database: str = "default") -> list[dict[str, Any]]:
        """Run any statement; the rows of a SELECT as dicts, 64-bit integers as int."""
        parameters = {
            "database": database,
            "default_format": "JSONEachRow",
            "output_format_json_quote_64bit_integers": "0",
        }
        path = "/?" + urllib.parse.urlencode(parameters)
        status, body = self._request("POST", path, sql.encode(), timeout=60)
        if status != 200:
            raise ClickHouseError(body.decode(errors="replace").strip())
        return [json.loads(line) for line in body.splitlines() if line]

    def prepare(self) -> None:
        values = {"http_port": self.http_port, "port": self.port, "folder": self.folder}
        (self.folder / "config.xml").write_text(_CONFIG.format(**values))
        (self.folder / "users.xml").write_text(_USERS)

    def command(self) -> list[str]:
        return [*installed.clickhouse_command(), f"--config-file={self.folder / 'config.xml'}"]

    def answers(self) -> bool:
        status, body = self._request("GET", "/?query=SELECT%201", None, timeout=1)
        # The native port opens after the HTTP one, and that is the one the sink talks to.
        socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        return status == 200 and body.strip() == b"1"

    def _request(
        self, method: str, path: str, body: bytes | None, timeout: float
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()
