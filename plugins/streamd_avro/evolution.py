"""How schemas may change: compatibility levels, and the two sets of rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

from streamd_avro.compatibility import Problem, problems_of_reading
from streamd_avro.guidelines import problems_of_change
from streamd_avro.parsing import parse
from streamd_avro.schema import Type

Mode = Literal["guideline", "avro"]
Level = Literal[
    "NONE",
    "BACKWARD",
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
]
LEVELS: tuple[Level, ...] = get_args(Level)

_Check = Callable[[Type, Type], list[Problem]]
_BACKWARD: dict[Mode, _Check] = {
    "avro": lambda old, new: problems_of_reading(reader=new, writer=old),
    "guideline": lambda old, new: problems_of_change(old, new, "backward"),
}
_FORWARD: dict[Mode, _Check] = {
    "avro": lambda old, new: problems_of_reading(reader=old, writer=new),
    "guideline": lambda old, new: problems_of_change(old, new, "forward"),
}


class SchemaEvolution:
    """Whether a schema (a dict, list or string as in JSON) may follow another.

    The mode `guideline` applies the team's guidelines, `avro` the rules by which Avro reads. All
    methods raise SchemaError if a schema is none.
    """

    @staticmethod
    def is_backward_compatible(old: Any, new: Any, mode: Mode = "guideline") -> bool:
        """Whether the new schema can read what the old one wrote."""
        return not SchemaEvolution.problems(old, new, "BACKWARD", mode)

    @staticmethod
    def is_forward_compatible(old: Any, new: Any, mode: Mode = "guideline") -> bool:
        """Whether the old schema can read what the new one writes."""
        return not SchemaEvolution.problems(old, new, "FORWARD", mode)

    @staticmethod
    def is_fully_compatible(old: Any, new: Any, mode: Mode = "guideline") -> bool:
        """Whether each can read what the other writes."""
        return not SchemaEvolution.problems(old, new, "FULL", mode)

    @staticmethod
    def problems(old: Any, new: Any, level: Level, mode: Mode = "guideline") -> list[Problem]:
        """Each broken rule with the field that it is about."""
        return problems_at_level(level, [parse(old)], parse(new), mode)


def problems_at_level(
    level: Level, earlier: Sequence[Type], new: Type, mode: Mode
) -> list[Problem]:
    """What keeps a schema from following others, the latest of which comes last."""
    found = []
    for old in earlier if level.endswith("_TRANSITIVE") else earlier[-1:]:
        if level.startswith(("BACKWARD", "FULL")):
            found += _BACKWARD[mode](old, new)
        if level.startswith(("FORWARD", "FULL")):
            found += _FORWARD[mode](old, new)
    return list(dict.fromkeys(found))
