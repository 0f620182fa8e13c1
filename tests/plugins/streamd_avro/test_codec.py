"""The codec: what every codec does, its three formats, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import avro.schema
import msgspec
import pytest

from streamd.api import Codec, ConfigError, Misconfigured, Rejected, Retryable
from streamd.testing import stage_context
from streamd.testing.contexts import FakeClock
from streamd.testing.contracts.codec import GARBAGE, CodecContract, CodecSubject
from streamd_avro import get_schema_registry
from streamd_avro.codec import AvroCodec
from streamd_avro.registry import FILE
from streamd_events import Event
from tests.plugins.streamd_avro.helpers import EVENT, SMALL, make_codec, record


class Bare(CodecSubject):
    def __init__(self, state_dir: Path, **config: Any) -> None:
        self._state_dir, self._config = state_dir, config

    def make(self) -> Codec:
        return make_codec(self._state_dir, **self._config)

    def values(self) -> Sequence[Any]:
        return [*super().values(), EVENT, SMALL]


class TestBareContract(CodecContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> CodecSubject:
        return Bare(tmp_path)


class TestSingleObjectContract(CodecContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> CodecSubject:
        return Bare(tmp_path, format="single_object")


# Stored records must be readable for ever: these are the bytes of today.
_SMALL = "02310080f1cfbad366080273040e7b226e223a317d"
_EVENT = (
    "146576745f3132333435360080f1cfbad366000e7765625f61707002060c616374696f6e0a636c69636b0e656c656d"
    "656e741a7375626d69745f627574746f6e0870616765122f636865636b6f757400020e75736572313233020e736573"
    "73343536020410"
    "66726f6e74656e6414636f6e76657273696f6e0002c0a801010206312e30"
)
GOLDEN: list[tuple[str, int, Any, str]] = [
    ("bare", 1, SMALL, _SMALL),
    ("bare", 2, EVENT, _EVENT),
    ("single_object", 1, SMALL, "c301dbe2bbc141f26896" + _SMALL),
    ("single_object", 2, EVENT, "c3015ded0df4db3ff775" + _EVENT),
]


@pytest.mark.parametrize(("format_", "version", "event", "data"), GOLDEN)
def test_golden_bytes(tmp_path: Path, format_: str, version: int, event: Any, data: str) -> None:
    codec = make_codec(tmp_path, format=format_, version=version)
    assert codec.encode([event])[0].hex() == data
    assert codec.decode([bytes.fromhex(data)]) == ([event], {})


def reasons(codec: AvroCodec, raws: Sequence[bytes | None]) -> list[str | None]:
    values, rejects = codec.decode(raws)
    assert len(values) == len(raws)
    assert all(0 < len(reject.message) < 600 for reject in rejects.values())
    return [rejects[row].reason if row in rejects else None for row in range(len(raws))]


def test_bare_records_are_refused_with_their_reason(tmp_path: Path) -> None:
    codec = make_codec(tmp_path)
    (record_,) = codec.encode([EVENT])
    raws = [None, record_, record_[:-1], record_ + b"\0", b"", b"\x01", record_]
    assert reasons(codec, raws) == [
        "tombstone",
        None,
        "malformed_avro",
        "malformed_avro",
        "malformed_avro",
        "malformed_avro",
        None,
    ]


def test_structs_are_written_as_what_they_are(tmp_path: Path) -> None:
    codec = make_codec(tmp_path)
    assert codec.encode([msgspec.convert(EVENT, Event)]) == codec.encode([EVENT])


def test_refused_rows_are_named_with_their_path(tmp_path: Path) -> None:
    bad = {**EVENT, "payload": EVENT["payload"] | {"tags": ["a", 5]}}
    with pytest.raises(Rejected) as caught:
        make_codec(tmp_path).encode([EVENT, bad, "x", EVENT])
    assert {row: reject.message for row, reject in caught.value.rows.items()} == {
        1: "$.payload.tags[1]: expected a string, got int",
        2: "$: expected a record, got str",
    }


def test_versions_and_options(tmp_path: Path) -> None:
    first = make_codec(tmp_path, version="1")
    with pytest.raises(Rejected):
        first.encode([EVENT])
    dropping = make_codec(tmp_path, version=1, extra_fields="drop")
    raws = dropping.encode([EVENT])
    (event,), _ = first.decode(raws)
    assert list(event["payload"]) == ["event_type", "source", "data"]
    assert make_codec(tmp_path, version=1, reader_version="v2").decode(raws) == ([event], {})
    keeping = make_codec(tmp_path, version=1, reader_version=2, nulls="keep")
    ((kept,), _) = keeping.decode(raws)
    assert kept["payload"]["tags"] is None


def test_single_object_records_name_their_schema(tmp_path: Path) -> None:
    one, two = (make_codec(tmp_path, format="single_object", version=v) for v in (1, 2))
    (old,), (new,) = one.encode([SMALL]), two.encode([EVENT])
    assert old[:2] == new[:2] == b"\xc3\x01"
    assert two.decode([old, new]) == one.decode([old, new]) == ([SMALL, EVENT], {})
    own = record("Own", ("a", "int"))
    get_schema_registry(tmp_path / FILE).register_schema("Own", 1, own)
    written = make_codec(tmp_path, format="single_object", schema="Own", version=1)
    (raw,) = written.encode([{"a": 1}])
    assert raw[2:10] == avro.schema.make_avsc_object(own).fingerprint()
    raws = [None, b"", b"\xc3", b"\xc3\x02" + new[2:], new[:9], b"{}", new[:2] + b"x" * 20, new]
    assert reasons(two, raws) == [
        "tombstone",
        "empty",
        "malformed_avro",
        "wrong_magic",
        "malformed_avro",
        "wrong_magic",
        "unknown_schema",
        None,
    ]


def test_a_schema_that_is_registered_later_becomes_known(tmp_path: Path) -> None:
    clock = FakeClock()
    context = stage_context("source", state_dir=tmp_path, clock=clock)
    codec = AvroCodec(AvroCodec.Config(format="single_object"), context)
    assert reasons(codec, [b"\xc3\x01" + bytes(8)]) == ["unknown_schema"]
    get_schema_registry(tmp_path / FILE).register_schema("Own", 1, record("Own", ("a", "int")))
    settings: dict[str, Any] = {"format": "single_object", "schema": "Own", "version": 1}
    raws = make_codec(tmp_path, **settings).encode([{"a": 1}])
    assert reasons(codec, raws) == ["unknown_schema"], "it looks once a second"
    clock.advance(1)
    assert codec.decode(raws) == ([{"a": 1}], {})


def test_without_its_schema_nothing_can_be_done(tmp_path: Path) -> None:
    for name, version in (("Nothing", 1), ("IngestEvent", 3)):
        for format_ in ("bare", "single_object"):
            codec = make_codec(tmp_path, format=format_, schema=name, version=version)
            with pytest.raises(Misconfigured, match="streamd schema register"):
                codec.encode([EVENT])
        with pytest.raises(Misconfigured, match="streamd schema register"):
            make_codec(tmp_path, schema=name, version=version).decode([b"x"])
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(Misconfigured, match="not a database"):
        make_codec(tmp_path).decode([b"x"])


def test_a_registry_that_is_locked_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    registry = get_schema_registry(tmp_path / FILE)
    registry.register_schema("Own", 1, record("Own", ("a", "int")))
    monkeypatch.setattr("streamd_avro.store._BUSY", 0.0)
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    codec = make_codec(tmp_path, schema="Own", version=1)
    with pytest.raises(Retryable, match="locked"):
        codec.encode([{"a": 1}])
    other.execute("ROLLBACK")
    other.close()
    assert codec.encode([{"a": 1}]) == [b"\x02"]


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"version": 0}, "version"),
        ({"version": "two"}, "version"),
        ({"reader_version": "x"}, "reader_version"),
        ({"format": "confluent"}, "registry"),
        ({"format": "confluent", "registry": "127.0.0.1:8081"}, "registry"),
        ({"format": "confluent", "registry": "http://127.0.0.1:8081"}, "subject"),
        ({"format": "confluent", "registry": "http://me:secret@127.0.0.1"}, "registry"),
        ({"registry": "http://127.0.0.1:8081"}, "registry"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, config: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_codec(tmp_path, role="sink", **config)
    assert caught.value.path == path


def test_building_it_touches_nothing(tmp_path: Path) -> None:
    for format_ in ("bare", "single_object"):
        make_codec(tmp_path, format=format_)
    make_codec(tmp_path, format="confluent", registry="http://192.0.2.1")
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_the_garbage_passes_with_a_header(tmp_path: Path) -> None:
    codec = make_codec(tmp_path, format="single_object")
    header = codec.encode([EVENT])[0][:10]
    assert None not in reasons(codec, [header + garbage for garbage in GARBAGE])
