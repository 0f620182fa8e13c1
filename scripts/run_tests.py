"""All tests, in two halves at once: most of the time the one waits while the other computes.

The live half has servers, daemons and a browser. Its output is seen as it comes, that of the other
half when both are over.

Run from the project's root as `python -m scripts.run_tests [OPTIONS OF PYTEST]`.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence

_PYTEST = [sys.executable, "-m", "pytest"]


def both(live: Sequence[str], other: Sequence[str]) -> bool:
    """Run two commands at once; whether both have succeeded."""
    with tempfile.TemporaryFile() as told:
        with (
            subprocess.Popen(other, stdout=told, stderr=subprocess.STDOUT) as behind,
            subprocess.Popen(live) as seen,
        ):
            statuses = [_end_of(seen), _end_of(behind)]
        told.seek(0)
        sys.stdout.buffer.write(told.read())
    words = ["failed" if status else "passed" for status in statuses]
    print(f"[tests] live half: {words[0]}; other half: {words[1]}", flush=True)
    return not any(statuses)


def _end_of(process: subprocess.Popen[bytes]) -> int:
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # it got the Ctrl-C, too, and ends in its own way


def main() -> int:
    options = sys.argv[1:]
    live, other = (
        [*_PYTEST, *options, "-m", f"{half} and not soak"] for half in ("live", "not live")
    )
    print("[tests] in two halves; this is the live one, the other follows", flush=True)
    return 0 if both(live, other) else 1


if __name__ == "__main__":
    sys.exit(main())
