"""What good configurations mean."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from streamd.api import BatchLimits, ConfigFile, Duration, Secret, Size
from streamd.catalog import Catalog
from streamd.settings import Settings, SettingsError, load, render
from streamd.settings.convert import FAILED, convert
from streamd.settings.model import PipelineSpec
from streamd.settings.problems import Problems
from streamd.settings.references import Substituted
from tests.unit.settings import fakes

SOURCE = """
[pipeline.events.source]
plugin = "numbers"
topics = ["a"]
"""
SINK = """
[[pipeline.events.sink]]
id = "store"
plugin = "store"
"""


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(text: str, **env: str) -> Settings:
        path = tmp_path / "streamd.toml"
        path.write_text(text)
        return load(path, env)

    return read


def pipeline(settings: Settings) -> PipelineSpec:
    (only,) = settings.pipelines
    return only


def names(specs: Any) -> list[str]:
    return [spec.plugin for spec in specs]


def test_defaults(read: Any) -> None:
    events = pipeline(read(SOURCE + SINK))
    (source,), (sink,) = events.sources, events.sinks
    assert (source.id, source.inputs, source.output, source.path) == (
        "numbers",
        (),
        "main",
        "pipeline.events.source",
    )
    assert (sink.id, sink.inputs, sink.output) == ("store", ("main",), None)
    assert sink.path == "pipeline.events.sink[0]"
    assert sink.codec is not None
    assert (sink.codec.plugin, sink.codec.role, sink.codec.cls) == ("json", "codec", fakes.Json)
    assert (sink.policies, sink.batch, sink.reset_state) == (None, None, False)
    assert names(events.policies) == ["retry", "block"]


def test_the_default_policies_dead_letter_where_somebody_reads_them(read: Any) -> None:
    reader = '[[pipeline.events.sink]]\nid = "dead"\nplugin = "store"\ninputs = ["dead_letters"]'
    assert names(pipeline(read(SOURCE + SINK + reader)).policies) == ["retry", "dead_letter"]


def test_a_stages_policies_replace_the_pipelines(read: Any) -> None:
    text = f"""{SOURCE}
[[pipeline.events.policy]]
plugin = "block"
{SINK}
[[pipeline.events.sink.policy]]
plugin = "retry"
max_retries = 5
[[pipeline.events.sink.policy]]
plugin = "block"
"""
    events = pipeline(read(text))
    assert names(events.policies) == ["block"]
    own = events.sinks[0].policies
    assert own is not None
    assert names(own) == ["retry", "block"]
    assert own[0].config == fakes.Retry.Config(max_retries=5)


def test_ids_by_default_count_up_and_leave_given_ones_alone(read: Any) -> None:
    step = "[[pipeline.events.transform]]\nplugin = 'route'\n"
    text = SOURCE + step * 2 + step + 'id = "route-2"\n' + step + SINK
    ids = [stage.id for stage in pipeline(read(text)).steps]
    assert ids == ["route", "route-3", "route-2", "route-4"]


def test_steps_are_in_the_order_of_their_roles(read: Any) -> None:
    text = f"""{SOURCE}
[[pipeline.events.window]]
plugin = "tumble"
id = "minutes"
[[pipeline.events.transform]]
plugin = "route"
[[pipeline.events.validate]]
plugin = "check"
{SINK}inputs = ["main", "minutes"]
"""
    steps = pipeline(read(text)).steps
    assert [(step.role, step.inputs, step.output) for step in steps] == [
        ("validate", ("main",), "main"),
        ("transform", ("main",), "main"),
        ("window", ("main",), "minutes"),
    ]


def test_streams_named_by_settings(read: Any) -> None:
    text = f"""
[[pipeline.events.source]]
plugin = "numbers"
topics = ["a"]
output = "clicks"
[[pipeline.events.source]]
plugin = "numbers"
topics = ["b"]
output = "views"
[[pipeline.events.window]]
plugin = "join"
id = "joined"
left = "clicks"
right = "views"
[[pipeline.events.transform]]
plugin = "route"
inputs = ["joined"]
to = ["rest"]
{SINK}inputs = ["joined", "rest"]
"""
    events = pipeline(read(text))
    assert [source.id for source in events.sources] == ["numbers", "numbers-2"]
    assert events.sources[1].path == "pipeline.events.source[1]"
    assert [step.inputs for step in events.steps] == [("joined",), ("clicks", "views")]


def test_a_step_that_sends_all_events_away_writes_no_stream_of_its_own(read: Any) -> None:
    text = f"""{SOURCE}
[[pipeline.events.transform]]
plugin = "route"
to = ["a", "b"]
all = true
{SINK}inputs = ["a", "b"]
"""
    (step,) = pipeline(read(text)).steps
    assert (step.inputs, step.output) == (("main",), None)


def test_substitutions_take_the_type_that_is_expected(read: Any) -> None:
    text = """
[streamd]
state_dir = "${DIR:-var}/x"
[pipeline.events]
batch_events = "${N}"
epoch_time = "${TIME:-250ms}"
drop_streams = ["${LATE:-main}"]
[pipeline.events.source]
plugin = "numbers"
topics = ["$${plain}", "${N}"]
max_rows = "${N:?how many}"
rate = "${NONE:-}"
ports = ["${N}", 2]
verbose = "${YES}"
""" + SINK.replace(
        'plugin = "store"', 'plugin = "${SINK}"\nbatch = { rows = "${N}" }\ninputs = ["main"]'
    )
    settings = read(text, N="3", YES="true", SINK="store", DIR="")
    events = pipeline(settings)
    assert settings.daemon.state_dir == "var/x"
    assert (events.options.batch_events, events.options.epoch_time) == (3, Duration("250ms"))
    assert events.sources[0].config == fakes.Numbers.Config(
        topics=("${plain}", "3"), max_rows=3, rate=None, ports=(3, 2), verbose=True
    )
    assert events.sinks[0].batch == BatchLimits(rows=3, bytes=1000, time=2.0)


def test_a_literal_string_is_no_number(read: Any) -> None:
    with pytest.raises(SettingsError, match='max_rows: expected int, got "3"'):
        read(SOURCE + 'max_rows = "3"' + SINK)


def test_batch_limits_in_their_units(read: Any) -> None:
    text = SOURCE + SINK + 'batch = { bytes = "2KiB", time = "250ms" }'
    assert pipeline(read(text)).sinks[0].batch == BatchLimits(rows=500, bytes=2048, time=0.25)


def test_secrets_are_strings_that_nobody_prints(read: Any, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("swordfish\n")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "table").write_text("marlin")
    text = (
        SOURCE
        + SINK
        + """
password = "@{file:${WHERE:-pw}}"
table = "@{credential:table}"
columns = { a = "@{env:COLUMN}" }
limit = "1KiB"
"""
    )
    env = {"COLUMN": "halibut", "CREDENTIALS_DIRECTORY": str(credentials)}
    settings = read(text, **env)
    config = pipeline(settings).sinks[0].config
    assert config == fakes.Store.Config(
        password=Secret("swordfish"), table="marlin", columns={"a": "halibut"}, limit=Size("1KiB")
    )
    for printed in (repr(settings), render(settings), settings.digest):
        assert not [word for word in ("swordfish", "marlin", "halibut") if word in printed]
    assert "swordfish" in render(settings, masked=False)


def test_the_digest_follows_the_meaning_but_no_secret(read: Any) -> None:
    text = SOURCE + SINK + 'password = "@{env:PW}"'
    first = read(text, PW="one").digest
    assert read("# moved\n" + text, PW="two").digest == first
    assert read(text + '\ntable = "other"', PW="one").digest != first


def test_tables_of_tests_are_left_alone(read: Any) -> None:
    read(SOURCE + SINK + '[[test]]\nname = "${UNSET}"\nanything = { goes = 1 }')


def test_the_effective_configuration_means_the_same(read: Any) -> None:
    text = f"""
[streamd]
banner = ["costs $${{5}}", 'a "quoted" \\ line']
[[pipeline.events.policy]]
plugin = "dead_letter"
{SOURCE}every = "1m30s"
codec = {{ plugin = "json", indent = 2 }}
[[pipeline.events.window]]
plugin = "tumble"
id = "minutes"
reset_state = true
{SINK}inputs = ["main", "minutes"]
batch = {{ rows = 7 }}
columns = {{ a = {{ field = "x" }}, "b c" = "y" }}
extra = [{{ field = "z", width = 2 }}]
[[pipeline.events.sink.policy]]
plugin = "retry"
[[pipeline.events.sink]]
id = "dead"
plugin = "store"
inputs = ["dead_letters"]
[pipeline.other.source]
plugin = "numbers"
topics = []
[[pipeline.other.sink]]
plugin = "store"
id = "x"
"""
    settings = read(text)
    again = read(render(settings, masked=False))
    assert render(again) == render(settings)
    assert again.digest == settings.digest
    assert again.daemon == settings.daemon
    assert [p.options for p in again.pipelines] == [p.options for p in settings.pipelines]


def test_a_stage_that_is_built_sees_its_surroundings(
    read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def build(self: Any, config: Any, context: Any) -> None:
        seen[context.stage] = context

    monkeypatch.setattr(fakes.Fake, "__init__", build)
    read("[streamd]\nstate_dir = 'data'\n" + SOURCE + SINK)
    assert seen["store"].inputs == ("main",)
    assert seen["store"].readable == {"main"}
    assert seen["store"].state_dir == Path("data")
    assert isinstance(seen["store"].codec, fakes.Json)
    assert seen["store"].control is None
    assert seen["numbers"].control is not None
    assert seen["store"].extensions == {"aggregation": {"count": fakes.Fake}}


def test_plugin_files_are_found_beside_the_configuration(read: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    source = Path(fakes.__file__).read_text()
    only = source.partition("    return [")[0] + '    return [Plugin("sink", "mine", Store)]\n'
    (tmp_path / "mine" / "my_sink.py").write_text(only)
    text = '[streamd]\nplugins_dir = ["mine"]' + SOURCE + SINK.replace('= "store"', '= "mine"')
    assert pipeline(read(text)).sinks[0].cls.__module__.startswith("_streamd_plugin_my_sink")


def test_a_broken_package_that_no_stage_uses_is_only_a_warning(
    read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_all = Catalog.load

    def with_broken(*args: Any) -> Catalog:
        catalog = load_all(*args)
        catalog.problems.append("broken")  # type: ignore[arg-type]
        return catalog

    monkeypatch.setattr(Catalog, "load", with_broken)
    assert read(SOURCE + SINK).catalog.problems == ["broken"]


class Certificates(Struct, forbid_unknown_fields=True):
    ca: ConfigFile
    key: ConfigFile | None = None
    more: tuple[ConfigFile, ...] = ()
    named: dict[str, ConfigFile] = {}
    path: str = ""


@pytest.mark.parametrize("folder", ["/etc/streamd", "sub/folder", "."])
def test_files_of_the_configuration_start_beside_it(folder: str) -> None:
    problems = Problems(f"{folder}/streamd.toml", {})
    given = {
        "ca": "a.pem",
        "key": Substituted("../k.pem"),
        "more": ["b.pem", "/c.pem"],
        "named": {"d": "d/e.pem"},
        "path": "data.jsonl",
    }
    found = convert(given, Certificates, (), problems)
    beside = Path(folder)
    assert found == Certificates(
        ca=ConfigFile(beside / "a.pem"),
        key=ConfigFile(beside / "../k.pem"),
        more=(ConfigFile(beside / "b.pem"), ConfigFile("/c.pem")),
        named={"d": ConfigFile(beside / "d/e.pem")},
        path="data.jsonl",
    )
    assert isinstance(found.ca, ConfigFile)
    assert convert({"ca": ""}, Certificates, (), problems) == Certificates(ca=ConfigFile(""))
    assert problems.found == []


def test_a_file_has_a_name() -> None:
    problems = Problems("streamd.toml", {})
    assert convert({"ca": 5}, Certificates, ("sink",), problems) is FAILED
    assert str(problems.found[0]) == "streamd.toml:1: sink.ca: expected string, got 5"
