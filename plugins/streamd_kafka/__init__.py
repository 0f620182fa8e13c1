"""Apache Kafka: a source (a member of a consumer group) and a sink."""

from streamd.api import Plugin, hookimpl
from streamd_kafka.sink import KafkaSink
from streamd_kafka.source import KafkaSource

__all__ = ["KafkaSink", "KafkaSource"]


@hookimpl
def streamd_plugins() -> list[Plugin]:
    return [Plugin("source", "kafka", KafkaSource), Plugin("sink", "kafka", KafkaSink)]
