"""The struct validator: a type of the user's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.api import FAILED, ConfigError, Step
from streamd.testing import batch_of, sample_event, stage_context
from streamd.testing.contracts.step import StepContract, StepSubject
from streamd_events.problems import compile_type, problems
from streamd_events.struct_validator import StructValidator
from tests.plugins.streamd_events.helpers import Outcome, outcome, patient


class Item(msgspec.Struct, forbid_unknown_fields=True):
    sku: Annotated[str, msgspec.Meta(pattern="^[A-Z]+$")]
    count: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1


class Node(msgspec.Struct):
    name: str
    children: list[Node] = []


class Order(msgspec.Struct, rename="camel"):
    order_id: int
    items: Annotated[list[Item], msgspec.Meta(min_length=1)]
    kind: Literal["web", "shop"] = "web"
    prices: dict[str, float] = {}
    tree: Node | None = None
    point: tuple[int, int] | None = None
    either: int | str | None = None


class Picky(msgspec.Struct):
    n: int

    def __post_init__(self) -> None:
        if self.n == 1:
            raise ValueError("one is not enough")
        if self.n == 2:
            raise KeyError("two")


class Sample(msgspec.Struct):
    id: str
    payload: dict[str, Any]


@pytest.fixture(autouse=True)
def shop() -> Iterator[None]:
    module = ModuleType("shop_of_tests")
    for cls in (Item, Node, Order, Picky, Sample):
        setattr(module, cls.__name__, cls)
    module.__dict__["number"] = 5
    sys.modules["shop_of_tests"] = module
    yield
    del sys.modules["shop_of_tests"]


def make(name: str, **settings: Any) -> StructValidator:
    config = StructValidator.Config(type=f"shop_of_tests.{name}", **settings)
    return StructValidator(config, stage_context("validate"))


def check(name: str, *values: Any, **settings: Any) -> Outcome:
    return outcome(make(name, **settings), batch_of(values, raws=[b""] * len(values)))


class Subject(StepSubject):
    def make(self) -> Step:
        return make("Sample")


class TestContract(StepContract):
    @pytest.fixture
    def subject(self) -> StepSubject:
        return Subject()


GOOD = {"orderId": 1, "items": [{"sku": "A"}], "tree": {"name": "a", "children": [{"name": "b"}]}}


def test_events_pass_as_they_came() -> None:
    value = {**GOOD, "unknown": [1]}
    assert check("Order", value).passed[0] is value


def test_every_violation_is_named() -> None:
    bad = {
        "items": [{"sku": "a", "count": 10}, {"count": 0, "size": 1}, 5, {"sku": "B"}],
        "kind": "mail",
        "prices": {"a": 1.5, "b c": "x"},
        "tree": {"name": "a", "children": [{"children": [{"name": 5}]}]},
        "point": [1, "2"],
        "either": [],
    }
    found = check("Order", GOOD, bad)
    assert list(found.passed) == [0]
    assert [(violation.path, violation.message) for violation in found.rejects[1].violations] == [
        ("$.orderId", "a required field is missing"),
        ("$.items[0].sku", "Expected `str` matching regex '^[A-Z]+$'"),
        ("$.items[0].count", "Expected `int` <= 9"),
        ("$.items[1].sku", "a required field is missing"),
        ("$.items[1].count", "Expected `int` >= 1"),
        ("$.items[1].size", "the field is unknown"),
        ("$.items[2]", "Expected `object`, got `int`"),
        ("$.kind", "expected one of web, shop"),
        ('$.prices["b c"]', "Expected `float`, got `str`"),
        ("$.tree.children[0].name", "a required field is missing"),
        ("$.tree.children[0].children[0].name", "Expected `str`, got `int`"),
        ("$.point[1]", "Expected `int`, got `str`"),
        ("$.either", "Expected `int | str | null`, got `array`"),
    ]
    assert found.rejects[1].reason == "missing_field"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"items": []}, "out_of_range"),
        ({"items": [{"sku": "A", "count": 0}]}, "out_of_range"),
        ({"items": [{"sku": "a"}]}, "invalid_format"),
        ({"items": [{"sku": "A", "b": 1}]}, "unknown_field"),
        ({"kind": "mail"}, "not_allowed"),
        ({"orderId": "1"}, "wrong_type"),
        ({"orderId": None}, "wrong_type"),
    ],
)
def test_reasons(changes: dict[str, Any], reason: str) -> None:
    assert check("Order", {**GOOD, **changes}).rejects[0].reason == reason


def test_what_a_class_checks_by_itself_counts_too() -> None:
    found = check("Picky", {"n": 0}, {"n": 1}, {"n": 2}, {"n": "x"})
    assert list(found.passed) == [0]
    assert found.rejects[1].reason == "invalid"
    assert "one is not enough" in found.rejects[1].message
    assert found.rejects[2].error_type == "KeyError"
    assert "__post_init__" in found.rejects[2].traceback
    assert found.rejects[3].reason == "wrong_type"


def test_structs_of_another_class_are_data() -> None:
    class Other(msgspec.Struct):
        n: int

    assert list(check("Picky", Other(5), Other(1)).rejects) == [1]


def test_modes() -> None:
    assert check("Picky", {}, mode="warn").statuses == {0: FAILED}
    assert check("Picky", {}, mode="disabled").passed == {0: {}}
    assert check("Picky", {}, enabled=False).passed == {0: {}}


@pytest.mark.parametrize(
    "path", ["shop_of_tests.Nothing", "no_such_module.A", "Order", "", "shop_of_tests.number", "."]
)
def test_a_type_that_is_none_is_a_config_error(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        StructValidator(StructValidator.Config(type=path), stage_context("validate"))
    assert caught.value.path == "type"


def test_a_colon_before_the_name_works_too() -> None:
    config = StructValidator.Config(type="shop_of_tests:Order")
    StructValidator(config, stage_context("validate"))


keys = st.sampled_from(["orderId", "items", "kind", "prices", "tree", "point", "either", "name"])
values = st.recursive(
    st.none() | st.integers(0, 10) | st.sampled_from(["A", "a", "web"]) | st.floats(0, 1),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys | st.sampled_from(["sku", "count", "children", "x"]), inner)
    ),
    max_leaves=10,
)


@patient
@given(st.dictionaries(keys, values))
def test_the_full_list_agrees_with_msgspec(value: dict[str, Any]) -> None:
    try:
        msgspec.convert(value, Order)
        valid = True
    except msgspec.ValidationError:
        valid = False
    assert (not problems(compile_type(Order), value)) == valid


def test_sample_events_of_the_contract_fit() -> None:
    assert check("Sample", sample_event(1)).rejects == {}
