"""A function of the user's own as a transform."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Awaitable, Callable, Iterable
from operator import is_
from typing import Annotated, Any, Literal

from streamd.api import (
    Batch,
    ConfigError,
    FunctionStep,
    Rejects,
    StageConfig,
    StageContext,
    doc,
)
from streamd_transforms.base import Transform


class Python(Transform):
    """Call a Python function for each event, or for each batch."""

    class Config(StageConfig, frozen=True, kw_only=True):
        function: Annotated[
            str,
            doc(
                "Dotted path of the function, module and name: my_package.events.mask. Of an event"
                " it returns the new event, None to drop it or a list of events, and never changes"
                " the one it is given.",
                example="my_package.events.mask",
            ),
        ]
        takes: Annotated[
            Literal["event", "batch"],
            doc(
                "Whether the function is of one event, or of a streamd.api.Batch: then it may be"
                " async and yields or returns batches and Rejects, as Step.process does."
            ),
        ] = "event"

    def __init__(self, config: Config, context: StageContext) -> None:  # noqa: ARG002
        function = load(config.function, "function")
        self._of_batch = function if config.takes == "batch" else None
        if self._of_batch is None and inspect.iscoroutinefunction(function):
            raise ConfigError(
                f'{config.function} is async; only takes = "batch" can wait', path="function"
            )
        self._of_event = FunctionStep(function)

    def process(
        self, batch: Batch
    ) -> Iterable[Batch | Rejects] | Awaitable[Iterable[Batch | Rejects]]:
        if self._of_batch is not None:
            given: Any = self._of_batch(batch)
            results: Iterable[Batch | Rejects] = [given] if isinstance(given, Batch) else given
            return results
        made = list(self._of_event.process(batch))
        return [batch] if len(made) == 1 and _is_same(made[0], batch) else made


def load(dotted: str, setting: str) -> Callable[..., Any]:
    """The function at a dotted path `package.module.name` (or `package.module:name`).

    Raises ConfigError if there is none, or its module cannot be imported.
    """
    module_name, _, name = dotted.replace(":", ".").rpartition(".")
    if not module_name or not all(part.isidentifier() for part in (*module_name.split("."), name)):
        raise ConfigError(
            f'expected a dotted path such as "my_package.events.mask", got "{dotted}"', path=setting
        )
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the module does when it is imported
        raise ConfigError(
            f"cannot import {module_name}: {type(error).__name__}: {error}", path=setting
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        near = difflib.get_close_matches(name, vars(module), n=1)
        hint = f", did you mean {near[0]}?" if near and function is None else ""
        what = "nothing called" if function is None else "no function"
        raise ConfigError(f"{module_name} has {what} {name}{hint}", path=setting)
    found: Callable[..., Any] = function
    return found


def _is_same(result: Batch | Rejects, batch: Batch) -> bool:
    return (
        isinstance(result, Batch)
        and len(result) == len(batch)
        and all(map(is_, result.values, batch.values))
    )
