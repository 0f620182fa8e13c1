"""Tests in a configuration: what they see, what makes them fail, and in which words."""

from pathlib import Path

import pytest

from streamd.settings import SettingsError
from streamd.testing.scenarios import Mismatch, judge, read, run

PIPELINE = """
[pipeline.events.source]
id = "in"
plugin = "kafka"
bootstrap_servers = "127.0.0.1:1"
topics = ["orders"]
group_id = "g"
[[pipeline.events.transform]]
id = "tag"
plugin = "map"
set = { seen = "true" }
[[pipeline.events.sink]]
id = "out"
plugin = "stdout"
[[pipeline.events.sink]]
id = "dead"
plugin = "stdout"
inputs = ["dead_letters"]
"""
WINDOW = """
[[pipeline.events.window]]
id = "minutes"
plugin = "tumbling"
size = "60s"
aggregate = { events = "count()" }
[[pipeline.events.sink]]
id = "counts"
plugin = "stdout"
inputs = ["minutes"]
"""
TWO_EVENTS = "[[test.input]]\nevents = [{ id = 1 }, { id = 2 }]\n"


class Config:
    """Writes configurations and runs the tests in them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "streamd.toml"

    def plugin(self, name: str, code: str) -> str:
        """Write a plugin file; what makes a configuration find it."""
        folder = self.path.parent / "plugins.d"
        folder.mkdir()
        (folder / f"{name}.py").write_text(code)
        return '[streamd]\nplugins_dir = ["plugins.d"]\n'

    def write(self, test: str, pipeline: str = PIPELINE) -> None:
        self.path.write_text(f'{pipeline}\n[[test]]\nname = "it"\n{test}')

    def mismatches(self, test: str, pipeline: str = PIPELINE) -> list[Mismatch]:
        self.write(test, pipeline)
        (script,) = read(self.path)
        return judge(script, run(script))

    def told(self, test: str, pipeline: str = PIPELINE) -> list[str]:
        return [one.message for one in self.mismatches(test, pipeline)]

    def errors(self, test: str, pipeline: str = PIPELINE) -> list[str]:
        self.write(test, pipeline)
        with pytest.raises(SettingsError) as caught:
            read(self.path)
        return [f"{one.path}: {one.message}" for one in caught.value.problems]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path)


def expect(place: str, *rest: str) -> str:
    return "\n".join(["[[test.expect]]", place, *rest, ""])


OUT = 'sink = "out"'
DEAD = 'stream = "dead_letters"'


# --- what comes out --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "says",
    [
        "rows = [{ id = 2 }]",
        "rows = [{ id = 2 }, { id = 1 }]",
        "rows = [{}, { id = 1 }]",  # the vague row gives way
        """rows = ['{"id": 1, "seen": true}']""",
        "count = 2",
        "exact = true\nrows = [{ id = 1, seen = true }, { seen = true, id = 2 }]",
        "in_order = true\nrows = [{ id = 1 }, { id = 2 }]",
    ],
)
def test_what_a_sink_has_stored(says: str, config: Config) -> None:
    assert config.told(TWO_EVENTS + expect(OUT, says)) == []


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("rows = [{ id = 3 }]", "sink out: no row like the expected"),
        ("rows = [{ id = 1 }, { id = 1 }]", "sink out: no row like the expected"),
        ("rows = [{ id = true }]", "sink out: no row like the expected"),
        ("count = 1", "sink out: expected 1 row, got 2"),
        ("none = true", "sink out: expected no row, got 2"),
        ("exact = true\nrows = [{ id = 1, seen = true }]", "sink out: expected 1 row, got 2"),
        (
            "exact = true\nrows = [{ id = 1, seen = true }, { id = 2 }]",
            "sink out: no row like the expected",
        ),
        (
            "in_order = true\nrows = [{ id = 2 }, { id = 1 }]",
            "sink out: the row did not come in this order",
        ),
    ],
)
def test_what_a_sink_has_not_stored(says: str, told: str, config: Config) -> None:
    (mismatch,) = config.mismatches(TWO_EVENTS + expect(OUT, says))
    assert mismatch.message == told
    line = int(mismatch.where.removeprefix(f"{config.path}:"))
    assert config.path.read_text().splitlines()[line - 1] == "[[test.expect]]"


def test_the_nearest_row_is_shown_with_its_differences(config: Config) -> None:
    events = "[[test.input]]\nevents = [{ id = 1, p = { a = 1, b = [1] } }, { id = 2 }]\n"
    (mismatch,) = config.mismatches(
        events + expect(OUT, "rows = [{ id = 1, p = { a = 2, b = [3], c = 4 } }]")
    )
    assert mismatch.lines == (
        '- {"id":1,"p":{"a":2,"b":[3],"c":4}}',
        '+ {"id":1,"p":{"a":1,"b":[1]},"seen":true}',
        "    p.a: expected 2, got 1",
        "    p.b[0]: expected 3, got 1",
        "    p.c: expected 4, it is missing",
    )


def test_a_step_and_a_stream_can_be_looked_at(config: Config) -> None:
    assert config.told(TWO_EVENTS + expect('step = "tag"', "count = 2")) == []
    assert config.told(TWO_EVENTS + expect('stream = "main"', "rows = [{ seen = true }]")) == []


def test_a_validator_that_decodes_as_well_can_be_looked_at(config: Config) -> None:
    validated = PIPELINE + '[[pipeline.events.validate]]\nid = "v"\nplugin = "event"\n'
    event = (
        '{ id = "e", timestamp = 2025-11-19T10:30:00Z,'
        ' payload = { event_type = "user_action", source = "web" } }'
    )
    events = f"[[test.input]]\nevents = [{event}, {{ id = 1 }}]\n"
    test = events + expect('step = "v"', 'rows = [{ id = "e" }]', "count = 1")
    assert config.told(test + expect(DEAD, 'rows = [{ stage = "v" }]'), validated) == []


SLOW = """
import anyio
from streamd.api import Plugin, StageConfig, hookimpl

class Slow:
    class Config(StageConfig, frozen=True): ...
    def __init__(self, config, context): ...
    async def __aenter__(self):
        return self
    async def __aexit__(self, *exc_info): ...
    async def process(self, batch):
        await anyio.sleep(3600)
        return [batch]

@hookimpl
def streamd_plugins():
    return [Plugin("transform", "slow", Slow)]
"""


def test_a_step_that_waits_can_be_looked_at(config: Config) -> None:
    pipeline = config.plugin("slow", SLOW) + PIPELINE.replace(
        'plugin = "map"\nset = { seen = "true" }', 'plugin = "slow"'
    )
    test = 'until = "2h"\n' + TWO_EVENTS
    early = expect('step = "tag"', 'by = "59m"', "none = true")
    assert config.told(test + early + expect('step = "tag"', "count = 2"), pipeline) == []


# --- where events come from ------------------------------------------------------------------


def test_records_arrive_as_the_real_source_would_give_them(config: Config) -> None:
    records = """
[[test.input]]
partition = 3
key = "k"
headers = { trace = "t" }
at = "1m"
events = ['{"id": 1', 'x']
"""
    letter = (
        'topic = "orders", key = "k", headers = [["trace", "t"]], timestamp = 1763548260000,'
        ' reason = "malformed_json"'
    )
    rows = f"""rows = [
  {{ {letter}, metadata = {{ partition = 3, offset = 0 }} }},
  {{ {letter}, metadata = {{ partition = 3, offset = 1 }} }}
]"""
    assert config.told(records + expect(DEAD, rows)) == []


def test_each_of_several_sources_has_its_own_events(config: Config) -> None:
    second = '[[pipeline.events.source]]\nid = "made_up"\nplugin = "generator"\n'
    pipeline = second + PIPELINE.replace("[pipeline.events.source]", "[[pipeline.events.source]]")
    test = TWO_EVENTS + expect(OUT, "count = 2")
    assert config.errors(test, pipeline) == ["test[0].input[0]: say at which source: made_up, in"]
    named = TWO_EVENTS.replace("events =", 'source = "in"\nevents =')
    other = "[[test.input]]\nsource = 'made_up'\nevents = ['x']\n"
    letter = 'rows = [{ stage = "made_up", topic = "events.made_up" }]'
    test = named + other + expect(OUT, "count = 2") + expect(DEAD, letter)
    assert config.told(test, pipeline) == []


def test_a_dead_letter_that_nobody_expects_fails(config: Config) -> None:
    test = "[[test.input]]\nevents = ['x']\n"
    (mismatch,) = config.mismatches(test + expect(OUT, "none = true"))
    assert mismatch.message == "dead letters that no expectation speaks of: 1"
    assert '"stage":"in","reason":"malformed_json"' in mismatch.lines[0]
    assert config.told(test + expect('sink = "dead"', "count = 1")) == []


def test_a_source_that_answers_is_told_of_what_was_not_stored(config: Config) -> None:
    http = PIPELINE.partition("[[")
    source = '[pipeline.events.source]\nid = "in"\nplugin = "http"\nlisten = "127.0.0.1:1"\n'
    pipeline = source + "[[" + http[2]
    test = """[[test.input]]\nevents = ['"torn', { id = 1 }]\n""" + expect(OUT, "count = 1")
    (mismatch,) = config.mismatches(test, pipeline)
    assert mismatch.message == "source in was told of 1 row that no expectation speaks of"
    answer = expect('source = "in"', """rows = [{ outcome = "rejected", event = '"torn' }]""")
    assert config.told(test + answer, pipeline) == []


# --- time ------------------------------------------------------------------------------------


def test_windows_close_when_the_clock_says_so(config: Config) -> None:
    events = '[[test.input]]\nevery = "50s"\nevents = [{ id = 1 }, { id = 2 }]\n'
    open_still = expect('sink = "counts"', "none = true")
    assert config.told(events + open_still, PIPELINE + WINDOW) == []
    # The second closes when the stream has been silent for two minutes.
    closed = events.replace("[[", 'until = "5m"\n[[', 1) + expect(
        'sink = "counts"', "in_order = true", "rows = [{ events = 1 }, { events = 1 }]"
    )
    assert config.told(closed, PIPELINE + WINDOW) == [
        "sink counts: no row like the expected",
        "sink counts: no row like the expected",
    ]
    for_real = closed.replace("rows = [{ events = 1 }, { events = 1 }]", "rows = [{ events = 2 }]")
    assert config.told(for_real, PIPELINE + WINDOW) == []


def test_a_window_of_processing_time_closes_to_the_second(config: Config) -> None:
    window = WINDOW.replace("size =", 'time = "processing"\nsize =')
    events = '[[test.input]]\nat = "30s"\nevents = [{ id = 1 }]\n'
    before = 'until = "59s"\n' + events + expect('sink = "counts"', "none = true")
    assert config.told(before, PIPELINE + window) == []
    after = 'until = "60s"\n' + events + expect('sink = "counts"', "count = 1")
    assert config.told(after, PIPELINE + window) == []


def test_sources_that_end_close_windows(config: Config) -> None:
    day_ahead = "[[test.input]]\ntimestamp = 2025-11-19T10:28:00Z\nevents = [{ id = 1 }]\n"
    assert (
        config.told(
            "end = true\n" + day_ahead + expect('sink = "counts"', "count = 1"), PIPELINE + WINDOW
        )
        == []
    )


def test_the_wall_clock_starts_where_the_test_says(config: Config) -> None:
    started = "start = 2001-09-09T01:46:40Z\n" + "[[test.input]]\nevents = ['x']\n"
    letter = 'rows = [{ failed_at = "2001-09-09T01:46:40Z", timestamp = 1000000000000 }]'
    assert config.told(started + expect(DEAD, letter)) == []


def test_when_a_row_came(config: Config) -> None:
    slow = '[[test.fault]]\nsink = "out"\nerror = "retryable"\ntimes = 2\n'
    assert config.told(TWO_EVENTS + slow + expect(OUT, 'by = "5s"', "none = true")) == []
    late = expect(OUT, 'by = "5s"', "rows = [{ id = 1 }]")
    (mismatch,) = config.mismatches(TWO_EVENTS + slow + late)
    assert mismatch.message == "sink out: no row by 5s like the expected"
    assert mismatch.lines == ('- {"id":1}', "  it came at 6s")


# --- faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "letters", "stored"),
    [
        ('error = "retryable"\ntimes = 3', "none = true", 2),
        ('error = "retryable"\nlasts = "10s"', "none = true", 2),
        ('error = "retryable"', "rows = [{ attempts = 4 }, { retry_count = 3 }]", 0),
        (
            'error = "rejected"\nwhere = { id = 2 }\nreason = "too_large"',
            'rows = [{ stage = "out", reason = "too_large", event = { id = 2 } }]\ncount = 1',
            1,
        ),
        (
            'error = "permanent"\nwhere = { id = 1 }',
            'rows = [{ reason = "permanent", original_message = { id = 1 } }]\ncount = 1',
            1,
        ),
        ('error = "permanent"\nat = "10s"', "none = true", 2),
    ],
)
def test_faults_of_a_sink(fault: str, letters: str, stored: int, config: Config) -> None:
    test = TWO_EVENTS + f'[[test.fault]]\nsink = "out"\n{fault}\n'
    assert config.told(test + expect(OUT, f"count = {stored}") + expect(DEAD, letters)) == []


def test_a_dead_letter_that_its_sink_refuses(config: Config) -> None:
    test = "[[test.input]]\nevents = ['x']\n" + expect('sink = "dead"', "none = true")
    fault = '[[test.fault]]\nsink = "dead"\nerror = "rejected"\n'
    assert config.told(test + fault) == []
    # A codec that cannot say it: nobody asked for this refusal.
    letters = PIPELINE.replace(
        'plugin = "stdout"\ninputs', 'plugin = "stdout"\ncodec = "dumb"\ninputs'
    )
    (mismatch,) = config.mismatches(test, config.plugin("dumb", DUMB) + letters)
    assert mismatch.message == "dead letters that their own sink refused: 1"
    assert '"refused_because":"1 rows rejected' in mismatch.lines[0]


def test_what_is_never_delivered_fails(config: Config) -> None:
    test = TWO_EVENTS + '[[test.fault]]\nsink = "out"\nerror = "misconfigured"\n'
    (mismatch,) = config.mismatches(test + expect(OUT, "none = true"))
    assert mismatch.message == "not everything was delivered 600s after the last event arrived"
    assert mismatch.lines == ("out: a fault of the test",)
    # Whoever says how long to wait is content with what came by then.
    assert config.told('until = "1m"\n' + test + expect(OUT, "none = true")) == []


def test_a_pipeline_that_fails(config: Config) -> None:
    stops = PIPELINE + '[[pipeline.events.policy]]\nplugin = "stop"\n'
    test = "[[test.input]]\nevents = ['x']\n" + expect(OUT, "none = true")
    (told,) = config.told(test, stops)
    assert told.startswith("the pipeline failed: in: ")
    assert config.told('fails = "in: "\n' + test, stops) == []
    (told,) = config.told('fails = "on the moon"\n' + test, stops)
    assert told == "expected the pipeline to fail with: on the moon"
    (told,) = config.told('fails = "in"\n' + TWO_EVENTS + expect(OUT, "count = 2"))
    assert told == "the pipeline did not fail, expected: in"


ODD = """
from streamd.api import FunctionStep, Plugin, StageConfig, hookimpl

class Odd(FunctionStep):
    class Config(StageConfig, frozen=True): ...
    def __init__(self, config, context):
        super().__init__(lambda event: {"id": event["id"], "odd": object()})

@hookimpl
def streamd_plugins():
    return [Plugin("transform", "odd", Odd)]
"""


DUMB = """
from streamd.api import Plugin, Reject, Rejected, StageConfig, hookimpl

class Dumb:
    content_type, extension = "text/plain", ".txt"
    class Config(StageConfig, frozen=True): ...
    def __init__(self, config, context): ...
    def decode(self, raws):
        return [], {}
    def encode(self, values):
        raise Rejected({row: Reject("mute", "no words") for row in range(len(values))})

@hookimpl
def streamd_plugins():
    return [Plugin("codec", "dumb", Dumb)]
"""


@pytest.mark.parametrize(
    ("sink", "stored"), [('plugin = "stdout"', 0), ('plugin = "sqlite"\npath = "x"', 1)]
)
def test_what_a_sinks_codec_cannot_say_is_refused_as_for_real(
    sink: str, stored: int, config: Config
) -> None:
    pipeline = config.plugin("odd", ODD) + PIPELINE.replace(
        'plugin = "map"\nset = { seen = "true" }', 'plugin = "odd"'
    ).replace('id = "out"\nplugin = "stdout"', f'id = "out"\n{sink}')
    letter = """rows = ['{"reason": "not_encodable", "stage": "out"}']"""
    test = "[[test.input]]\nevents = [{ id = 1 }]\n" + expect(OUT, f"count = {stored}")
    assert config.told(test + expect(DEAD, "none = true" if stored else letter), pipeline) == []


# --- the environment -------------------------------------------------------------------------


def test_a_test_sees_its_own_environment_and_no_secret(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAG", "the machine's")
    pipeline = PIPELINE.replace('"true"', '"\\"${TAG:?say which}\\""').replace(
        'group_id = "g"',
        'group_id = "g"\nsecurity_protocol = "SASL_SSL"\nsasl_username = "me"\n'
        'sasl_password = "@{file:nowhere}"',
    )
    test = TWO_EVENTS + expect(OUT, 'rows = [{ seen = "mine" }]')
    assert config.errors(test, pipeline) == [
        "pipeline.events.transform[0].set.seen: environment variable TAG is not set: say which"
        " (a test sees only the variables of its env)"
    ]
    assert config.told('env = { TAG = "mine" }\n' + test, pipeline) == []


# --- tests that are wrong --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "error"),
    [
        ("", "test[0].expect: required, but not given"),
        ("expect = []", "test[0].expect: expected list of length >= 1"),
        (expect('snik = "out"'), 'unknown key, did you mean "sink"?'),
        (expect(OUT), "test[0].expect[0]: expects nothing: give rows, count or none"),
        (expect(OUT, "none = true", "count = 1"), "test[0].expect[0].none: contradicts"),
        (expect("count = 1"), "test[0].expect[0]: say where to look"),
        (expect(OUT, 'step = "tag"', "count = 1"), "test[0].expect[0]: say where to look"),
        (expect('sink = "uot"', "count = 1"), 'no sink is called "uot", did you mean "out"?'),
        (
            expect('stream = "tags"', "count = 1"),
            'no stage reads a stream called "tags"; known: dead_letters, main',
        ),
        (expect(OUT, "rows = ['{']"), "test[0].expect[0].rows[0]: a row in a string is JSON text"),
        ('pipeline = "event"\n' + expect(OUT, "count = 1"), 'did you mean "events"?'),
        (
            '[[test.input]]\nsource = "inn"\nevents = []\n' + expect(OUT, "count = 1"),
            'test[0].input[0].source: no source is called "inn", did you mean "in"?',
        ),
        (
            "[[test.input]]\nevents = [{ x = nan }]\n" + expect(OUT, "count = 1"),
            "test[0].input[0].events[0]: the codec of the source cannot encode it",
        ),
        (
            '[[test.fault]]\nsink = "o"\nerror = "odd"\n' + expect(OUT, "count = 1"),
            "test[0].fault[0].error: expected",
        ),
        (
            '[[test.fault]]\nsink = "o"\nerror = "permanent"\n' + expect(OUT, "count = 1"),
            'no sink is called "o"',
        ),
        ("start = 2025-11-19T10:30:00\n" + expect(OUT, "count = 1"), "test[0].start: "),
        (
            expect(OUT, "count = 1") + '[[test]]\nname = "it"\n' + expect(OUT, "count = 1"),
            "test[1].name: another test has this name already",
        ),
    ],
)
def test_errors_of_a_test(test: str, error: str, config: Config) -> None:
    (told,) = config.errors(test)
    assert error in told


def test_errors_of_tests_and_of_what_they_test_come_together(config: Config) -> None:
    broken = PIPELINE.replace("topics", "topic")
    errors = config.errors(expect('sink = "out"', "cuont = 1"), broken)
    assert len(errors) == 1  # the test was not read: nothing is loaded for it
    errors = config.errors(
        expect(OUT, "count = 1") + '[[test]]\nname = "other"\nuntil = 3\n', broken
    )
    assert [error.partition(":")[0] for error in errors] == [
        "pipeline.events.source.topic",
        "test[1].expect",
        "test[1].until",
    ]


def test_a_file_without_tests_has_none(config: Config) -> None:
    config.path.write_text(PIPELINE)
    assert read(config.path) == []
    config.path.write_text('test = "x"\n' + PIPELINE)
    with pytest.raises(SettingsError, match="expected tables"):
        read(config.path)
