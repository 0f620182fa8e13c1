"""What is decided without a server: settings, statements, error codes, tokens."""

from typing import Any

import msgspec
import pytest

from streamd.api import (
    ConfigError,
    Misconfigured,
    Permanent,
    Probe,
    Retryable,
    Secret,
    StreamdError,
)
from streamd.testing import stage_context
from streamd.testing.batches import batch_of, sample_event
from streamd_clickhouse import ddl
from streamd_clickhouse.block import token_of
from streamd_clickhouse.codes import MISCONFIGURED, RETRYABLE, error_of
from streamd_clickhouse.config import DEFAULT_COLUMNS, ClickHouseConfig, target_of
from streamd_clickhouse.schema import plan_columns
from streamd_clickhouse.server import (
    Server,
    check_settings,
    insert_settings,
    settings_wanted,
    statement_settings,
)
from streamd_clickhouse.sink import ClickHouseSink
from streamd_columns import ColumnDef, parse_mapping

URL = "clickhouse://127.0.0.1:9000/wotr"
OLD = Server((18, 16, 1), frozenset())
NEW = Server(
    (25, 8, 1),
    frozenset({"insert_deduplication_token", "async_insert", "max_memory_usage"}),
)


def config(url: str = URL, table: str = "ingested_data", **settings: Any) -> ClickHouseConfig:
    return ClickHouseConfig(url=Secret(url), table=table, **settings)


def test_the_default_table() -> None:
    statement = ddl.create_table(
        config(), target_of(config()), parse_mapping(DEFAULT_COLUMNS), has_datetime64=False
    )
    assert statement == (
        "CREATE TABLE IF NOT EXISTS wotr.ingested_data (id String, timestamp String,"
        " payload String, event_type String, source String, validation_status String,"
        " created_at DateTime DEFAULT now()) ENGINE = MergeTree()"
        " ORDER BY (event_type, created_at, id) PARTITION BY toYYYYMM(created_at)"
    )


@pytest.mark.parametrize(
    ("has_datetime64", "seen"), [(True, "DateTime64(3, 'UTC')"), (False, "DateTime")]
)
def test_a_table_of_its_own_columns(has_datetime64: bool, seen: str) -> None:
    made = config(
        columns={
            "odd-name": "id",
            "at": "@timestamp",
            "amount": ColumnDef("payload.amount", "Nullable(Float64)"),
            "offset": "@offset",
        },
        engine="ReplacingMergeTree()",
        order_by="at",
        partition_by="toDate(at)",
    )
    mapping = parse_mapping(made.columns)
    statement = ddl.create_table(made, target_of(made), mapping, has_datetime64=has_datetime64)
    assert statement == (
        f"CREATE TABLE IF NOT EXISTS wotr.ingested_data (`odd-name` String, at {seen},"
        " amount Nullable(Float64), offset Int64)"
        " ENGINE = ReplacingMergeTree() ORDER BY at PARTITION BY toDate(at)"
    )
    memory = config(engine="Memory")
    statement = ddl.create_table(
        memory, target_of(memory), parse_mapping(DEFAULT_COLUMNS), has_datetime64=True
    )
    assert statement.endswith("ENGINE = Memory")


def test_names_are_quoted() -> None:
    made = config("clickhouse://h/my-db", "a`b")
    assert ddl.insert_into(target_of(made), ["x", "y z"]) == (
        "INSERT INTO `my-db`.`a\\`b` (x, `y z`) VALUES"
    )
    assert ddl.quote_text("it's \\") == "'it\\'s \\\\'"


def test_the_url() -> None:
    target = target_of(config("clickhouses://me:p%40ss@db.example/x?verify=false&ca_certs=/ca.pem"))
    assert (target.host, target.port, target.user, target.password) == (
        "db.example",
        9440,
        "me",
        "p@ss",
    )
    assert (target.secure, target.verify, target.ca_certs) == (True, False, "/ca.pem")
    assert target.name == "x.ingested_data"
    assert target_of(config(table="other.t")).name == "other.t"
    assert target_of(config("clickhouse://h?secure=1")).port == 9440
    assert target_of(config("clickhouse://h")).name == "default.ingested_data"
    apart = target_of(config("clickhouse://u:old@h", user="me", password=Secret("new")))
    assert (apart.user, apart.password) == ("me", "new")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"url": "http://user:hunter2@127.0.0.1:8123/"}, "url"),
        ({"url": "clickhouse://user:hunter2@h:port/"}, "url"),
        ({"url": "clickhouse://user:hunter2@h/?conect_timeout=3"}, "url"),
        ({"url": "clickhouse://user:hunter2@h/?secure=perhaps"}, "url"),
        ({"table": "db."}, "table"),
        ({"columns": {"a": "payload."}}, "columns.a"),
        ({"columns": {"a": "@jsn payload"}}, "columns.a"),
        ({"settings": {"send_logs_level": "trace"}}, "settings.send_logs_level"),
        ({"settings": {"wait_for_async_insert": 0}}, "settings.wait_for_async_insert"),
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_shown(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ClickHouseSink(config(**changes), stage_context("sink"))
    assert caught.value.path == path
    assert "hunter2" not in str(caught.value)


def test_nothing_prints_the_password() -> None:
    made = config("clickhouse://user:hunter2@h/", password=Secret("hunter3"))
    assert "hunter" not in repr(made)
    assert "hunter" not in repr(target_of(made))


def test_settings_convert_from_plain_values() -> None:
    raw = {
        "url": URL,
        "table": "t",
        "columns": {"a": "id", "b": {"source": "payload.b", "type": "Int8"}},
        "settings": {"max_memory_usage": 10**10, "insert_quorum": 2},
    }
    made = msgspec.convert(raw, ClickHouseConfig, dec_hook=lambda kind, value: kind(value))
    assert made.columns["b"] == ColumnDef("payload.b", "Int8")
    assert isinstance(ClickHouseSink(made, stage_context("sink")), Probe)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *((code, Retryable) for code in (159, 202, 209, 210, 241, 242, 243, 252, 319, 999, 1002)),
        *((code, Misconfigured) for code in (16, 60, 81, 115, 164, 192, 193, 497, 516)),
        *((code, Permanent) for code in (6, 27, 38, 41, 53, 70, 72, 131, 349, 395, 469, 9999)),
    ],
)
def test_a_code_says_what_to_do(code: int, kind: type[StreamdError]) -> None:
    error = error_of(code, "DB::Exception: something.\nStack trace:\n1. ...")
    assert type(error) is kind
    assert str(error) == f"ClickHouse error {code}: DB::Exception: something."


def test_no_code_is_in_two_tables() -> None:
    assert not RETRYABLE.keys() & MISCONFIGURED.keys()


def test_too_many_partitions_is_helped_by_halving() -> None:
    message = "Too many partitions for single INSERT block (more than 100)."
    assert type(error_of(252, message)) is Permanent


def test_log_packets_are_turned_off() -> None:
    made = config(settings={"insert_quorum": 2, "insert_deduplicate": True})
    assert statement_settings(made) == {
        "insert_quorum": 2,
        "insert_deduplicate": 1,
        "send_logs_level": "none",
    }
    waiting = insert_settings(config(async_insert=True))
    assert waiting["wait_for_async_insert"] == 1


def test_what_a_server_lacks_is_said() -> None:
    with pytest.raises(Misconfigured, match=r"ClickHouse 18\.16\.1 has no async_insert"):
        check_settings(config(async_insert=True), OLD, None)
    with pytest.raises(Misconfigured, match=r"18\.16\.1 has no setting max_memory_usag\b"):
        check_settings(config(settings={"max_memory_usag": 1}), OLD, None)
    with pytest.raises(Misconfigured, match="cannot be sent to ClickHouse 25"):
        check_settings(config(settings={"max_memory_usage": 1}), NEW, ())
    check_settings(config(async_insert=True, settings={"max_memory_usage": 1}), NEW, None)
    assert NEW.has_tokens
    assert NEW.has_datetime64
    assert not OLD.has_tokens
    assert not OLD.has_datetime64
    assert "max_memory_usage" in settings_wanted(config(settings={"max_memory_usage": 1}))


def test_a_token_is_of_the_positions_and_the_content() -> None:
    batch = batch_of([sample_event(0), sample_event(1)])
    place = ("events", "clickhouse", "wotr.t")
    token = token_of(place, batch, [b"a", b"b"])
    assert token == token_of(place, batch_of([sample_event(0), sample_event(1)]), [b"a", b"b"])
    others = {
        token,
        token_of(place, batch, [b"a", b"c"]),
        token_of(place, batch.take([0]), [b"a", b"b"]),
        token_of(place, batch_of([1, 2], first=1), [b"a", b"b"]),
        token_of(place, batch_of([1, 2], partition="events:1"), [b"a", b"b"]),
        token_of(("events", "other", "wotr.t"), batch, [b"a", b"b"]),
    }
    assert len(others) == 6


DESCRIBED = [
    ("id", "String", "", ""),
    ("n", "Int32", "", ""),
    ("twice", "Int32", "MATERIALIZED", "n * 2"),
    ("state", "AggregateFunction(sum, Int32)", "", ""),
    ("created_at", "DateTime", "DEFAULT", "now()"),
]


def test_columns_that_nobody_maps_are_left_to_the_server() -> None:
    columns = plan_columns(
        DESCRIBED, parse_mapping({"n": "a", "id": "id"}), table="d.t", explicit=True
    )
    assert [(column.name, column.spelling) for column in columns] == [
        ("n", "Int32"),
        ("id", "String"),
    ]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"idd": "id"}, r"d\.t has no column idd \(did you mean id\?\)"),
        ({"twice": "id"}, "twice is MATERIALIZED"),
        ({"state": "id"}, "state has the type AggregateFunction"),
    ],
)
def test_a_mapping_that_does_not_match(mapping: dict[str, str | ColumnDef], message: str) -> None:
    with pytest.raises(Misconfigured, match=message):
        plan_columns(DESCRIBED, parse_mapping(mapping), table="d.t", explicit=True)


def test_another_table_without_a_mapping() -> None:
    with pytest.raises(Misconfigured, match="not the default table"):
        plan_columns(DESCRIBED, parse_mapping(DEFAULT_COLUMNS), table="d.t", explicit=False)
