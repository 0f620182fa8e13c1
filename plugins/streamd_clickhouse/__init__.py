"""ClickHouse: a sink that inserts by columns."""

from collections.abc import Sequence

from streamd.api import Plugin, hookimpl
from streamd_clickhouse.sink import ClickHouseSink


@hookimpl
def streamd_plugins() -> Sequence[Plugin]:
    return [Plugin("sink", "clickhouse", ClickHouseSink)]
