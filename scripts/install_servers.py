"""Install the real servers that the integration tests start (Kafka, MinIO and ClickHouse), the
browser that they look at the page with, and the tools that check what is shipped for systemd and
Prometheus.

Run from the project's root as `python3 -m scripts.install_servers`; standard library only. All
servers at once, each to its own log. What is downloaded or built goes to a folder under a temporary
name and is renamed when whole, so a folder that exists is complete.
"""

import concurrent.futures
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.services import installed

# Packages of Debian and its descendants, used only where the tool is missing and we may.
APT_TOOLS = {
    "java": "default-jre-headless",
    "mvn": "maven",
    "go": "golang",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
    "chromium": "chromium",
}
MIN_JAVA, MIN_GO = 17, (1, 21)  # Go 1.21 and later fetch the newer toolchain that MinIO asks for

# The package would start a server of its own, now and at every boot; the tests start theirs.
APT_SCRIPT = """
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\\nexit 101\\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
dpkg --configure -a
apt-get update -qq
apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
for service in clickhouse-server prometheus; do
    case "$*" in *$service*)
        if [ -d /run/systemd/system ]; then systemctl disable --now $service; fi ;;
    esac
done
"""


class MissingToolError(Exception):
    """Something that this script cannot get by itself; the message says what to do."""


class Job:
    """One server's installation: its lines on the terminal, its output in a log file."""

    def __init__(self, name: str, log_dir: Path) -> None:
        self.name = name
        self.log = log_dir / f"{name}.log"
        self.log.write_bytes(b"")

    def say(self, message: str) -> None:
        print(f"[{self.name}] {message}", flush=True)

    def run(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        """Run to the end; say every half a minute that it still runs, show the log if it fails."""
        with self.log.open("ab") as output, self._heartbeat():
            result = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                check=False,
            )
        if result.returncode:
            tail = self.log.read_text(errors="replace").splitlines()[-30:]
            self.say("failed: " + " ".join(command)[:200])
            for line in tail:
                self.say(f"    {line}")
            raise RuntimeError(f"{self.name}: exit code {result.returncode}, see {self.log}")

    @contextlib.contextmanager
    def _heartbeat(self) -> Iterator[None]:
        done = threading.Event()
        started = time.monotonic()

        def beat() -> None:
            while not done.wait(30):
                self.say(f"still at it after {time.monotonic() - started:.0f} s")

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


@contextlib.contextmanager
def building(target: Path) -> Iterator[Path]:
    """A scratch folder that becomes `target` when all went well, and nothing otherwise."""
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def as_root(command: Sequence[str]) -> list[str]:
    if os.getuid() == 0:
        return list(command)
    if shutil.which("sudo"):
        return ["sudo", *command]
    raise MissingToolError("needs root: run as root once, or install sudo")


def apt_install(job: Job, packages: Sequence[str]) -> None:
    if not shutil.which("apt-get"):
        raise MissingToolError(f"no apt-get here: install {' '.join(packages)} by hand")
    job.say(f"apt-get install {' '.join(packages)}")
    job.run(as_root(["sh", "-c", APT_SCRIPT, "apt", *packages]))


def tool_version(command: Sequence[str], pattern: str) -> tuple[int, ...]:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(pattern, result.stdout + result.stderr)
    return tuple(int(part) for part in found.groups()) if found else ()


def install_kafka(job: Job) -> None:
    target = installed.kafka_libs()
    java = installed.java_command()
    if tool_version([java, "-version"], r'version "(\d+)') < (MIN_JAVA,):
        raise MissingToolError(f"Java {MIN_JAVA} or newer is needed: set JAVA_HOME")
    if target.is_dir():
        return
    if not shutil.which("mvn"):
        raise MissingToolError("Maven (mvn) is needed once, to fetch the jars")
    job.say("resolving the jars with Maven")
    with building(target) as scratch:
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={scratch}"]
        pom = ["-f", str(installed.KAFKA_POM), "-DincludeScope=runtime"]
        job.run(["mvn", "-q", "-B", *pom, *goal])


def install_minio(job: Job) -> None:
    target = installed.minio_dir()
    if target.is_dir():
        return
    if not shutil.which("go") or tool_version(["go", "version"], r"go(\d+)\.(\d+)") < MIN_GO:
        raise MissingToolError("Go 1.21 or newer is needed: put it first on PATH")
    job.say("building from source, about three minutes on two cores")
    with building(target) as scratch, tempfile.TemporaryDirectory(prefix="go-build-") as cache:
        # A build cache of its own: a gigabyte of objects that nobody needs twice.
        env = {"GOBIN": str(scratch), "GOCACHE": cache, "CGO_ENABLED": "0", "GOFLAGS": ""}
        module = f"github.com/minio/minio@{installed.MINIO_VERSION}"
        job.run(["nice", "go", "install", "-trimpath", "-ldflags=-s -w", module], env)


def install_clickhouse(job: Job) -> None:
    with contextlib.suppress(installed.NotInstalledError):
        # A package that apt could not finish has its binary in place but lacks libraries: 127 is
        # the loader's answer. (What --help itself returns differs between versions.)
        command = [*installed.clickhouse_command(), "--help"]
        if subprocess.run(command, capture_output=True, check=False).returncode != 127:
            return
    apt_install(job, ["clickhouse-server"])
    installed.clickhouse_command()


INSTALLERS = {"kafka": install_kafka, "minio": install_minio, "clickhouse": install_clickhouse}


def missing_packages() -> list[str]:
    """What apt has to bring first. Building tools count only while there is something to build."""
    tools = ["java", "promtool", "systemd-analyze", "chromium"]
    if not installed.kafka_libs().is_dir():
        tools.append("mvn")
    if not installed.minio_dir().is_dir():
        tools.append("go")
    return [APT_TOOLS[tool] for tool in tools if not shutil.which(tool)]


def need_tools(job: Job) -> None:
    """Before the rest, as apt lets only one run at a time; who still lacks one says so itself."""
    if packages := missing_packages():
        try:
            apt_install(job, packages)
        except (MissingToolError, RuntimeError) as error:
            job.say(str(error))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Two clones may share the cache: the second waits and then finds everything there."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def outcome(job: Job, install: Callable[[Job], None]) -> str:
    """'' or what went wrong. A missing tool fails only CI: elsewhere those tests are skipped."""
    started = time.monotonic()
    try:
        install(job)
    except (MissingToolError, installed.NotInstalledError) as error:
        job.say(f"not installed: {error}")
        return f"{job.name}: {error}" if os.environ.get("CI") else ""
    except RuntimeError as error:
        return str(error)
    took = time.monotonic() - started
    job.say("ready" if took < 1 else f"ready in {took:.0f} s")
    return ""


def main() -> int:
    cache = installed.cache_dir()
    log_dir = cache / "logs"
    log_dir.mkdir(parents=True, exist_ok=True)
    with locked(cache / ".lock"):
        for leftover in cache.glob(".*-*.*"):  # of a run that was killed; see building()
            shutil.rmtree(leftover)
        need_tools(Job("tools", log_dir))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            running = [
                pool.submit(outcome, Job(name, log_dir), install)
                for name, install in INSTALLERS.items()
            ]
        problems = [text for text in (future.result() for future in running) if text]
    for problem in problems:
        print(f"[servers] {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("[servers] interrupted; what was not finished starts over the next time")
