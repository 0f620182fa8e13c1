"""A transform that hides whose e-mail address an event holds. This file is the whole plugin."""

from collections.abc import Sequence
from typing import Annotated, Any

from streamd.api import FunctionStep, Plugin, StageConfig, StageContext, doc, hookimpl


class MaskEmails(FunctionStep):
    """Hide the part of an e-mail address before the @."""

    class Config(StageConfig, frozen=True):
        field: Annotated[str, doc("Field that holds the address.")] = "email"

    def __init__(self, config: Config, _context: StageContext) -> None:
        super().__init__(self.mask)
        self.field = config.field

    def mask(self, event: Any) -> Any:
        """Called for each event. It must not change `event`, but may return another one."""
        _, at, domain = event.get(self.field, "").partition("@")
        return {**event, self.field: f"***@{domain}"} if at else event


@hookimpl
def streamd_plugins() -> Sequence[Plugin]:
    return [Plugin("transform", "mask_emails", MaskEmails)]
