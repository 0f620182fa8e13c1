"""A real registry that speaks Confluent's API: Apicurio, with its schemas in memory.

    python -m tests.plugins.streamd_avro.apicurio

fetches it (142 MB, by Maven) into the cache folder of the test servers. It needs Java 17.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

from tests.services import installed
from tests.services.server import Server, free_ports

VERSION = "2.6.13.Final"
_ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"


def folder() -> Path:
    return installed.cache_dir() / f"apicurio-{VERSION}"


def install() -> None:
    """Fetch it unless it is there. The folder appears when it is whole."""
    target = folder()
    if target.is_dir():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        maven = ["mvn", "-q", "-B"]
        get = [*maven, f"{_PLUGIN}:get", f"-Dartifact={_ARTIFACT}", "-Dtransitive=false"]
        unpack = [*maven, f"{_PLUGIN}:unpack", f"-Dartifact={_ARTIFACT}"]
        subprocess.run(get, check=True, cwd=scratch)
        subprocess.run([*unpack, f"-DoutputDirectory={scratch}/unpacked"], check=True, cwd=scratch)
        (Path(scratch) / "unpacked").rename(target)


class ApicurioServer(Server):
    name: ClassVar[str] = "apicurio"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (self.port,) = free_ports(1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    def prepare(self) -> None:
        """It is configured by its command line."""

    def command(self) -> list[str]:
        jar = folder() / f"apicurio-registry-app-{VERSION}-runner.jar"
        if not jar.exists():
            raise installed.NotInstalledError(self.name, f"{jar} does not exist")
        listen = ["-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self.port}"]
        return [installed.java_command(), "-Xmx256m", *listen, "-jar", str(jar)]

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/apis/ccompat/v7/subjects")
            return connection.getresponse().status == 200
        finally:
            connection.close()


if __name__ == "__main__":
    install()
    print(folder(), file=sys.stderr)
