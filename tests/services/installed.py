"""Where the test servers are installed, and whether they are.

Standard library only: `scripts/install_servers.py` imports this before any venv exists.
"""

import hashlib
import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KAFKA_POM = ROOT / "scripts" / "kafka" / "pom.xml"

# What the Go module proxy answered for github.com/minio/minio@latest; the project was archived
# soon after, so there is nothing newer to wait for.
MINIO_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"


class NotInstalledError(Exception):
    """A server that a test wants is not on this machine."""

    def __init__(self, service: str, detail: str) -> None:
        super().__init__(f"{service} is not installed: {detail}")
        self.service = service


def cache_dir() -> Path:
    """Outside of the work tree, so that `make clean` and a fresh clone keep what was built."""
    if chosen := os.environ.get("STREAMD_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "streamd"


def kafka_libs() -> Path:
    """Named by the pom's content: another pom is another folder, never a mix of two."""
    digest = hashlib.sha256(KAFKA_POM.read_bytes()).hexdigest()[:12]
    return cache_dir() / f"kafka-{digest}"


def minio_dir() -> Path:
    return cache_dir() / f"minio-{MINIO_VERSION}"


def java_command() -> str:
    """JAVA_HOME wins over PATH, as it does for every Java tool."""
    if home := os.environ.get("JAVA_HOME"):
        candidate = Path(home) / "bin" / "java"
        if candidate.exists():
            return str(candidate)
    if found := shutil.which("java"):
        return found
    raise NotInstalledError("kafka", "no java found")


def kafka_classpath() -> str:
    libs = kafka_libs()
    if not libs.is_dir():
        raise NotInstalledError("kafka", f"{libs} does not exist")
    return f"{libs}/*"


def find(program: str) -> str | None:
    # Debian puts some into /usr/sbin, which is not on the PATH of everyone.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    return shutil.which(program, path=path)


def tool_command(program: str) -> str:
    """A tool that checks what is shipped: promtool, systemd-analyze, chromium."""
    if found := find(program):
        return found
    raise NotInstalledError(program, "not on the PATH")


def clickhouse_command() -> list[str]:
    if found := find("clickhouse-server"):
        return [found]
    if found := find("clickhouse"):  # newer packages ship one binary
        return [found, "server"]
    raise NotInstalledError("clickhouse", "no clickhouse-server found")


def minio_command() -> str:
    binary = minio_dir() / "minio"
    if not binary.is_file():
        raise NotInstalledError("minio", f"{binary} does not exist")
    return str(binary)
