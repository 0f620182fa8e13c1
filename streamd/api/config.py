"""The base of every stage's settings, and the types that settings are made of.

A stage declares its settings as one frozen Struct. Each field is annotated with its type and a
description, which becomes the documentation, the sample and the JSON Schema of the stage:

    class Config(StageConfig):
        topic: Annotated[str, doc("Topic to write to.", example="events")]
        linger: Annotated[Duration, doc("Wait for more records.")] = Duration("5ms")
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Self

import msgspec

_LONGEST = 1e11  # seconds, 3,000 years: milliseconds of it are far from the end of 64 bits
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SIZE_UNITS = {"B": 1}
_DIGITS = 20
for _power, _letter in enumerate("KMGT", start=1):
    _SIZE_UNITS[f"{_letter}B"] = 1000**_power
    _SIZE_UNITS[f"{_letter}iB"] = 1024**_power
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B|B)")


class StageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base class of a plugin's settings: immutable, compared by value, unknown keys refused.

    The methods tell the engine how a stage is wired before it exists; most plugins need none.
    """

    def reads(self) -> tuple[str, ...]:
        """Streams that the settings themselves name as inputs (a join's `left` and `right`).

        Empty: the stage reads what its `inputs` say.
        """
        return ()

    def emits(self, stage: str) -> tuple[str, ...]:  # noqa: ARG002
        """Streams that the stage with this id may write beside its own output."""
        return ()

    def claims(self) -> tuple[str, ...]:
        """What no other stage of the daemon can have as well, in words: "the address
        127.0.0.1:8000", "the file events.jsonl". Two stages that claim the same are refused.
        """
        return ()

    def passes_on(self) -> bool:
        """Whether the stage ever writes its own output.

        Where it does not (it sends every event to streams that `emits` names), nothing is left in
        the stream that it reads, and `output` has no meaning.
        """
        return True

    def notes(self) -> tuple[str, ...]:
        """What a person should know before such a stage runs: `streamd check` prints it."""
        return ()

    def state_key(self) -> str:
        """Identifies what the stage's state means: state is kept only while this stays equal.

        By default every setting counts.
        """
        settings = msgspec.json.encode(self, enc_hook=repr, order="sorted")
        return hashlib.blake2b(settings, digest_size=16).hexdigest()


def doc(description: str, *, example: Any = None) -> msgspec.Meta:
    """The description of a setting, and an example for a required one that has no default."""
    examples = None if example is None else [example]
    return msgspec.Meta(description=description, examples=examples)


class Duration(float):
    """A length of time in seconds, written `"250ms"`, `"30s"`, `"5m"`, `"1h30m"` or `"7d"`."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Raises ValueError if `text` is not a duration."""
        if not isinstance(text, str):
            raise ValueError(f'expected a duration such as "30s", got {text!r}')
        at, seconds = 0, 0.0
        for match in _DURATION.finditer(text):
            if match.start() != at:
                break
            seconds += float(match[1]) * _DURATION_UNITS[match[2]]
            at = match.end()
        if not text or at != len(text):
            raise ValueError(f'expected a duration such as "30s", got {text!r}')
        if seconds > _LONGEST:
            raise ValueError(f"a duration of more than 3,000 years: {text:.30}")
        self = super().__new__(cls, seconds)
        self.text = text
        return self

    def __repr__(self) -> str:
        return f"Duration({self.text!r})"


class Size(int):
    """A number of bytes, written `"512B"`, `"64MiB"` or `"1.5GB"`."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Raises ValueError if `text` is not a size."""
        match = _SIZE.fullmatch(text) if isinstance(text, str) else None
        if match is None or len(match[1]) > _DIGITS:
            raise ValueError(f'expected a size such as "64MiB", got {text!r:.50}')
        self = super().__new__(cls, round(float(match[1]) * _SIZE_UNITS[match[2]]))
        self.text = text
        return self

    def __repr__(self) -> str:
        return f"Size({self.text!r})"


class Secret(str):
    """A setting that is never printed: its repr is masked. Use it as the string that it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class ConfigFile(str):
    """A file that belongs to the configuration: a schema, a certificate.

    A relative name in a configuration is one beside the file that holds it, wherever the daemon
    runs; the plugin is given a name that can be opened. Files that events come from or go to are
    no such files: their names are strings.
    """

    __slots__ = ()
