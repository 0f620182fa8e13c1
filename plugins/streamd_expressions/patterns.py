"""Regular expressions: compiled once, bounded, and checked for the worst kind of backtracking.

Python's engine backtracks, and a pattern such as `(a+)+$` takes time exponential in the text.
`compile_pattern` refuses a repeated group whose iterations can be told apart in more than one
way, as far as a look at its first and last characters can tell; MAX_PATTERN and MAX_SUBJECT
bound the rest. Patterns with several overlapping `.*` remain polynomial: that is the price of
the engine, and possessive quantifiers (`.*+`) or atomic groups (`(?>...)`) avoid it.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from typing import Final

from .limits import MAX_PATTERN

_ATOM: Final = re.compile(
    r"(?P<open>\((?:\?(?:P<\w+>|P=\w+|[a-zA-Z-]*:|[a-zA-Z]+\)|[=!>]|<[=!]|#[^)]*\)|\(\w+\)))?)"
    r"|(?P<close>\))|(?P<or>\|)"
    r"|(?P<atom>\[\^?\]?(?:\\.|[^\]\\])*\]|\\.|[^\\])",
    re.DOTALL,
)
_REPEAT: Final = re.compile(
    r"(?P<op>[*+?]|\{(?P<low>\d*)(?P<comma>,?)(?P<high>\d*)\})(?P<mode>[+?]?)"
)
_PROBES: Final = frozenset({*map(chr, range(128)), "é", "ß", "中", "\u2028", "٣"})
_ATOMIC: Final = frozenset({"(?>", "(?=", "(?!", "(?<=", "(?<!"})

_Branch = list[tuple[str, bool]]
"""The parts of a branch: the atom ("" when unknown) and whether it repeats a varying number."""


@dataclass(slots=True)
class _Group:
    """What is known of a group: its branches so far, and whether a part of it is ambiguous."""

    atomic: bool = False
    opaque: bool = False
    branches: list[_Branch] = field(default_factory=lambda: [[]])


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern for use on events.

    Args:
        pattern: Python `re` syntax.

    Returns:
        The compiled pattern.

    Raises:
        ValueError: too long, malformed, or open to exponential backtracking; one line, why.
    """
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"a pattern has at most {MAX_PATTERN} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # ambiguous sets: say so at check, not at run time
            compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        raise ValueError(f"malformed pattern: {error}") from None
    if compiled.flags & re.VERBOSE:
        raise ValueError("the x flag is not supported")
    _check_backtracking(pattern)
    return compiled


def _check_backtracking(pattern: str) -> None:
    probes = _PROBES | set(pattern)
    stack = [_Group()]
    at = 0
    while match := _ATOM.match(pattern, at):
        at = match.end()
        if match["or"]:
            stack[-1].branches.append([])
        elif match["open"] and not match["open"].endswith(")"):
            stack.append(_Group(atomic=match["open"] in _ATOMIC))
        elif match["close"]:
            closed = stack.pop()
            at = _close(closed, stack[-1], _REPEAT.match(pattern, at), at, probes)
        elif match["atom"]:
            repeat = _REPEAT.match(pattern, at)
            low, high = _range(repeat)
            possessive = repeat is not None and repeat["mode"] == "+"
            varies = low != high and not possessive
            # A part that may be absent says nothing about where an iteration starts or ends.
            known = match["atom"] if varies or (low > 0 and not possessive) else ""
            stack[-1].branches[-1].append((known, varies))
            at = repeat.end() if repeat else at


def _close(
    closed: _Group, parent: _Group, repeat: re.Match[str] | None, at: int, probes: frozenset[str]
) -> int:
    """Take the end of a group into account; returns where the pattern goes on."""
    low, high = _range(repeat)
    possessive = repeat is not None and repeat["mode"] == "+"
    if not closed.atomic and not possessive:
        if high not in (0, 1) and not _tells_iterations(closed, probes):
            raise ValueError(
                "this pattern repeats a group that repeats inside: matching could take for ever; "
                "use a possessive quantifier (a++) or an atomic group (?>...)"
            )
        varies = any(varies for branch in closed.branches for _, varies in branch)
        ambiguous = len(closed.branches) > 1 and not _disjoint(closed.branches, probes)
        if varies or ambiguous or closed.opaque or low != high:
            parent.opaque = True
    parent.branches[-1].append(("", False))
    return repeat.end() if repeat else at


def _range(repeat: re.Match[str] | None) -> tuple[int, int]:
    """Least and most repetitions; -1 stands for no limit."""
    if repeat is None:
        return 1, 1
    op = repeat["op"]
    if op in "*+?":
        return (1 if op == "+" else 0), (1 if op == "?" else -1)
    low = int(repeat["low"] or 0)
    if not repeat["comma"]:
        return low, low
    return low, int(repeat["high"]) if repeat["high"] else -1


def _tells_iterations(group: _Group, probes: frozenset[str]) -> bool:
    """Whether text can be cut into iterations of this group, and of its parts, in one way only."""
    if group.opaque:
        return False
    varying = any(varies for branch in group.branches for _, varies in branch)
    if len(group.branches) > 1:
        return not varying and _disjoint(group.branches, probes)
    parts = group.branches[0]
    # What follows a varying part must end it; after the last comes the next iteration's first.
    for (atom, varies), following in zip(parts, [*parts[1:], *parts[:1]], strict=True):
        if varies and (following[1] or not _ends(atom, following[0], probes)):
            return False
    return True


def _ends(varying: str, following: str, probes: frozenset[str]) -> bool:
    """Whether the fixed part after a varying one cannot be mistaken for more of it."""
    matched = [probe for probe in probes if _matches(following, probe)]
    return bool(matched) and not any(_matches(varying, probe) for probe in matched)


def _disjoint(branches: list[_Branch], probes: frozenset[str]) -> bool:
    """Whether the first character tells which branch it is."""
    if not all(branch and branch[0][0] and not branch[0][1] for branch in branches):
        return False
    starts = [{p for p in probes if _matches(branch[0][0], p)} for branch in branches]
    return all(starts) and sum(map(len, starts)) == len(set().union(*starts))


def _matches(atom: str, character: str) -> bool:
    try:
        return re.fullmatch(atom, character, re.IGNORECASE | re.DOTALL) is not None
    except (re.error, OverflowError):  # a backreference alone: assume the worst
        return True
