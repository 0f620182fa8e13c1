"""The `struct` validator."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Self

import msgspec

import streamd.api
from streamd.api import Batch, ConfigError, Reject, Rejects, StageContext, doc
from streamd_events.plain import to_plain
from streamd_events.problems import Problem, compile_type, problems, reason_of
from streamd_events.verdicts import ModeConfig, Verdicts, reject_of


class StructValidator:
    """Check events against a msgspec Struct of your own."""

    class Config(ModeConfig, frozen=True, kw_only=True):
        type: Annotated[
            str,
            doc("Dotted path to a msgspec Struct in an importable module.", example="shop.Order"),
        ]

    def __init__(self, config: Config, context: StageContext) -> None:
        """Raises ConfigError if the type cannot be imported or is no msgspec Struct."""
        self._verdicts = Verdicts(config, context)
        self._type = load_struct(config.type)
        self._types: Any = list[self._type]  # type: ignore[name-defined]
        self._walker = compile_type(self._type)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        """Events stay as they are: fields that the Struct does not know are not lost."""
        if not self._verdicts.active:
            return [batch]
        return self._verdicts.apply(batch, self._judge(batch.values))

    def _judge(self, values: Sequence[Any]) -> dict[int, Reject]:
        try:
            msgspec.convert(values, self._types)
        except Exception:  # __post_init__ is the user's: it may raise anything
            judged = ((row, self._judge_one(to_plain(value))) for row, value in enumerate(values))
            return {row: reject for row, reject in judged if reject is not None}
        return {}

    def _judge_one(self, value: Any) -> Reject | None:
        try:
            msgspec.convert(value, self._type)
        except msgspec.ValidationError as error:
            first = str(error)
        except Exception as error:
            return streamd.api.reject_of(error)
        else:
            return None
        return reject_of(problems(self._walker, value) or [Problem(reason_of(first), "$", first)])


def load_struct(path: str) -> type[msgspec.Struct]:
    """The Struct of a dotted path such as `shop.orders.Order`.

    Raises ConfigError.
    """
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # the module is the user's: importing it may raise anything
        raise ConfigError(f"cannot import {path}: {error}", path="type") from error
    if not (isinstance(found, type) and issubclass(found, msgspec.Struct)):
        raise ConfigError(f"{path} is not a msgspec Struct", path="type")
    return found
