"""SIGHUP on a running daemon."""

import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.services.streamd import Streamd

HEAD = """
[streamd]
state_dir = "{state_dir}"
admin = "{admin}"
log_format = "json"
"""

PIPELINE = """
[pipeline.NAME.source]
plugin = "generator"
rate = 2000
partitions = 2

[[pipeline.NAME.transform]]
plugin = "map"
set = { by = "'MARK'" }

[[pipeline.NAME.sink]]
id = "out"
plugin = "file"
path = "NAME.jsonl"
"""


def config(mark: str, name: str = "events", head: str = HEAD) -> str:
    return head + PIPELINE.replace("MARK", mark).replace("NAME", name)


def reload(streamd: Streamd, text: str) -> dict[str, str]:
    """Ask for a reload; the line that says how it went."""
    told = len(answers(streamd))
    streamd.configure(text)
    streamd._signal(signal.SIGHUP)
    wait_for(lambda: len(answers(streamd)) > told)
    return answers(streamd)[-1]


def answers(streamd: Streamd) -> list[dict[str, str]]:
    lines = [json.loads(line) for line in streamd.log.read_text().splitlines()]
    return [line for line in lines if line["message"].startswith("Reload")]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_changed_step_takes_over_and_no_event_is_lost_or_doubled(tmp_path: Path) -> None:
    with Streamd(tmp_path / "d", config("old")) as streamd:
        wait_for(lambda: streamd.status()["events"]["read"] > 1000)
        answer = reload(streamd, config("new"))
        assert answer["message"] == "Reloaded", answer
        read = streamd.status()["events"]["read"]
        wait_for(lambda: streamd.status()["events"]["read"] > read + 1000)
        assert streamd.metric("streamd_config_last_reload_successful") == 1
        assert streamd.status()["events"]["restarts"] == 0
        streamd.stop()
        stored = rows(tmp_path / "d" / "events.jsonl")
    marks = Counter(row["by"] for row in stored)
    assert marks["old"] > 500
    assert marks["new"] > 500
    assert max(Counter(row["id"] for row in stored).values()) == 1
    numbers = sorted(int(row["id"].rpartition("_")[2]) for row in stored)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_what_is_wrong_is_refused_and_the_old_goes_on(tmp_path: Path) -> None:
    with Streamd(tmp_path / "d", config("old")) as streamd:
        wait_for(lambda: streamd.status()["events"]["read"] > 0)
        for text, reason in (
            ("not toml", "streamd.toml:"),
            (config("new").replace('"map"', '"no_such_step"'), "no transform is called"),
            (config("new").replace('"{state_dir}"', '"elsewhere"'), "[streamd] state_dir"),
            (config("new").replace("out.jsonl", "x") + "[pipeline.events]\nnope = 1", "nope"),
        ):
            answer = reload(streamd, text)
            assert answer["message"].startswith("Reload refused"), answer
            assert reason in answer["reason"]
            assert streamd.metric("streamd_config_last_reload_successful") == 0
        read = streamd.status()["events"]["read"]
        wait_for(lambda: streamd.status()["events"]["read"] > read)
        assert reload(streamd, config("new"))["message"] == "Reloaded"
        assert streamd.metric("streamd_config_last_reload_successful") == 1


def test_pipelines_come_and_go(tmp_path: Path) -> None:
    with Streamd(tmp_path / "d", config("old")) as streamd:
        wait_for(lambda: streamd.status()["events"]["read"] > 0)
        both = config("old") + config("x", "more", head="")
        assert "more is new" in reload(streamd, both)["changes"]
        wait_for(lambda: streamd.status()["more"]["read"] > 0)
        assert "events is removed" in reload(streamd, config("x", "more"))["changes"]
        assert set(streamd.status()) == {"more"}


def test_a_plugin_file_that_was_edited_needs_a_restart(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins.d"
    plugins.mkdir()
    code = (
        "from streamd.api import FunctionStep, Plugin, StageConfig, hookimpl\n\n\n"
        "class Tag(FunctionStep):\n"
        '    """Tags events."""\n\n'
        "    class Config(StageConfig, frozen=True):\n"
        "        pass\n\n"
        "    def __init__(self, config, context):\n"
        "        super().__init__(lambda event: {**event, 'tag': 1})\n\n\n"
        "@hookimpl\ndef streamd_plugins():\n"
        "    return [Plugin('transform', 'tag', Tag)]\n"
    )
    (plugins / "tag.py").write_text(code)
    head = HEAD + f'plugins_dir = ["{plugins}"]\n'
    text = config("a", head=head).replace(
        'plugin = "map"\nset = { by = "\'a\'" }', 'plugin = "tag"'
    )
    with Streamd(tmp_path / "d", text) as streamd:
        wait_for(lambda: streamd.status()["events"]["read"] > 0)
        (plugins / "tag.py").write_text(code.replace("1", "2"))
        answer = reload(streamd, text.replace("rate = 2000", "rate = 1000"))
        assert "the code of transform tag" in answer["reason"]


def test_signals_that_come_together_are_one_reload_or_two(tmp_path: Path) -> None:
    with Streamd(tmp_path / "d", config("old")) as streamd:
        wait_for(lambda: streamd.status()["events"]["read"] > 0)
        streamd.configure(config("new"))
        for _ in range(50):
            streamd._signal(signal.SIGHUP)
        wait_for(lambda: len(answers(streamd)) > 0)
        time.sleep(0.5)
        assert 1 <= len(answers(streamd)) <= 10


def test_a_signal_that_comes_while_the_file_is_read_is_not_lost(tmp_path: Path) -> None:
    """Whoever changes the file and asks for a reload cannot know that it was just being read."""
    plugins, marker = tmp_path / "plugins.d", tmp_path / "imported"
    plugins.mkdir()
    head = HEAD + f'plugins_dir = ["{plugins}"]\n'
    streamd = Streamd(tmp_path / "d", config("old", head=head))
    later = config("new", head=head)
    for place, value in (("{admin}", streamd.admin), ("{state_dir}", "var")):
        later = later.replace(place, value)
    (plugins / "hasty.py").write_text(
        "import os, pathlib, signal\n"
        f"if not pathlib.Path({str(marker)!r}).exists():\n"
        f"    pathlib.Path({str(marker)!r}).touch()\n"
        f"    pathlib.Path('streamd.toml').write_text({later!r})\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
    )
    with streamd:
        wait_for(lambda: len(answers(streamd)) == 1)
        assert answers(streamd)[0]["message"] == "Reloaded", answers(streamd)
        wait_for(lambda: {"old", "new"} >= marks(streamd) >= {"new"})
        assert marker.exists()


def marks(streamd: Streamd) -> set[str]:
    lines = (streamd.folder / "events.jsonl").read_text().splitlines()[:-1]
    return {json.loads(line)["by"] for line in lines}


SLOW = '''
"""A step that takes its time to open."""
import anyio
from streamd.api import FunctionStep, Plugin, StageConfig, hookimpl


class Slow(FunctionStep):
    """Passes events on."""

    class Config(StageConfig, frozen=True):
        pass

    def __init__(self, config, context):
        super().__init__(lambda event: event)

    async def __aenter__(self):
        await anyio.sleep(2)
        return self


@hookimpl
def streamd_plugins():
    return [Plugin("transform", "slow", Slow)]
'''


def test_a_signal_during_the_start_is_answered_once_the_pipelines_run(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins.d"
    plugins.mkdir()
    (plugins / "slow.py").write_text(SLOW)
    slow = '\n[[pipeline.events.transform]]\nplugin = "slow"\n'
    head = HEAD + f'plugins_dir = ["{plugins}"]\n'
    streamd = Streamd(tmp_path / "d", config("old", head=head) + slow)
    with streamd:  # it answers before its pipelines run
        assert streamd.status()["events"]["state"] == "starting"
        answer = reload(streamd, config("new", head=head) + slow)
        assert answer["message"] == "Reloaded", answer
