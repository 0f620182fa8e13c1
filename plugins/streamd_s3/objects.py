"""Cutting a batch into objects. Pure: the same rows give the same keys and bytes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

from streamd_files.apart import Place, place_of, told_apart
from streamd_files.encoding import Encoded
from streamd_files.names import Template


class Object(NamedTuple):
    """One object. `rows` are the numbers, in the whole batch, of the events in it.

    A dead letter has the `place` of its event, and `other`, its key where the other is that of an
    event in another place.
    """

    key: str
    body: bytes
    rows: Sequence[int]
    place: Place | None = None
    other: str = ""


def per_event(encoded: Encoded, template: Template, *, letters: bool = False) -> list[Object]:
    """An object of each event. Of events with the same key the last one counts, as it would if
    they were written one after the other; `letters` of different events are told apart."""
    batch = encoded.batch
    objects: dict[str, Object] = {}
    columns = template.columns(batch)
    for row, own, offset, record, value in zip(
        encoded.rows, columns, batch.offsets, encoded.records, batch.values, strict=True
    ):
        key = template.render(own, first=offset, last=offset, content=record)
        place = place_of(value) if letters else None
        other = "" if place is None else told_apart(key, template.suffix, place)
        if place is not None and key in objects and objects[key].place != place:
            key = other
        rows = [*objects[key].rows, row] if key in objects else [row]
        objects[key] = Object(key, record, rows, place, other)
    return list(objects.values())


def per_batch(encoded: Encoded, template: Template, *, cut: int, gzip: bool) -> list[Object]:
    """An object of the events that share partition, the template's own parts, and the range of
    `cut` offsets: a replay that takes the batch apart elsewhere comes back to the same cuts."""
    offsets, records = encoded.batch.offsets, encoded.records
    objects = []
    for own, members in _groups(encoded, template, cut):
        body = b"\n".join([*[records[i] for i in members], b""])
        key = template.render(
            own, first=offsets[members[0]], last=offsets[members[-1]], content=body
        )
        packed = gzip_of(body) if gzip else body
        objects.append(Object(key, packed, [encoded.rows[i] for i in members]))
    return objects


def _groups(
    encoded: Encoded, template: Template, cut: int
) -> list[tuple[tuple[str, ...], list[int]]]:
    batch = encoded.batch
    columns, offsets = template.columns(batch), batch.offsets
    groups: dict[tuple[str, int, tuple[str, ...]], list[int]] = {}
    first = 0
    for partition, _, _, rows in batch.spans:
        for i in range(first, first + rows):
            groups.setdefault((partition, offsets[i] // cut, columns[i]), []).append(i)
        first += rows
    return [(own, members) for (_, _, own), members in groups.items()]


def gzip_of(body: bytes) -> bytes:
    """Without a time in its header, so that the same events are the same bytes."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()
