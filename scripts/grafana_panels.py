"""What the Grafana dashboard shows: its panels, and the queries that they ask."""

from typing import NamedTuple

WHERE = '{instance=~"$instance",pipeline=~"$pipeline"}'
DOWN = (
    f"streamd_pipeline_up{WHERE} == 0"
    ' unless ignoring (state) streamd_pipeline_state{state="ended"} == 1'
)
DAEMON = '{instance=~"$instance"}'  # metrics that do not tell pipelines apart


class Panel(NamedTuple):
    """A graph, or a single value: its queries as (PromQL, legend), its unit as Grafana names it."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    description: str = ""
    kind: str = "timeseries"
    red_from: float | None = None


def rate(metric: str, by: str, where: str = WHERE) -> str:
    return f"sum by ({by}) (rate({metric}{where}[$__rate_interval]))"


def quantiles(histogram: str, by: str, legend: str) -> tuple[tuple[str, str], ...]:
    rates = rate(f"{histogram}_bucket", f"le, {by}")
    # The comparison leaves out the NaN of stages that have nothing to measure.
    return tuple(
        (f"histogram_quantile({q}, {rates}) >= 0", f"{legend} p{q[2:]}") for q in QUANTILES
    )


QUANTILES = ("0.50", "0.99")
STAGE, STAGE_LEGEND = "pipeline, stage", "{{pipeline}} {{stage}}"
PIPELINE_LEGEND = "{{pipeline}} {{instance}}"

ROWS: dict[str, tuple[Panel, ...]] = {
    "Now": (
        Panel(
            "Pipelines that are down",
            ((f"count({DOWN}) or vector(0)", ""),),
            kind="stat",
            red_from=1,
        ),
        Panel(
            "Stages that fail",
            ((f"count(streamd_stage_healthy{WHERE} == 0) or vector(0)", ""),),
            kind="stat",
            red_from=1,
        ),
        Panel(
            "Reloads refused",
            ((f"count(streamd_config_last_reload_successful{DAEMON} == 0) or vector(0)", ""),),
            kind="stat",
            red_from=1,
        ),
        Panel(
            "Oldest epoch that is not committed",
            ((f"max(streamd_epoch_age_seconds{WHERE})", ""),),
            unit="s",
            kind="stat",
            red_from=300,
        ),
        Panel(
            "Dead letters in store",
            ((f"sum(dlq_backlog_size{WHERE})", ""),),
            kind="stat",
            red_from=1000,
        ),
    ),
    "Throughput": (
        Panel(
            "Events by stage",
            ((rate("streamd_events_total", STAGE), STAGE_LEGEND),),
            unit="ops",
            description="Read by a source, processed by a step, written by a sink.",
        ),
        Panel(
            "Bytes read",
            ((rate("streamd_bytes_total", STAGE), STAGE_LEGEND),),
            unit="Bps",
        ),
        Panel(
            "How events ended",
            ((rate("consumer_messages_processed_total", "status", DAEMON), "{{status}}"),),
            unit="ops",
        ),
    ),
    "Lag": (
        Panel(
            "Records that wait in Kafka",
            ((f"sum by ({STAGE}) (streamd_kafka_lag_records{WHERE})", STAGE_LEGEND),),
        ),
        Panel(
            "Age of the record last read, while more wait",
            ((f"max by ({STAGE}) (streamd_kafka_lag_seconds{WHERE})", STAGE_LEGEND),),
            unit="s",
        ),
        Panel(
            "Records lost to retention",
            ((f"sum by ({STAGE}) (streamd_kafka_lost_records_total{WHERE})", STAGE_LEGEND),),
            description="Since the daemon started.",
        ),
    ),
    "Latency": (
        Panel(
            "From read to delivered",
            quantiles("consumer_processing_duration_seconds", STAGE, STAGE_LEGEND),
            unit="s",
            description="Of the oldest event of each write.",
        ),
        Panel(
            "One write",
            quantiles("streamd_write_duration_seconds", STAGE, STAGE_LEGEND),
            unit="s",
        ),
        Panel(
            "Storing a checkpoint",
            quantiles("streamd_checkpoint_duration_seconds", "pipeline", "{{pipeline}}"),
            unit="s",
        ),
    ),
    "Errors": (
        Panel(
            "Retries",
            ((rate("streamd_retries_total", STAGE), STAGE_LEGEND),),
            unit="ops",
        ),
        Panel(
            "Refused, by reason",
            (
                (
                    rate("streamd_rejected_events_total", f"{STAGE}, reason"),
                    STAGE_LEGEND + " {{reason}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            "Stages that get on",
            ((f"min by ({STAGE}) (streamd_stage_healthy{WHERE})", STAGE_LEGEND),),
            description="0 while a stage does not get on.",
        ),
        Panel(
            "Restarts from a checkpoint, commits that failed",
            (
                (f"increase(streamd_pipeline_restarts_total{WHERE}[$__rate_interval])", "restarts"),
                (f"increase(streamd_failed_commits_total{WHERE}[$__rate_interval])", "commits"),
            ),
        ),
    ),
    "Dead letters": (
        Panel(
            "Dead letters by type of error",
            ((rate("dlq_messages_total", "error_type", DAEMON), "{{error_type}}"),),
            unit="ops",
        ),
        Panel(
            "Validation failures by reason",
            ((rate("consumer_validation_failures_total", "reason", DAEMON), "{{reason}}"),),
            unit="ops",
        ),
        Panel("In store", ((f"dlq_backlog_size{WHERE}", PIPELINE_LEGEND),)),
    ),
    "Epochs": (
        Panel(
            "Age of the oldest epoch that is not committed",
            ((f"streamd_epoch_age_seconds{WHERE}", PIPELINE_LEGEND),),
            unit="s",
        ),
        Panel(
            "Epochs committed", ((rate("streamd_epochs_total", "pipeline"), "{{pipeline}}"),), "ops"
        ),
    ),
    "Queues": (
        Panel(
            "Events in the slots of sinks",
            ((f"sum by ({STAGE}) (streamd_queue_events{WHERE})", STAGE_LEGEND),),
        ),
        Panel(
            "Events in flight",
            ((f"streamd_in_flight_events{WHERE}", PIPELINE_LEGEND),),
        ),
        Panel(
            "Bytes in flight",
            ((f"streamd_in_flight_bytes{WHERE}", PIPELINE_LEGEND),),
            unit="bytes",
        ),
        Panel(
            "Back-pressure",
            ((f"avg_over_time(streamd_held{WHERE}[$__rate_interval])", PIPELINE_LEGEND),),
            unit="percentunit",
            description="Share of the time in which the sources were kept from reading.",
        ),
    ),
    "Windows": (
        Panel(
            "Watermark behind the clock",
            ((f"max by ({STAGE}) (streamd_watermark_lag_seconds{WHERE})", STAGE_LEGEND),),
            unit="s",
        ),
        Panel(
            "Open windows, keys held",
            (
                (f"sum by ({STAGE}) (streamd_window_open{WHERE})", STAGE_LEGEND + " windows"),
                (f"sum by ({STAGE}) (streamd_window_keys{WHERE})", STAGE_LEGEND + " keys"),
            ),
        ),
        Panel(
            "Late events",
            ((rate("streamd_window_late_events_total", STAGE), STAGE_LEGEND),),
            unit="ops",
        ),
        Panel(
            "From a window's end to its result",
            quantiles("streamd_window_emit_latency_seconds", STAGE, STAGE_LEGEND),
            unit="s",
        ),
    ),
}
