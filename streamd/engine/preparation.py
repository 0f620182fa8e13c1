"""Holding events back until the codec is ready for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from streamd.api import Fatal, Logger, Misconfigured, Retryable
from streamd.engine.failure import MISCONFIGURED_DELAY, Health, backoff
from streamd.engine.frames import let_go
from streamd.telemetry.metrics import StageMetrics


async def until_ready(
    ask: Callable[[], Awaitable[None]],
    wait: Callable[[float], Awaitable[bool]],
    *,
    rows: int,
    health: Health,
    metrics: StageMetrics,
    log: Logger,
) -> bool:
    """Ask until there is an answer, or until `wait(seconds)` says that there is no use any more.

    No policy is asked: with the default ones, good events would become dead letters because
    somebody else is away. Returns whether there was an answer.
    """
    tries = 0
    while True:
        tries += 1
        try:
            await ask()
            return True
        except (Retryable, Misconfigured) as error:
            health.ill(str(error))
            delay = _delay(error, tries)
            log.warning("The codec is not ready; will ask again", error=str(error), delay=delay)
            let_go(error)
        except Fatal:
            raise
        except Exception as error:
            # A bug, and maybe one of a single record: decoding tells which, to the policies.
            log.error("The codec failed with an error that it does not declare", exc_info=error)
            let_go(error)
            return True
        metrics.retried(rows)
        if not await wait(delay):
            return False


def _delay(error: Retryable | Misconfigured, tries: int) -> float:
    if isinstance(error, Misconfigured):
        return MISCONFIGURED_DELAY
    return backoff(tries, error.after)
