"""The job in Quix Streams: state in its RocksDB only, no changelog topics, windows by partition.

Without changelog topics it keeps no more than streamd does: its state on this machine's disk.
"""

from __future__ import annotations

from typing import Any

from msgspec import json
from quixstreams import Application
from quixstreams.models import JSONDeserializer

from benchmarks.peers.jobs import Job, sides
from benchmarks.peers.measure import Meter, arguments


def run(job: Job, places: dict[str, Any], meter: Meter) -> None:
    app = Application(
        broker_address=places["brokers"],
        consumer_group=places["group"],
        auto_offset_reset="earliest",
        state_dir=places["folder"],
        use_changelog_topics=False,
        loglevel="WARNING",
    )
    deserializer = JSONDeserializer(loads=json.Decoder().decode)
    frames = [
        app.dataframe(app.topic(name, value_deserializer=deserializer)) for name in places["topics"]
    ]
    left = sides(job)

    def read(value: Any, key: Any, *_: Any) -> Any:
        nonlocal left
        meter.start()
        if key == b"end":
            left -= 1
            if not left:
                app.stop()  # after this message
        return value

    def written(_value: Any, key: Any, *_: Any) -> None:
        meter.rows += key != b"end"

    frames = [frame.apply(read, metadata=True) for frame in frames]
    _results(job, frames).update(written, metadata=True)
    app.run()


def _results(job: Job, frames: list[Any]) -> Any:
    frame = frames[0]
    match job.kind:
        case "tumbling":
            window = frame.tumbling_window(job.size).count()
        case "sliding":  # its own sliding_window moves with every event
            window = frame.hopping_window(job.size, job.slide).count()
        case "session":
            window = frame.session_window(job.size).count()
        case "join":
            return frame.join_interval(
                frames[1],
                on_merge=lambda left, right: {"left": left, "right": right},
                grace_ms=10_000,  # one topic may be read ahead of the other
                backward_ms=job.size,
                forward_ms=job.size,
            )
    return window.final(closing_strategy="partition")


if __name__ == "__main__":
    job, places = arguments()
    meter = Meter()
    run(job, places, meter)
    meter.stop()
    meter.report()
