"""What has passed through a pipeline is freed without the collector, which comes very seldom: one
circle around a batch, for every batch, and the daemon grows by gigabytes."""

import gc
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from streamd.api import Batch
from streamd.catalog import Catalog
from streamd.engine.stages import Stages
from streamd.engine.supervisor import Supervisor
from streamd.engine.wiring import Wiring
from streamd.reloading import Reloader
from streamd.settings.loader import load
from streamd.telemetry.metrics import Telemetry
from streamd.testing.harness import surroundings
from streamd.testing.memory import MemoryStore
from tests.garbage import uncollected

FEW, MANY = 5, 105  # batches

CONFIG = """
[pipeline.events]
batch_events = 20
max_events = 50

[[pipeline.events.policy]]
plugin = "dead_letter"

[[pipeline.events.sink]]
id = "failed"
plugin = "drop"
inputs = ["dead_letters"]
"""

GENERATOR = """
[pipeline.events.source]
plugin = "generator"
rate = 0
count = COUNT
invalid = 0.2
"""

FILE = """
[pipeline.events.source]
plugin = "file"
path = "in.jsonl"
"""

STEPS = """
[[pipeline.events.validate]]
plugin = "event"

[[pipeline.events.transform]]
plugin = "dedupe"
key = "id"

[[pipeline.events.transform]]
plugin = "filter"
condition = "coalesce(payload.data.ms, 0) > 20"

[[pipeline.events.window]]
id = "window"
plugin = "tumbling"
size = "10ms"
time = "timestamp"
aggregate = { users = "distinct(payload.user_id)" }

[[pipeline.events.window]]
id = "session"
plugin = "session"
gap = "1ms"
time = "timestamp"
aggregate = { first = "first(payload)" }

[[pipeline.events.sink]]
id = "results"
plugin = "drop"
inputs = ["window", "window.late", "session", "session.late"]
"""

SINKS = {
    "drop": 'plugin = "drop"',
    "lines": 'plugin = "file"\npath = "out.jsonl"',
    "refusing disk": 'plugin = "file"\npath = "/dev/full"',
    "sqlite": 'plugin = "sqlite"\npath = "out.db"',
}


def configuration(source: str, steps: str, sink: str) -> Callable[[int], str]:
    out = f'\n[[pipeline.events.sink]]\nid = "out"\nbatch = {{ rows = 20 }}\n{SINKS[sink]}\n'
    return lambda count: source.replace("COUNT", str(count)) + steps + CONFIG + out


def lines(count: int) -> str:
    return "".join('{"torn\n' if number % 7 == 0 else "{}\n" for number in range(count))


async def run(text: str, folder: Path) -> Supervisor:
    """The pipeline, to the end of its source. Its own circles stay in use with what is returned."""
    path = folder / "streamd.toml"
    path.write_text(text)
    (spec,) = load(path).pipelines
    supervisor = Supervisor(spec, surroundings(MemoryStore(), state_dir=folder))
    with anyio.fail_after(60):
        await supervisor.run()
    return supervisor


@pytest.mark.parametrize(
    "text",
    [
        configuration(GENERATOR, STEPS, "drop"),
        configuration(GENERATOR, "", "refusing disk"),
        configuration(GENERATOR, "", "sqlite"),
        configuration(FILE, "", "lines"),
    ],
    ids=["steps that refuse events", "a sink that fails", "a sink in a thread", "torn lines"],
)
async def test_no_batch_leaves_anything_to_collect(
    text: Callable[[int], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def left_by(batches: int) -> int:
        (tmp_path / "in.jsonl").write_text(lines(20 * batches))
        with uncollected() as count:
            supervisor = await run(text(20 * batches), tmp_path)
            assert supervisor.failure is None
            return count()

    await left_by(FEW)  # which fills the caches
    few = await left_by(FEW)
    assert await left_by(MANY) - few < (MANY - FEW) / 2


async def test_a_pipeline_that_has_failed_holds_no_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = GENERATOR.replace("0.2", "0")
    text = configuration(source, "", "refusing disk")(100).replace('dead_letter"', 'stop"')
    with uncollected():
        supervisor = await run(text, tmp_path)
        assert supervisor.failure is not None
        await anyio.to_thread.run_sync(int)  # the thread that has written lets go of its last work
        assert not any(type(one) is Batch for one in gc.get_objects())


MAPPED = """
[[pipeline.events.transform]]
plugin = "map"
set = { by = "'REVISION'" }
"""


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ('plugin = "drop"', ""),
        ('plugin = "sqlite"\npath = "/dev/null/REVISION"', "File exists"),
        ('plugin = "none"', "no sink is called"),
    ],
    ids=["takes over", "cannot be opened", "has mistakes"],
)
async def test_no_version_outlives_a_reload(
    change: str, refusal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "streamd.toml"
    text = GENERATOR.replace("rate = 0\ncount = COUNT", "rate = 500") + MAPPED + CONFIG
    out = '\n[[pipeline.events.sink]]\nid = "out"\n'
    path.write_text(text + out + SINKS["drop"])
    telemetry = Telemetry()
    with anyio.fail_after(60), uncollected():
        settings = load(path)
        around = surroundings(MemoryStore(), state_dir=tmp_path, telemetry=telemetry)
        supervisor = Supervisor(settings.pipelines[0], around)
        supervisors = {"events": supervisor}
        reloader = Reloader(supervisors, lambda *_: None, lambda: False, telemetry)
        async with anyio.create_task_group() as group:
            group.start_soon(supervisor.run)
            await supervisor.running.wait()
            for revision in range(5):
                path.write_text((text + out + change).replace("REVISION", f"r{revision}"))
                settings = await reloader.reload(settings)
                assert reloader.last is not None
                assert refusal in reloader.last.refusal
                assert bool(refusal) == reloader.refused
            await anyio.to_thread.run_sync(int)  # the thread that has read lets go of its last work
            versions = [type(one) for one in gc.get_objects()]
            supervisor.stop()
    assert [versions.count(kind) for kind in (Stages, Wiring, Catalog)] == [1, 1, 1]
