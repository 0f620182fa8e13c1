"""What only the garbage collector would free."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[Callable[[], int]]:
    """Keeps the collector from running. What is given counts the objects left for it since."""
    gc.disable()
    gc.freeze()  # all that other tests have made would take the most of the time
    try:
        yield _collect
    finally:
        gc.unfreeze()
        gc.enable()


def _collect() -> int:
    # What collect() returns leaves out what generators held, which it closes beforehand.
    before = _tracked()
    gc.collect()
    return before - _tracked()


def _tracked() -> int:
    # Tuples and dicts that a collection finds to hold nothing of interest leave its lists, alive.
    return sum(type(one) not in (tuple, dict) for one in gc.get_objects())
