"""The admin port of a running daemon: its token, and what it tells."""

import json
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.services.streamd import Streamd

CONFIGURATION = """
[streamd]
state_dir = "{state_dir}"
admin = "{admin}"
admin_token = "@{file:token}"

[pipeline.events.source]
plugin = "generator"
rate = 200
[[pipeline.events.sink]]
id = "out"
plugin = "drop"
"""
FIRST, SECOND = "the-first-token-of-two", "the-second-token-of-two"


def get(streamd: Streamd, path: str, token: str) -> tuple[int, str]:
    request = urllib.request.Request(
        f"http://{streamd.admin}{path}", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class Guarded(Streamd):
    def prepare(self) -> None:
        super().prepare()
        (self.folder / "token").write_text(FIRST)


def test_a_reload_changes_the_token_and_is_told(tmp_path: Path) -> None:
    with Guarded(tmp_path / "d", CONFIGURATION) as streamd:
        assert get(streamd, "/status", "")[0] == 401
        assert get(streamd, "/metrics", FIRST)[0] == 200
        assert json.loads(get(streamd, "/status/live", FIRST)[1])["reload"] is None
        (streamd.folder / "token").write_text(SECOND)
        streamd._signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while get(streamd, "/status", SECOND)[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert get(streamd, "/status", FIRST)[0] == 401
        live = json.loads(get(streamd, "/status/live", SECOND)[1])
        assert live["reload"]["refusal"] == ""
        config = json.loads(get(streamd, "/status/config", SECOND)[1])["text"]
        assert 'admin_token = "***"' in config
        told = streamd.log.read_text() + config
        assert FIRST not in told
        assert SECOND not in told
