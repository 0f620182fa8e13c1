"""Answers of something slow, each asked for once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Generic, TypeVar

import anyio

from streamd.api import Retryable
from streamd_avro.schema import NotRegisteredError, SchemaError

K = TypeVar("K")
V = TypeVar("V")

FORGET = 30.0
"""Seconds after which something that was not there is asked for again."""

_AT_ONCE = 8
_MANY_ABSENT = 10_000


class Lookups(Generic[K, V]):
    """Answers by key: `found` for good, `absent` is why there is none, for a while."""

    def __init__(self, ask: Callable[[K], Awaitable[V]], within: float) -> None:
        """`ask` raises NotRegisteredError or SchemaError if there is no such thing. `within` is
        the longest time of one `learn`, in seconds."""
        self._ask = ask
        self._within = within
        self.found: dict[K, V] = {}
        self.absent: dict[K, Exception] = {}
        self._looked: dict[K, float] = {}
        self._one = anyio.Lock()

    async def learn(self, keys: Collection[K]) -> None:
        """Ask for those of these keys of which nothing is known.

        Raises Retryable if the time is over, or what else `ask` has raised. What was answered
        until then stays known, also when it is cancelled.
        """
        if self._unknown(keys):
            # Who comes second finds what the first one has learnt.
            async with self._one:
                await self._learn(self._unknown(keys))

    def _unknown(self, keys: Collection[K]) -> list[K]:
        new = [key for key in dict.fromkeys(keys) if key not in self.found]
        if not new or not self._looked:
            return new
        old = anyio.current_time() - FORGET
        return [key for key in new if self._looked.get(key, old) <= old]

    async def _learn(self, keys: list[K]) -> None:
        self._forget()
        failures: list[Exception] = []
        places = anyio.Semaphore(_AT_ONCE)
        with anyio.move_on_after(self._within) as in_time:
            async with anyio.create_task_group() as group:

                async def learn(key: K) -> None:
                    async with places:
                        try:
                            await self._learn_one(key)
                        except Exception as error:
                            failures.append(error)
                            # The others would hardly fare better.
                            group.cancel_scope.cancel()

                for key in keys:
                    group.start_soon(learn, key)
        if failures:
            raise failures[0]
        if in_time.cancelled_caught:
            raise Retryable(f"no answer within {self._within:g} s")

    async def _learn_one(self, key: K) -> None:
        try:
            self.found[key] = await self._ask(key)
        except (NotRegisteredError, SchemaError) as error:
            self.absent[key] = error.with_traceback(None)
            self._looked[key] = anyio.current_time()

    def _forget(self) -> None:
        """Keep what is absent from growing for ever; what is fresh may be about to be used."""
        if len(self.absent) > _MANY_ABSENT:
            old = anyio.current_time() - FORGET
            self._looked = {key: at for key, at in self._looked.items() if at > old}
            self.absent = {key: self.absent[key] for key in self._looked}
