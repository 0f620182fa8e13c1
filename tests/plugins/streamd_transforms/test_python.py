"""Python: the user's function is found, called, and cannot hurt other events."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from streamd.api import Batch, ConfigError, Reject, Rejects
from streamd.testing import batch_of
from streamd.testing.contracts.step import flatten, rejected_rows, run
from streamd_transforms import Python
from tests.plugins.streamd_transforms.helpers import apply, build, passes_untouched

NO_FUNCTION = 1


def clean(event: Any) -> Any:
    if event["n"] == 0:
        return None
    if event["n"] > 1:
        return [{"n": 1}] * event["n"]
    return {"n": 10 // (event["n"] + 1)}


def same(event: Any) -> Any:
    return event


async def later(event: Any) -> Any:
    return event


def odd_only(batch: Batch) -> Iterable[Batch | Rejects]:
    rows = [row for row, event in enumerate(batch.values) if event["n"] % 2]
    yield Rejects({0: Reject("first", "the first is never good")})
    yield batch.take([row for row in rows if row])


def whole(batch: Batch) -> Batch:
    return batch.replace([{"n": 0}] * len(batch), stream="zeros")


async def slowly(batch: Batch) -> list[Batch]:
    return [batch]


HERE = __name__


def test_an_event_is_changed_dropped_multiplied_or_rejected() -> None:
    events = [{"n": n} for n in (0, 1, 2, -1)]
    result = apply(Python, events, function=f"{HERE}.clean")
    assert result.values == [{"n": 5}, {"n": 1}, {"n": 1}]
    assert result.reasons == {3: "exception"}
    assert result.rejects[3].error_type == "ZeroDivisionError"
    assert "in clean" in result.rejects[3].traceback


def test_the_very_batch_goes_on_when_the_function_changes_nothing() -> None:
    assert passes_untouched(build(Python, function=f"{HERE}:same"), batch_of([{"n": 1}] * 2))


async def test_a_function_of_a_batch_does_what_a_step_does() -> None:
    batch = batch_of([{"n": n} for n in range(4)])
    results = await run(build(Python, function=f"{HERE}.odd_only", takes="batch"), batch)
    assert rejected_rows(results) == [0]
    assert [value for _, _, value in flatten(results)] == [{"n": 1}, {"n": 3}]
    (result,) = await run(build(Python, function=f"{HERE}.whole", takes="batch"), batch)
    assert isinstance(result, Batch)
    assert result.stream == "zeros"
    assert await run(build(Python, function=f"{HERE}.slowly", takes="batch"), batch) == [batch]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("mask", "dotted path"),
        ("a..b", "dotted path"),
        ("os.path;x", "dotted path"),
        ("no_such_package.mask", "No module named 'no_such_package'"),
        (f"{HERE}.claen", "did you mean clean?"),
        (f"{HERE}.NO_FUNCTION", "no function NO_FUNCTION"),
        (f"{HERE}.later", "async"),
    ],
)
def test_a_function_that_is_not_there_is_a_wrong_setting(function: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(Python, function=function)
    assert error.value.path == "function"
    assert message in str(error.value)


@pytest.mark.parametrize("source", ["raise RuntimeError('boom')", "def f(:", "exit('boom')"])
def test_a_module_that_fails_to_import_is_a_wrong_setting(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users_broken_module.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="cannot import users_broken_module: "):
        build(Python, function="users_broken_module.f")
    assert "users_broken_module" not in sys.modules
