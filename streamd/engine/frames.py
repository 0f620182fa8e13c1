"""What an error holds on to once it has been dealt with."""

from __future__ import annotations


def let_go(error: BaseException) -> None:
    """Drop the frames that an error holds, and those of what has caused it.

    A frame that knows the error, as one does that has awaited a future or gathers failures in a
    list, makes a circle around all else that it knows. That would be the batch, until the next
    full garbage collection, which comes very seldom.
    """
    errors, seen = [error], set()
    while errors:
        one = errors.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = None
        errors += [each for each in (one.__cause__, one.__context__) if each is not None]
        if isinstance(one, BaseExceptionGroup):
            errors += one.exceptions
