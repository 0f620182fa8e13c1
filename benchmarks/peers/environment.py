"""An environment of the peers' own, beside the downloaded servers."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.services.installed import cache_dir

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def interpreter() -> Path:
    """A Python that has the peers; installed at the first call.

    Raises subprocess.CalledProcessError where pip finds no wheel for this Python.
    """
    tag = f"{sys.version_info.major}.{sys.version_info.minor}".encode()
    digest = hashlib.sha256(tag + REQUIREMENTS.read_bytes()).hexdigest()[:12]
    folder = cache_dir() / f"peers-{digest}"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"Installing the peers into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        wheels = ["--only-binary=:all:", "-r", str(REQUIREMENTS)]
        subprocess.run([*pip, *wheels], check=True, timeout=600)
        ready.touch()
    return python
