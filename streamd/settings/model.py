"""A checked configuration as data: what the file says, with plugins found and settings converted.

Everything here is immutable and compares by value, so that a reload is a comparison.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from streamd.api import BatchLimits, Duration, Secret, Size, StageConfig, doc

MAIN = "main"


class PluginSpec(Struct, frozen=True, kw_only=True):
    """A plugin with its settings: `cls(config, context)` builds it.

    `path` is where the file names it, such as `pipeline.events.sink[0]`.
    """

    path: str
    role: str
    plugin: str
    cls: type
    config: StageConfig

    def build(self, context: Any) -> Any:
        """Raises ConfigError if the plugin finds a setting wrong. Does no I/O."""
        return self.cls(self.config, context)


class StageSpec(PluginSpec, frozen=True, kw_only=True):
    """A stage: its plugin, and the keys that the engine itself reads.

    `inputs` is empty for a source. `output` is the stream that a source or step writes by
    default. `policies` is None where the pipeline's own apply. `batch` is None where the sink's
    own limits apply.
    """

    id: str
    inputs: tuple[str, ...] = ()
    output: str | None = None
    codec: PluginSpec | None = None
    policies: tuple[PluginSpec, ...] | None = None
    batch: BatchLimits | None = None
    reset_state: bool = False


class PipelineOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of `[pipeline.<name>]` that are no stages."""

    on_failure: Annotated[
        Literal["restart", "stop", "exit"],
        doc(
            "When the pipeline fails: start it again from its checkpoint after a growing pause,"
            " leave it stopped while the others run, or end the daemon."
        ),
    ] = "restart"
    on_missing_state: Annotated[
        Literal["pause", "reset"],
        doc(
            "When a partition arrives that another daemon has committed while a stage here keeps"
            " state for it: pause with an error, or start its state anew."
        ),
    ] = "pause"
    backlog: Annotated[
        str | None,
        doc(
            "Sink whose store dlq_backlog_size counts; by default the first that reads dead"
            " letters and can count. If none can, there is no such metric.",
            example="dlq_objects",
        ),
    ] = None
    drop_streams: Annotated[
        tuple[str, ...], doc("Streams that nobody reads, on purpose.", example=["per_minute.late"])
    ] = ()
    batch_events: Annotated[
        int, doc("Most events that one poll of a source returns."), Meta(ge=1)
    ] = 1000
    epoch_time: Annotated[Duration, doc("How often positions and state are checkpointed.")] = (
        Duration("1s")
    )
    epoch_events: Annotated[
        int, doc("Events after which an epoch closes before its time."), Meta(ge=1)
    ] = 50_000
    max_events: Annotated[
        int, doc("Most events in flight between source and sinks."), Meta(ge=1)
    ] = 200_000
    max_bytes: Annotated[Size, doc("Most bytes of events in flight, as they arrived.")] = Size(
        "256MiB"
    )
    drain_timeout: Annotated[
        Duration, doc("How long sinks may finish what is in flight when the pipeline stops.")
    ] = Duration("30s")
    revoke_timeout: Annotated[
        Duration, doc("How long a partition that moves away may wait for what is in flight.")
    ] = Duration("20s")


class PipelineSpec(Struct, frozen=True, kw_only=True):
    """One pipeline. `steps` are in the order in which they run over a stream: validate,
    transform, window, each as the file has them."""

    name: str
    sources: tuple[StageSpec, ...]
    steps: tuple[StageSpec, ...]
    sinks: tuple[StageSpec, ...]
    policies: tuple[PluginSpec, ...]
    options: PipelineOptions = field(default_factory=PipelineOptions)


class DaemonOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of `[streamd]`."""

    state_dir: Annotated[
        str,
        doc(
            "Directory of the daemon's own data; a relative one starts at the directory that the"
            " daemon runs in."
        ),
    ] = "var"
    plugins_dir: Annotated[
        tuple[str, ...], doc("Directories of plugin files, relative to the configuration file.")
    ] = ()
    admin: Annotated[
        str | None,
        doc("Address of the page, /metrics, /healthz, /readyz and /status; empty: none."),
    ] = "127.0.0.1:8001"
    admin_token: Annotated[
        Secret | None,
        doc(
            "What a request to the admin port must bear, /healthz excepted; the page asks for it."
            " Required where the address is not loopback.",
            example="@{file:admin-token}",
        ),
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], doc("Least level logged.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "console", "json"],
        doc("Readable lines on a terminal and JSON elsewhere (auto), or always one of them."),
    ] = "auto"
    uvloop: Annotated[bool, doc("Run on uvloop, where it is installed.")] = False
    banner: Annotated[
        tuple[str, ...], doc("Lines shown once the pipelines run, for whoever starts it by hand.")
    ] = ()


class Settings(Struct, frozen=True, kw_only=True):
    """A whole configuration file, checked. `path` is the file, `digest` a short hash of it."""

    path: Path
    digest: str
    daemon: DaemonOptions
    pipelines: tuple[PipelineSpec, ...]
    catalog: Any
