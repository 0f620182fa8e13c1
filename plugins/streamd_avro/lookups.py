"""Answers of something slow, for code that cannot wait long.

A codec is called on the event loop and cannot await. So a question is asked in a thread, and the
caller waits for a bounded time only. An answer that comes too late is there at the next try.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from threading import Thread
from typing import Generic, TypeVar

from streamd.api import Retryable
from streamd_avro.schema import NotRegisteredError, SchemaError

K = TypeVar("K")
V = TypeVar("V")

PAUSE = 1.0
"""Seconds without a question after one that failed: a registry that is down must not hold up the
daemon at each try."""

FORGET = 30.0
"""Seconds after which something that was not there is asked for again."""

_AT_ONCE = 8
_MAX_ABSENT = 10_000


class Lookups(Generic[K, V]):
    """Answers by key. What was found once is never asked for again."""

    def __init__(
        self,
        ask: Callable[[K], V],
        wait: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ask` raises NotRegisteredError or SchemaError if there is no such thing. `wait` is the
        longest time that a caller waits, in seconds."""
        self._ask = ask
        self._wait = wait
        self._now = now
        self.found: dict[K, V] = {}
        self._absent: dict[K, tuple[float, Exception]] = {}
        self._pending: dict[K, Future[V]] = {}
        self._failure: tuple[float, Exception] | None = None

    def ask(self, keys: Collection[K]) -> dict[K, Exception]:
        """Look for these keys: what is found is in `found`, for others the answer says why not.

        Raises Retryable if the time is over, or what else the function has raised: then nothing is
        known about some of the keys.
        """
        deadline = self._now() + self._wait
        absent: dict[K, Exception] = {}
        open_keys = []
        for key in keys:
            known = self._absent.get(key)
            if known is not None and self._now() - known[0] < FORGET:
                absent[key] = known[1]
            elif key not in self.found:
                open_keys.append(key)
        for first in range(0, len(open_keys), _AT_ONCE):
            absent |= self._ask_some(open_keys[first : first + _AT_ONCE], deadline)
        return absent

    def _ask_some(self, keys: list[K], deadline: float) -> dict[K, Exception]:
        for key in keys:
            if key not in self._pending:
                self._require_calm()
                self._pending[key] = _in_thread(self._ask, key)
        wait_for([self._pending[key] for key in keys], timeout=max(0.0, deadline - self._now()))
        absent: dict[K, Exception] = {}
        failure: Exception | None = None
        for key in keys:
            error = self._settle(key)
            if isinstance(error, NotRegisteredError | SchemaError):
                absent[key] = error
            elif error is not None:
                failure = error
        if failure is not None:
            raise failure
        return absent

    def _require_calm(self) -> None:
        """Raises what the last question has raised, for a while."""
        if self._failure is not None:
            since, error = self._failure
            left = since + PAUSE - self._now()
            if left > 0:
                raise Retryable(str(error), after=left) if isinstance(error, Retryable) else error

    def _settle(self, key: K) -> Exception | None:
        """Take in what came of a question: None if it was answered."""
        if not self._pending[key].done():
            return Retryable(f"no answer for {key} within {self._wait:g} s")
        future = self._pending.pop(key)
        error = future.exception()
        if error is None:
            self.found[key] = future.result()
            self._failure = None
        elif isinstance(error, NotRegisteredError | SchemaError):
            if len(self._absent) >= _MAX_ABSENT:
                self._absent.clear()
            self._absent[key] = (self._now(), error)
        elif isinstance(error, Exception):
            self._failure = (self._now(), error)
        else:
            raise error
        return error


def _in_thread(ask: Callable[[K], V], key: K) -> Future[V]:
    """Not a pool's thread: the interpreter would wait for it at its end, however long it hangs."""
    future: Future[V] = Future()

    def run() -> None:
        try:
            future.set_result(ask(key))
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, name="streamd-avro-lookup", daemon=True).start()
    return future
