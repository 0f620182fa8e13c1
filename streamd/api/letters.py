"""Dead letters in the store of a sink: to be read again, and cleared by whoever deals with them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

from streamd.api.powers import preparing
from streamd.api.roles import Codec


class StoredLetter(Struct, frozen=True):
    """A dead letter as it stands in a store.

    `place` names where it stands (a key, a row, an offset). `version` is another one when
    something else has been written to the same place. `document` is what the engine wrote; where
    it cannot be read it is empty, and `fault` says why.
    """

    place: str
    version: str
    document: dict[str, Any]
    fault: str = ""


def decode_letter(codec: Codec, raw: bytes) -> dict[str, Any]:
    """The document that a sink has encoded, with a codec that needs no preparing.

    Raises ValueError if it is none.
    """
    (value,), rejects = codec.decode([raw])
    if rejects:
        raise ValueError(rejects[0].message)
    if not isinstance(value, dict):
        raise ValueError(f"not a document but a {type(value).__name__}")
    return value


async def read_letter(codec: Codec, raw: bytes) -> dict[str, Any]:
    """The same with any codec, also one that has to be prepared.

    Raises ValueError if it is none, Retryable or Misconfigured if the codec cannot tell.
    """
    if (asking := preparing(codec)) is not None:
        await asking.prepare_to_decode([raw])
    return decode_letter(codec, raw)


class DeadLetterStore(Protocol):
    """An open store. The daemon may write to it at the same time."""

    def read(self, after: str = "") -> AsyncIterator[StoredLetter]:
        """Every letter in the order of the store, from behind this place on.

        Letters that are removed meanwhile do not disturb it. Raises StreamdError.
        """
        ...

    async def remove(self, letters: Sequence[StoredLetter]) -> int:
        """Take letters out for good; returns how many.

        One that has been written anew since it was read stays, and is not counted. Raises
        StreamdError; some of them may be gone then.
        """
        ...


@runtime_checkable
class KeepsDeadLetters(Protocol):
    """A sink whose store can be read and cleared. Serves `streamd dlq`."""

    def dead_letters(self) -> AbstractAsyncContextManager[DeadLetterStore]:
        """The store, open on its own; called on a stage that is not entered.

        Entering it raises StreamdError if the settings leave nothing that could be read back.
        """
        ...


@runtime_checkable
class NeedsOrder(Protocol):
    """A sink that may take an event for stored because it has stored later ones of its partition.

    Dead letters that come back are not sent into it while `needs_order` is true.
    """

    needs_order: bool
