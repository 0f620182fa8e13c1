"""Steps that change a stream: filter, map, split, explode, dedupe, python."""

from streamd.api import Condition, Plugin, hookimpl
from streamd_expressions import compile_expression
from streamd_transforms.dedupe import Dedupe
from streamd_transforms.explode import Explode
from streamd_transforms.filter import Filter
from streamd_transforms.map import Map
from streamd_transforms.python import Python
from streamd_transforms.split import Split

__all__ = ["Dedupe", "Explode", "Filter", "Map", "Python", "Split"]


@hookimpl
def streamd_plugins() -> list[Plugin]:
    return [
        Plugin("transform", "filter", Filter),
        Plugin("transform", "map", Map),
        Plugin("transform", "split", Split),
        Plugin("transform", "explode", Explode),
        Plugin("transform", "dedupe", Dedupe),
        Plugin("transform", "python", Python),
    ]


@hookimpl
def streamd_condition(text: str) -> Condition:
    judge = compile_expression(text).filter_indices
    return lambda values, errors: judge(values, None, errors)
