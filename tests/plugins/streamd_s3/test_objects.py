"""Keys and bodies, without a store."""

from __future__ import annotations

import gzip
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.api import Batch, ConfigError, merge
from streamd.testing import PlainJson, batch_of
from streamd.testing.contracts import sink_context
from streamd.testing.contracts.dead_letters import document, letters_of
from streamd_files.encoding import encode_lines
from streamd_files.names import Template
from streamd_s3 import S3Sink
from streamd_s3.objects import Object, per_batch, per_event

KEY = "{topic}/{partition}/{first_offset}"


def cut_up(batch: Batch, *, cut: int, key: str = KEY, packed: bool = False) -> list[Object]:
    return per_batch(encode_lines(PlainJson(), batch), Template(key), cut=cut, gzip=packed)


def numbers(count: int, first: int = 0, partition: str = "events:0") -> Batch:
    return batch_of(list(range(first, first + count)), first=first, partition=partition)


def test_objects_end_at_multiples_of_the_cut() -> None:
    objects = cut_up(numbers(25, first=7), cut=10)
    assert [(o.key, o.body) for o in objects] == [
        ("events/0/7", b"7\n8\n9\n"),
        ("events/0/10", b"".join(b"%d\n" % n for n in range(10, 20))),
        ("events/0/20", b"".join(b"%d\n" % n for n in range(20, 30))),
        ("events/0/30", b"30\n31\n"),
    ]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 30))
def test_a_replay_comes_back_to_the_same_objects(sizes: list[int], resumed_at: int) -> None:
    total, cut = sum(sizes), 10
    resumed_at = min(resumed_at, total - 1)
    whole = {o.key: o.body for o in cut_up(numbers(total), cut=cut)}
    replay = {o.key: o.body for o in cut_up(numbers(total - resumed_at, resumed_at), cut=cut)}
    after_first_cut = {key: body for key, body in replay.items() if key != f"events/0/{resumed_at}"}
    assert after_first_cut.items() <= whole.items()


def test_partitions_have_their_own_objects() -> None:
    batch = merge([numbers(2, partition="a:0"), numbers(3, partition="b:1"), numbers(1, 2, "a:0")])
    objects = cut_up(batch, cut=100)
    assert [(o.key, o.body, list(o.rows)) for o in objects] == [
        ("a/0/0", b"0\n1\n2\n", [0, 1, 5]),
        ("b/1/0", b"0\n1\n2\n", [2, 3, 4]),
    ]


def test_fields_of_the_event_part_objects() -> None:
    events = [{"kind": "x"}, {"kind": "y"}, {"kind": "x"}]
    objects = cut_up(batch_of(events), cut=100, key="{kind}/" + KEY)
    assert [(o.key, list(o.rows)) for o in objects] == [
        ("x/events/0/0", [0, 2]),
        ("y/events/0/1", [1]),
    ]


def test_gzip_is_the_same_each_time() -> None:
    first, again = (cut_up(numbers(5), cut=10, packed=True)[0].body for _ in range(2))
    assert first == again
    assert gzip.decompress(first) == b"0\n1\n2\n3\n4\n"


def test_rows_are_those_of_the_whole_batch() -> None:
    batch = batch_of([1, object(), 2, object(), 3], raws=[b""] * 5)
    (item,) = cut_up(batch, cut=10)
    assert list(item.rows) == [0, 2, 4]


def test_of_the_same_event_twice_the_last_counts() -> None:
    batch = batch_of([{"id": "a", "n": 1}, {"id": "b", "n": 2}, {"id": "a", "n": 3}])
    objects = per_event(encode_lines(PlainJson(), batch), Template("{id}"))
    assert [(o.key, msgspec.json.decode(o.body)["n"], list(o.rows)) for o in objects] == [
        ("a", 3, [0, 2]),
        ("b", 2, [1]),
    ]


def test_letters_of_different_events_are_told_apart() -> None:
    letters = [document(1, metadata={"partition": 0, "offset": offset}) for offset in (1, 7, 1)]
    encoded = encode_lines(PlainJson(), letters_of(letters))
    template = Template("failed/{dlq_id}.json")
    first, second = per_event(encoded, template, letters=True)
    assert (first.key, list(first.rows)) == ("failed/dlq_1700000000000_e1.json", [0, 2])
    assert second.key == second.other
    assert re.fullmatch(r"failed/dlq_1700000000000_e1-[0-9a-f]{12}\.json", second.key)
    (alone,) = per_event(
        encode_lines(PlainJson(), letters_of(letters[1:2])), template, letters=True
    )
    assert (alone.key, alone.other) == (first.key, second.key), "the same in every life"


def keys_of(batch: Batch, inputs: tuple[str, ...] = ("main",), **settings: Any) -> list[str]:
    sink = S3Sink(S3Sink.Config(bucket="b", **settings), sink_context(inputs=inputs))
    encoded = encode_lines(PlainJson(), batch)
    if sink._per_event:
        return [item.key for item in per_event(encoded, sink._template)]
    return [item.key for item in per_batch(encoded, sink._template, cut=10_000, gzip=sink._gzip)]


def test_default_keys() -> None:
    dead = batch_of([{"dlq_id": "dlq_1763548200123_evt%2F1"}], timestamps=[1_763_548_200_123])
    assert keys_of(dead, ("dead_letters",)) == ["failed/2025/11/19/dlq_1763548200123_evt%2F1.json"]
    events = numbers(2, 7)
    assert keys_of(events, objects="event") == [
        "events/0/000000000007.json",
        "events/0/000000000008.json",
    ]
    (archive,) = keys_of(events)
    assert archive.startswith("events/0/000000000007-000000000008-")
    assert archive.endswith(".ndjson.gz")
    (plain,) = keys_of(events, compression="none")
    assert plain.endswith(".ndjson")


def test_other_events_under_the_same_offsets_do_not_overwrite() -> None:
    assert keys_of(batch_of([1, 2])) != keys_of(batch_of([1, 3]))
    assert keys_of(batch_of([1, 2])) == keys_of(batch_of([1, 2]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"key": "archive.ndjson"}, r"overwrite.*\{digest\}"),
        ({"key": "{topic}/%Y/%m/%d.ndjson"}, "overwrite"),
        ({"key": "{first_offset}.ndjson"}, "overwrite"),
        ({"key": "{id}", "objects": "batch"}, "overwrite"),
        ({"key": "{payload.source}", "objects": "event"}, r"overwrite.*\{dlq_id\}"),
        ({"key": "{digest", "objects": "event"}, "expected"),
    ],
)
def test_keys_must_tell_apart(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        S3Sink(S3Sink.Config(bucket="b", **settings), sink_context())
    assert caught.value.path == "key"


def test_secrets_are_not_printed() -> None:
    config = msgspec.convert(
        {"bucket": "b", "access_key": "AK", "secret_key": "very-secret"},
        S3Sink.Config,
        dec_hook=lambda kind, value: kind(value),
    )
    assert "very-secret" not in repr(config)
