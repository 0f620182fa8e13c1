"""Whatever a file holds, the loader answers with settings or with a list of errors."""

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as options
from hypothesis import strategies as st

from streamd.catalog import config_of
from streamd.settings import Problem, Settings, SettingsError, load
from streamd.settings.keys import STAGE_ROLES, StageKeys
from streamd.settings.model import DaemonOptions, PipelineOptions
from streamd.settings.toml import value_text
from tests.unit.settings import fakes

PLUGINS = [plugin.name for plugin in fakes.streamd_plugins()]
KEYS = [
    *StageKeys.__struct_fields__,
    *(field for p in fakes.streamd_plugins() for field in config_of(p).__struct_fields__),
]
SCALARS = st.one_of(
    st.sampled_from(
        ["main", "x", "dead_letters", "30s", "1MiB", "${A}", "${B:-3}", "${NONE}", "@{env:A}"]
    ),
    st.sampled_from(PLUGINS),
    st.integers(-1, 5),
    st.floats(allow_nan=False),
    st.booleans(),
    st.text(max_size=3),
    st.dates(),
)


def tables(keys: list[str], values: Any) -> Any:
    return st.dictionaries(st.sampled_from([*keys, "other"]), values, max_size=5)


VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | tables(KEYS, inner), max_leaves=6
)
STAGES = tables(KEYS, VALUES).flatmap(
    lambda table: st.sampled_from(PLUGINS).map(lambda name: {"plugin": name, "id": "x", **table})
)
PIPELINES = st.builds(
    lambda own, stages: own | stages,
    tables(list(PipelineOptions.__struct_fields__), VALUES),
    st.dictionaries(
        st.sampled_from([*STAGE_ROLES, "policy"]),
        st.lists(STAGES, max_size=3) | STAGES | VALUES,
        max_size=6,
    ),
)
FILES = st.fixed_dictionaries(
    {},
    optional={
        "streamd": tables(list(DaemonOptions.__struct_fields__), VALUES),
        "pipeline": st.dictionaries(st.sampled_from(["a", "b c"]), PIPELINES | VALUES, max_size=2)
        | VALUES,
        "other": VALUES,
    },
)


@options(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(FILES)
def test_any_file_is_answered(tmp_path: Path, data: dict[str, Any]) -> None:
    path = tmp_path / "streamd.toml"
    text = "".join(f"{key} = {value_text(value)}\n" for key, value in data.items())
    path.write_text(text.replace("$${", "${"), encoding="utf-8")
    lines = range(1, len(data) + 2)
    try:
        answer: Settings | tuple[Problem, ...] = load(path, {"A": "1"})
    except SettingsError as error:
        answer = error.problems
    if isinstance(answer, tuple):
        assert answer
        assert {problem.line for problem in answer} <= set(lines)
