"""Tests of pipelines that stand in the configuration itself, as `[[test]]` tables.

`model` says what such a table may hold and `reading` checks it against the configuration, which
gives a `script`. `cast` replaces the sources and sinks of its pipeline, `running` lets it run in
virtual time, and `judging` compares what came with what was expected.
"""

from streamd.testing.scenarios.judging import Mismatch, judge
from streamd.testing.scenarios.reading import read
from streamd.testing.scenarios.running import Observed, run
from streamd.testing.scenarios.script import Script

__all__ = ["Mismatch", "Observed", "Script", "judge", "read", "run"]
