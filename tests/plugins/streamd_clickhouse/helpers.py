"""A sink on a real server, and what is in its table."""

from collections.abc import Sequence
from typing import Any

from streamd.api import Secret
from streamd.testing import stage_context
from streamd_clickhouse.config import ClickHouseConfig
from streamd_clickhouse.sink import ClickHouseSink
from tests.services.clickhouse import ClickHouseServer

TABLE = "ingested_data"


def sink_on(server: ClickHouseServer, database: str = "wotr", **settings: Any) -> ClickHouseSink:
    """A sink, not entered, that makes its own table unless told otherwise."""
    settings = {"table": TABLE, "create_table": True, **settings}
    config = ClickHouseConfig(url=Secret(server.url_of(database)), **settings)
    return ClickHouseSink(config, stage_context("sink", stage="clickhouse"))


def ids_in(server: ClickHouseServer, database: str = "wotr", table: str = TABLE) -> Sequence[str]:
    """The ids in a table, sorted."""
    rows = server.query(f"SELECT id FROM {database}.{table} ORDER BY id")
    return [row["id"] for row in rows]


def use(sink: ClickHouseSink, plain: bool) -> None:
    """Insert through the client library's own encoder."""
    sink._client._native = not plain
