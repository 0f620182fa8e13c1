"""Every hook of streamd. Hooks run when plugins load and on rare events, never per batch.

A plugin is a module (or object) with functions of these names marked `@hookimpl`, found through
an entry point of the group `streamd` or as a file in a `plugins_dir`:

    from streamd.api import Plugin, hookimpl

    @hookimpl
    def streamd_plugins():
        return [Plugin("transform", "mask_emails", MaskEmails)]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import pluggy
from msgspec import Struct

hookspec = pluggy.HookspecMarker("streamd")
hookimpl = pluggy.HookimplMarker("streamd")

Condition = Callable[[Sequence[Any], dict[int, str]], Sequence[int]]
"""`condition(values, errors)` -> the ascending rows of the events that meet it. An event that it
cannot judge is left out and noted in `errors`: row to reason. It changes no event."""


class Plugin(Struct, frozen=True):
    """One thing that a config can name: `plugin = "<name>"` in a table of the role.

    `role` is source, codec, validate, transform, window, sink or policy, or a role that other
    plugins look for (`StageContext.extensions`). `cls` is built by `cls(config, context)` and has
    its settings class as `cls.Config`. `summary` is one line for `streamd list`; by default the
    first line of the class's docstring.
    """

    role: str
    name: str
    cls: type
    summary: str = ""


@hookspec
def streamd_plugins() -> Sequence[Plugin]:  # type: ignore[empty-body]
    """The stages, codecs and policies that this plugin offers. Called once, when it loads."""


@hookspec
def streamd_commands(commands: Any) -> None:
    """Add commands to the command line.

    `commands` is what `argparse.ArgumentParser.add_subparsers` returned; a command sets
    `run` by `set_defaults(run=function)`, and `function(args)` returns the exit status.
    """


@hookspec(firstresult=True)
def streamd_condition(text: str) -> Condition | None:
    """The condition that a person has written (`streamd tap --filter`), compiled.

    None leaves it to another plugin. Raises ValueError if the text is wrong; it says where.
    """


@hookspec
def streamd_pipeline_state(
    pipeline: str, state: Literal["running", "draining", "stopped", "failed"], reason: str
) -> None:
    """A pipeline has changed its state. `reason` says why it failed, else it is empty."""


@hookspec
def streamd_config_reloaded(accepted: bool, message: str) -> None:
    """A reload was asked for, and the new configuration was accepted or refused."""
