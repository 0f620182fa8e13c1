"""What a reload says that it has changed."""

from pathlib import Path

import msgspec
import pytest

from streamd.reloading import Reloader
from streamd.settings.model import DaemonOptions
from tests.unit.engine.test_reload_many import World


async def test_keys_of_the_daemon_that_change_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch)
    old = world.settings(world.a(world.out))
    world.file = msgspec.structs.replace(old, daemon=DaemonOptions(banner=("Hello",)))

    async def test(reloader: Reloader) -> None:
        assert await reloader.reload(old) is world.file
        assert reloader.last is not None
        assert reloader.last.changes == "[streamd] banner changes"
        world.file = old
        assert await reloader.reload(old) is old
        assert reloader.last.changes == ""

    await world.run(old, test)
