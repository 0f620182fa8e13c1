"""The page about the configuration file: every key that is no plugin's. Pure."""

from __future__ import annotations

from typing import Any

from streamd.cli.tables import settings_table
from streamd.settings.fields import settings_of
from streamd.settings.keys import StageKeys
from streamd.settings.model import DaemonOptions, PipelineOptions
from streamd.testing.scenarios.model import Scenario

_INTRODUCTION = """\
# The configuration file

One TOML file, read at the start and at SIGHUP. What a plugin takes is on
[its page](plugins/README.md); the other keys are here. `streamd check` tells every mistake with
its line, `streamd echo` what is in effect; `streamd config-schema` prints a schema for editors.

- A duration is a string such as `"500ms"`, `"30s"` or `"2h"`, a size one such as `"64MiB"`.
- `"${NAME}"` in a string is an environment variable, `"${NAME:-default}"` one that may be missing,
  `"${NAME:?message}"` one whose lack has an explanation. A string that is nothing else may stand
  for a number or a boolean. `$${` is `${`.
- A secret is a reference: `"@{env:NAME}"`, `"@{file:PATH}"`, or `"@{credential:NAME}"` of systemd.
- The stages of a pipeline are tables such as `[[pipeline.NAME.sink]]`, by their role: `source`,
  `validate`, `transform`, `window` or `sink`. `policy` is one too.
"""

_TESTS = """\
Sources, sinks and time are the test's own, everything between them is the configuration's: see
[the start](start.md#test-it). By default a test ends when all that has arrived is delivered. Dead
letters that no expectation speaks of fail it.

```toml
[[test]]
name = "a short outage is ridden out"

[[test.input]]
source = "in"
events = [{ id = 1 }, { id = 2 }]
every = "5s"

[[test.fault]]
sink = "store"
error = "retryable"
times = 2

[[test.expect]]
sink = "store"
rows = [{ id = 1 }, { id = 2 }]
in_order = true

[[test.expect]]
stream = "dead_letters"
none = true
```
"""

_SECTIONS: tuple[tuple[str, str, Any], ...] = (
    ("`[streamd]`: the daemon", "", DaemonOptions),
    ("`[pipeline.NAME]`: a pipeline", "", PipelineOptions),
    ("Keys of a stage", "A role has those that its plugins' pages name.\n", StageKeys),
    ("`[[test]]`: a test of a pipeline", _TESTS, Scenario),
)


def page() -> str:
    """Markdown, with a table for each kind of keys."""
    sections = (
        "\n".join(filter(None, (f"## {title}\n", text, settings_table(settings_of(keys)))))
        for title, text, keys in _SECTIONS
    )
    return "\n".join((_INTRODUCTION, *sections))
