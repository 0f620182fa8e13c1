"""A MinIO server: S3 on loopback."""

import http.client
from pathlib import Path
from typing import ClassVar

from tests.services import installed
from tests.services.server import Server, free_ports


class MinioServer(Server):
    name: ClassVar[str] = "minio"
    region: ClassVar[str] = "us-east-1"
    access_key: ClassVar[str] = "streamd-test"
    secret_key: ClassVar[str] = "streamd-test-secret"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port, self._console_port = free_ports(2)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        (self.folder / "data").mkdir()

    def command(self) -> list[str]:
        addresses = [
            f"--address=127.0.0.1:{self.port}",
            f"--console-address=127.0.0.1:{self._console_port}",
        ]
        return [installed.minio_command(), "server", str(self.folder / "data"), *addresses]

    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),  # it looks for certificates there
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",  # never ask the outside world for a newer release
        }

    def answers(self) -> bool:
        """The probe that looks at the disks too; the port opens before they are ready."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/minio/health/cluster")
            return connection.getresponse().status == 200
        finally:
            connection.close()
