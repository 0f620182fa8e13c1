"""The bucket as a store of dead letters: an object each, or many lines in one."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence

import anyio

from streamd.api import Codec, StoredLetter, read_letter
from streamd_files.names import Template
from streamd_s3.bucket import Bucket
from streamd_s3.objects import Object, gzip_of

_AT_A_TIME = 100
_GZIP = b"\x1f\x8b"


class Letters:
    """A place is an object's key, and the number of the line for an object that holds a batch.

    The store cannot compare and delete in one step. A letter that is written anew between the two
    would be lost; only an event that fails again at that very moment is.
    """

    def __init__(
        self, bucket: Bucket, template: Template, codec: Codec, *, per_event: bool
    ) -> None:
        self._bucket = bucket
        self._template = template
        self._codec = codec
        self._per_event = per_event

    async def read(self, after: str = "") -> AsyncIterator[StoredLetter]:
        """See `DeadLetterStore`."""
        key, _, _ = after.partition("\n")
        # Of an object of which not all lines were read the rest still is to come.
        skip_to = "" if self._per_event else after
        begin = key if self._per_event else key[:-1]
        async for keys in self._bucket.keys(self._template.prefix, begin):
            ours = [key for key in keys if key.endswith(self._template.suffix)]
            for at in range(0, len(ours), _AT_A_TIME):
                for letter in await self._fetch(ours[at : at + _AT_A_TIME]):
                    if letter.place > skip_to:
                        yield letter

    async def remove(self, letters: Sequence[StoredLetter]) -> int:
        """See `DeadLetterStore`."""
        gone: list[int] = []
        by_key: dict[str, list[StoredLetter]] = {}
        for letter in letters:
            by_key.setdefault(letter.place.partition("\n")[0], []).append(letter)

        async def remove(key: str, some: list[StoredLetter]) -> None:
            one = self._remove_object if self._per_event else self._remove_lines
            gone.append(await one(key, some))

        async with anyio.create_task_group() as group:
            for key, some in by_key.items():
                group.start_soon(remove, key, some)
        return sum(gone)

    async def _fetch(self, keys: Sequence[str]) -> list[StoredLetter]:
        found: dict[str, list[StoredLetter]] = {}

        async def fetch(key: str) -> None:
            if (got := await self._bucket.get(key)) is not None:
                found[key] = await self._letters(key, *got)

        async with anyio.create_task_group() as group:
            for key in keys:
                group.start_soon(fetch, key)
        return [letter for key in keys for letter in found.get(key, ())]

    async def _letters(self, key: str, tag: str, body: bytes) -> list[StoredLetter]:
        if self._per_event:
            return [await self._letter(key, tag, body)]
        return [
            await self._letter(f"{key}\n{number:08}", _digest(line), line)
            for number, line in enumerate(_lines(body))
        ]

    async def _letter(self, place: str, version: str, raw: bytes) -> StoredLetter:
        try:
            return StoredLetter(place, version, await read_letter(self._codec, raw))
        except ValueError as error:
            return StoredLetter(place, version, {}, str(error))

    async def _remove_object(self, key: str, letters: Sequence[StoredLetter]) -> int:
        if await self._bucket.tag(key) != letters[0].version:
            return 0
        await self._bucket.delete(key)
        return 1

    async def _remove_lines(self, key: str, letters: Sequence[StoredLetter]) -> int:
        """Write the object without them, or delete it with the last of them."""
        if (got := await self._bucket.get(key)) is None:
            return 0
        lines, versions = _lines(got[1]), [letter.version for letter in letters]
        kept = []
        for line in lines:
            if (version := _digest(line)) in versions:
                versions.remove(version)
            else:
                kept.append(line)
        if kept:
            body = b"\n".join([*kept, b""])
            packed = gzip_of(body) if got[1].startswith(_GZIP) else body
            rejects: Mapping[int, object] = await self._bucket.put([Object(key, packed, [0])])
            if rejects:
                return 0
        else:
            await self._bucket.delete(key)
        return len(lines) - len(kept)


def _lines(body: bytes) -> list[bytes]:
    if body.startswith(_GZIP):
        body = zlib.decompress(body, 16 + zlib.MAX_WBITS)
    return [line for line in body.split(b"\n") if line.strip()]


def _digest(line: bytes) -> str:
    return hashlib.blake2b(line, digest_size=16).hexdigest()
