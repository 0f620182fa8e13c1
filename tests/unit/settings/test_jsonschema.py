"""The JSON Schema says of a file what the loader says."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from streamd.catalog import Catalog
from streamd.settings import jsonschema

GOOD = """
[streamd]
log_level = "${LEVEL:-info}"
[pipeline.events]
batch_events = "${N}"
max_bytes = "1.5GiB"
[[pipeline.events.policy]]
plugin = "retry"
max_retries = "${MAX_RETRIES:-3}"
[pipeline.events.source]
plugin = "numbers"
topics = ["a", "${B}"]
every = "1m30s"
rate = 5
[[pipeline.events.window]]
plugin = "tumble"
id = "minutes"
[[pipeline.events.sink]]
id = "store"
plugin = "store"
password = "@{env:PW}"
inputs = ["main", "minutes"]
codec = { plugin = "json", indent = 2 }
columns = { a = { field = "x" }, b = "y" }
batch = { rows = 5, bytes = "1KiB" }
[[pipeline.events.sink.policy]]
plugin = "block"
[[test]]
anything = 1
"""


@pytest.fixture(scope="module")
def validator() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        point = EntryPoint("fakes", "tests.unit.settings.fakes", "streamd")
        patch.setattr("streamd.discovery.installed", lambda group: [point])
        return jsonschema_rs.validator_for(jsonschema.document(Catalog.load()))


def test_a_good_file_is_accepted(validator: Any) -> None:
    assert [str(error) for error in validator.iter_errors(tomllib.loads(GOOD))] == []


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("[streamd]", "[streemd]"),
        ('log_level = "${LEVEL:-info}"', 'log_level = "loud"'),
        ('batch_events = "${N}"', 'batch_events = "many"'),
        ('"1.5GiB"', '"1.5 parsecs"'),
        ('plugin = "retry"', 'plugin = "retri"'),
        ("max_retries", "max_retris"),
        ('plugin = "numbers"', ""),
        ('topics = ["a", "${B}"]', ""),
        ('topics = ["a", "${B}"]', "topics = [5]"),
        ('every = "1m30s"', "every = 90"),
        ("rate = 5", "rate = true"),
        ('plugin = "tumble"\nid = "minutes"', 'plugin = "tumble"'),
        ('plugin = "store"', 'plugin = "store"\noutput = "x"'),
        ("indent = 2", 'indent = "two"'),
        ("{ field = ", "{ feld = "),
        ("rows = 5", "rows = 0"),
        ("[[pipeline.events.window]]", "[pipeline.events.window]"),
        ("[pipeline.events.source]", "[pipeline.events.sauce]"),
    ],
)
def test_a_bad_file_is_refused(good: str, bad: str, validator: Any) -> None:
    assert good in GOOD
    assert not validator.is_valid(tomllib.loads(GOOD.replace(good, bad, 1)))


@pytest.mark.parametrize("case", ["empty", "keys", "shapes", "types"])
def test_the_corpus_of_bad_files(case: str, validator: Any) -> None:
    """Those whose faults can be seen without knowing streams, variables and constructors."""
    text = (Path(__file__).parent / "cases" / f"{case}.toml").read_text()
    assert not validator.is_valid(tomllib.loads(text))
