"""The serializer: strict, exact, small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd_avro import AvroSerializer, get_schema_registry
from streamd_avro.problems import Malformed, NotEncodable, Unresolvable
from streamd_avro.schema import NotRegisteredError
from streamd_events import Event
from tests.plugins.streamd_avro.helpers import EVENT, SMALL, patient, record


@pytest.fixture
def serializer(tmp_path: Path) -> AvroSerializer:
    return AvroSerializer(get_schema_registry(tmp_path / "schemas.sqlite"))


def test_the_whole_event_comes_back(serializer: AvroSerializer) -> None:
    data = serializer.serialize(EVENT, "IngestEvent", 2)
    assert serializer.deserialize(data, "IngestEvent", 2) == EVENT
    assert serializer.serialize(msgspec.convert(EVENT, Event), "IngestEvent", "v2") == data


def test_it_is_small(serializer: AvroSerializer) -> None:
    size = len(serializer.serialize(EVENT, "IngestEvent", 2))
    assert size == 131
    assert size < 0.45 * len(msgspec.json.encode(EVENT))


def test_versions_read_each_other(serializer: AvroSerializer) -> None:
    first = serializer.serialize(SMALL, "IngestEvent", 1)
    seen = serializer.deserialize(first, "IngestEvent", 1, 2)
    more = dict.fromkeys(("user_id", "session_id", "tags", "ip_address", "version"))
    assert seen == {**SMALL, "payload": SMALL["payload"] | more}
    second = serializer.serialize(EVENT, "IngestEvent", 2)
    seen = serializer.deserialize(second, "IngestEvent", writer_version=2, reader_version=1)
    kept = {key: EVENT["payload"][key] for key in ("event_type", "source", "data")}
    assert seen == {**EVENT, "payload": kept}


def test_nothing_is_left_out(serializer: AvroSerializer) -> None:
    with pytest.raises(NotEncodable) as caught:
        serializer.serialize(EVENT, "IngestEvent", 1)
    assert str(caught.value).startswith("$.payload: not in the schema: 'user_id'")
    for change in ({"tags": [1]}, {"tags": "x"}, {"user_id": 5}, {"event_type": "click"}):
        wrong = {**EVENT, "payload": EVENT["payload"] | change}
        with pytest.raises(NotEncodable):
            serializer.serialize(wrong, "IngestEvent", 2)


def test_what_is_not_there_is_told(serializer: AvroSerializer) -> None:
    data = serializer.serialize(EVENT, "IngestEvent", 2)
    with pytest.raises(NotRegisteredError):
        serializer.serialize(EVENT, "IngestEvent", 3)
    with pytest.raises(NotRegisteredError):
        serializer.deserialize(data, "IngestEvent", 2, 9)
    with pytest.raises(Malformed, match="left over"):
        serializer.deserialize(data + b"\0", "IngestEvent", 2)
    with pytest.raises(Malformed, match="ends"):
        serializer.deserialize(data[:-1], "IngestEvent", 2)


def test_a_schema_of_ones_own(tmp_path: Path) -> None:
    registry = get_schema_registry(tmp_path / "schemas.sqlite")
    registry.register_schema("Sum", 1, record("Sum", ("n", "int")))
    registry.register_schema("Sum", 2, record("Sum", ("n", ["null", "long"], None)))
    serializer = AvroSerializer(registry)
    data = serializer.serialize({"n": 5}, "Sum", 1)
    assert data == b"\x0a"
    assert serializer.deserialize(data, "Sum", 1, reader_version=2) == {"n": 5}
    for wrong in (2**40, 1.9, True, "5"):
        with pytest.raises(NotEncodable):
            serializer.serialize({"n": wrong}, "Sum", 1)
    nothing = serializer.serialize({}, "Sum", 2)
    with pytest.raises(Unresolvable):
        serializer.deserialize(nothing, "Sum", 2, reader_version=1)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
moments = st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat())
addresses = st.ip_addresses().map(str)


def optional(**fields: Any) -> Any:
    return st.fixed_dictionaries({}, optional=fields)


events = st.fixed_dictionaries(
    {
        "id": texts,
        "timestamp": moments | texts | moments.map(lambda text: text[:19] + "Z"),
        "payload": st.builds(
            lambda required, more: required | more,
            st.fixed_dictionaries(
                {"event_type": st.sampled_from(["user_action", "metric"]), "source": texts}
            ),
            optional(
                data=st.dictionaries(texts, documents, max_size=4)
                | st.dictionaries(texts, texts, max_size=4),
                user_id=texts,
                session_id=texts,
                tags=st.lists(texts, max_size=3),
                ip_address=addresses | texts,
                version=texts,
            ),
        ),
    }
)


@patient
@given(events)
def test_any_event_comes_back(event: Any) -> None:
    serializer = AvroSerializer(get_schema_registry("nowhere/schemas.sqlite"))
    back = serializer.deserialize(serializer.serialize(event, "IngestEvent", 2), "IngestEvent", 2)
    payload = back["payload"]
    back["payload"] = {key: value for key, value in payload.items() if value is not None}
    assert msgspec.json.encode(back, order="sorted") == msgspec.json.encode(event, order="sorted")
    assert set(payload) == {
        *("event_type", "source", "data", "user_id", "session_id"),
        *("tags", "ip_address", "version"),
    }


@patient
@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(data: bytes) -> None:
    """What is taken says the same when it is written again, though perhaps in other bytes."""
    serializer = AvroSerializer(get_schema_registry("nowhere/schemas.sqlite"))
    try:
        event = serializer.deserialize(data, "IngestEvent", 2)
    except (Malformed, Unresolvable):
        return
    again = serializer.serialize(event, "IngestEvent", 2)
    assert serializer.deserialize(again, "IngestEvent", 2) == event
