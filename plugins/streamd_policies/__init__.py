"""What happens to events that could not be processed: retry, dead_letter, block, drop, stop."""

from streamd.api import Plugin, hookimpl
from streamd_policies.block import BlockPolicy
from streamd_policies.dead_letter import DeadLetterPolicy
from streamd_policies.drop import DropPolicy
from streamd_policies.retry import RetryPolicy
from streamd_policies.stop import StopPolicy

__all__ = ["BlockPolicy", "DeadLetterPolicy", "DropPolicy", "RetryPolicy", "StopPolicy"]


@hookimpl
def streamd_plugins() -> list[Plugin]:
    return [
        Plugin("policy", "retry", RetryPolicy),
        Plugin("policy", "dead_letter", DeadLetterPolicy),
        Plugin("policy", "block", BlockPolicy),
        Plugin("policy", "drop", DropPolicy),
        Plugin("policy", "stop", StopPolicy),
    ]
