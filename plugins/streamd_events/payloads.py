"""Validate one bare payload, as somebody asks who has no event yet."""

from __future__ import annotations

from functools import cache

from streamd.api import Violation
from streamd_events.checks import DEFAULT_MAX_DATA, event_checks
from streamd_events.model import Payload
from streamd_events.plain import to_plain
from streamd_events.problems import Walker, compile_type, problems
from streamd_events.quality import DataQualityCheck


def validate_payload(
    payload: object, *, ipv6: bool = False, max_data: int = DEFAULT_MAX_DATA
) -> tuple[list[Violation], list[str]]:
    """Errors and warnings of a payload, decoded from JSON.

    It is valid if there are no errors: the rules are those of the `event` validator. Warnings say
    what would make it better. `max_data` is in bytes.
    """
    plain = to_plain(payload)
    found = problems(_walker(ipv6, max_data), plain)
    errors = [Violation(problem.path, problem.message) for problem in found]
    return errors, DataQualityCheck.check_consistency(plain)


@cache
def _walker(ipv6: bool, max_data: int) -> Walker:
    return compile_type(Payload, event_checks(ipv6=ipv6, max_data=max_data))
