"""What the admin port looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from streamd.api import Clock, SystemClock
from streamd.engine.supervisor import Supervisor
from streamd.reloading import ReloadResult
from streamd.settings.model import Settings
from streamd.telemetry.metrics import Telemetry


@dataclass(frozen=True)
class Watched:
    """A daemon. `settings` and `last_reload` give what is in force when they are called."""

    telemetry: Telemetry
    supervisors: Mapping[str, Supervisor]
    settings: Callable[[], Settings]
    last_reload: Callable[[], ReloadResult | None] = lambda: None
    clock: Clock = field(default_factory=SystemClock)

    def token(self) -> str:
        """What a request must bear; empty: nothing. A reload may change it."""
        return self.settings().daemon.admin_token or ""
