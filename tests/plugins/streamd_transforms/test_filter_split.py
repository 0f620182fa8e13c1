"""Filter and split: which events go where, and what happens to those that do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from streamd.api import ConfigError
from streamd.testing import RecordedMetrics, batch_of
from streamd_transforms import Filter, Split
from tests.plugins.streamd_transforms.helpers import apply, build, passes_untouched, process

EVENTS: list[Any] = [{"n": 1}, {"n": 20}, {"n": "x"}, {"n": None}, {}, "text", {"n": 30}]


def test_filter_keeps_what_meets_the_condition() -> None:
    result = apply(Filter, EVENTS, condition="n > 10")
    assert result.values == [{"n": 20}, {"n": 30}]
    assert result.reasons == {2: "expression"}
    assert "n > 10" in result.rejects[2].message


def test_filter_drops_what_meets_the_condition_and_still_rejects_what_does_not_fit() -> None:
    result = apply(Filter, EVENTS, condition="n > 10", action="drop")
    assert result.values == [{"n": 1}, {"n": None}, {}, "text"]
    assert result.reasons == {2: "expression"}


@pytest.mark.parametrize(("condition", "action"), [("n > 0", "keep"), ("n > 9", "drop")])
def test_filter_hands_on_the_very_batch_when_all_pass(condition: str, action: str) -> None:
    step = build(Filter, condition=condition, action=action)
    assert passes_untouched(step, batch_of([{"n": 1}, {"n": 2}]))


def test_filter_counts_what_it_takes_out_and_not_what_it_rejects() -> None:
    metrics = RecordedMetrics()
    process(build(Filter, metrics, condition="n > 10"), batch_of(EVENTS))
    assert metrics.value("filtered_events_total") == 4


def test_filter_keeps_the_columns_of_the_rows_that_stay() -> None:
    step = build(Filter, condition="n != 1")
    batch = batch_of([{"n": n} for n in range(3)], keys=[b"a", b"b", b"c"], first=7)
    (result,) = process(step, batch).batches
    assert (result.offsets, result.keys) == ([7, 9], [b"a", b"c"])
    assert result.raws == [b'{"n":0}', b'{"n":2}']
    assert [result.locate(row) for row in range(2)] == [("events:0", 7), ("events:0", 9)]


ROUTES = {"big": "n > 10", "even": "n % 2 == 0"}


def test_split_takes_the_first_route_that_fits() -> None:
    result = apply(Split, [{"n": n} for n in (1, 2, 20, 21)], routes=ROUTES)
    assert result.streams == {"big": [{"n": 20}, {"n": 21}], "even": [{"n": 2}], None: [{"n": 1}]}


def test_split_takes_every_route_that_fits() -> None:
    result = apply(Split, [{"n": n} for n in (1, 2, 20)], routes=ROUTES, match="all")
    assert result.streams == {"big": [{"n": 20}], "even": [{"n": 2}, {"n": 20}], None: [{"n": 1}]}


def test_split_sends_the_rest_where_it_is_told() -> None:
    result = apply(Split, [{"n": 1}, {"n": 20}], routes=ROUTES, otherwise="small")
    assert result.streams == {"big": [{"n": 20}], "small": [{"n": 1}]}
    result = apply(Split, [{"n": 1}], routes=ROUTES, otherwise="small")
    assert result.streams == {"small": [{"n": 1}]}


def test_split_hands_on_the_very_batch_when_no_route_fits() -> None:
    assert passes_untouched(build(Split, routes=ROUTES), batch_of([{"n": 1}, {"n": 3}]))


def test_split_shares_the_columns_of_a_batch_that_goes_one_way() -> None:
    batch = batch_of([{"n": 20}, {"n": 30}])
    (result,) = process(build(Split, routes=ROUTES), batch).batches
    assert result.stream == "big"
    assert batch.stream is None
    assert result.values is batch.values


def test_split_never_sends_a_rejected_event_anywhere() -> None:
    events: list[Any] = [{"n": "x"}, {"n": 20}, {"m": 1}]
    routes = {"some": "exists(n)", "big": "n > 10"}
    result = apply(Split, events, routes=routes, match="all")
    assert result.streams == {"some": [{"n": 20}], "big": [{"n": 20}], None: [{"m": 1}]}
    assert result.reasons == {0: "expression"}


def test_split_does_not_ask_further_once_an_event_has_its_stream() -> None:
    routes = {"text": 'type(n) == "string"', "big": "n > 10"}
    result = apply(Split, [{"n": "x"}, {"n": 20}, {"n": [1]}], routes=routes)
    assert result.streams == {"text": [{"n": "x"}], "big": [{"n": 20}]}
    assert result.reasons == {2: "expression"}


def test_split_names_its_streams_for_the_wiring() -> None:
    config = Split.Config(routes={"a": "x", "b": "y"}, otherwise="c")
    assert config.emits("stage") == ("a", "b", "c")
    assert Split.Config(routes={"a": "x"}, otherwise="a").emits("stage") == ("a",)
    assert not config.passes_on()
    assert Split.Config(routes={"a": "x"}).passes_on()


@pytest.mark.parametrize(
    ("cls", "settings", "path", "message"),
    [
        (Filter, {"condition": "n >"}, "condition", "column 4"),
        (Filter, {"condition": "lowr(n)"}, "condition", "lower"),
        (Split, {"routes": {}}, "routes", "at least one"),
        (Split, {"routes": {"a": "n", "b": "n = 1"}}, "routes.b", "column 3"),
        (Split, {"routes": {"a b": "n"}}, 'routes."a b"', '"a b"'),
        (Split, {"routes": {"a": "n"}, "otherwise": ""}, "otherwise", '""'),
    ],
)
def test_a_wrong_setting_is_named(
    cls: Any, settings: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        build(cls, **settings)
    assert error.value.path == path
    assert message in str(error.value)
