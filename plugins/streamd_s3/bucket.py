"""One bucket of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio

from streamd.api import Misconfigured, Permanent, Reject, Retryable, StreamdError
from streamd_files.apart import place_in
from streamd_s3.client import FAILURES, connect, error_of
from streamd_s3.objects import Object

_FORBIDDEN, _NOT_FOUND, _IS_THERE, _NOT_IMPLEMENTED = 403, 404, 412, 501

_AMAZONS_FIRST = "us-east-1"  # the one region that must not be named when a bucket is created


@asynccontextmanager
async def open_bucket(
    name: str, *, content_type: str, concurrency: int, **settings: Any
) -> AsyncIterator[Bucket]:
    """`settings` are those of `connect`. Raises Misconfigured."""
    async with connect(connections=concurrency, **settings) as client:
        yield Bucket(client, name, content_type=content_type, concurrency=concurrency)


class Bucket:
    """Puts and counts objects; `client` is an entered S3 client."""

    def __init__(self, client: Any, name: str, *, content_type: str, concurrency: int) -> None:
        self._client = client
        self._name = name
        self._content_type = content_type
        self._turn = anyio.Semaphore(concurrency)

    async def exists(self) -> bool:
        """Raises StreamdError if that cannot be found out."""
        try:
            await self._client.head_bucket(Bucket=self._name)
        except FAILURES as error:
            if _status(error) == _NOT_FOUND:
                return False
            raise error_of(error) from error
        return True

    async def create(self, region: str) -> None:
        """Raises StreamdError; a bucket that is there already is fine."""
        place = {} if region == _AMAZONS_FIRST else {"LocationConstraint": region}
        options = {"CreateBucketConfiguration": place} if place else {}
        try:
            await self._client.create_bucket(Bucket=self._name, **options)
        except FAILURES as error:
            if not await self.exists():  # another daemon may have been faster
                raise error_of(error) from error

    async def put(self, objects: Sequence[Object]) -> dict[int, Reject]:
        """Store the objects, several at a time. Rows of those that can never be stored.

        Raises Misconfigured or Retryable if any of them may be stored later.
        """
        failures: list[tuple[Object, StreamdError]] = []
        async with anyio.create_task_group() as group:
            for item in objects:
                await self._turn.acquire()
                if any(not isinstance(error, Permanent) for _, error in failures):
                    self._turn.release()
                    break  # all of them will be tried again: do not knock at a closed door
                group.start_soon(self._put, item, failures)
        for kind in (Misconfigured, Retryable):
            for _, error in failures:
                if isinstance(error, kind):
                    raise error
        return {
            row: Reject("object_refused", str(error), error_type="ClientError")
            for item, error in failures
            for row in item.rows
        }

    async def count(self, prefix: str, most: int) -> int:
        """How many objects there are, up to about `most`. Raises StreamdError."""
        found = 0
        token: dict[str, str] = {}
        while found < most:
            with _translated():
                page = await self._client.list_objects_v2(Bucket=self._name, Prefix=prefix, **token)
            found += page["KeyCount"]
            if not page["IsTruncated"]:
                break
            token = {"ContinuationToken": page["NextContinuationToken"]}
        return found

    async def keys(self, prefix: str, after: str) -> AsyncIterator[list[str]]:
        """The keys that begin so, behind `after`, in their order, many at a time.

        Raises StreamdError.
        """
        options = {"StartAfter": after} if after else {}
        while True:
            with _translated():
                page = await self._client.list_objects_v2(
                    Bucket=self._name, Prefix=prefix, **options
                )
            yield [item["Key"] for item in page.get("Contents", ())]
            if not page["IsTruncated"]:
                return
            options = {"ContinuationToken": page["NextContinuationToken"]}

    async def get(self, key: str) -> tuple[str, bytes] | None:
        """The tag of an object's content, and its body; None if it is gone. Raises StreamdError."""
        async with self._turn:
            try:
                found = await self._client.get_object(Bucket=self._name, Key=key)
                async with found["Body"] as body:
                    return found["ETag"], await body.read()
            except FAILURES as error:
                if _status(error) == _NOT_FOUND:
                    return None
                raise error_of(error) from error

    async def tag(self, key: str) -> str | None:
        """The tag of an object's content, None if it is gone. Raises StreamdError."""
        async with self._turn:
            try:
                found = await self._client.head_object(Bucket=self._name, Key=key)
            except FAILURES as error:
                if _status(error) == _NOT_FOUND:
                    return None
                raise error_of(error) from error
        tag: str = found["ETag"]
        return tag

    async def delete(self, key: str) -> None:
        """Raises StreamdError."""
        async with self._turn:
            with _translated():
                await self._client.delete_object(Bucket=self._name, Key=key)

    async def _put(self, item: Object, failures: list[tuple[Object, StreamdError]]) -> None:
        try:
            if item.place is None:
                await self._store(item.key, item.body)
            else:
                await self._store_letter(item)
        except FAILURES as error:
            failures.append((item, _meaning(error)))
            # This frame is known to the error: it must not know it in turn, or the circle around
            # the object is only freed by a garbage collection.
            del failures
        finally:
            self._turn.release()

    async def _store(self, key: str, body: bytes, **options: str) -> None:
        await self._client.put_object(
            Bucket=self._name, Key=key, Body=body, ContentType=self._content_type, **options
        )

    async def _store_letter(self, item: Object) -> None:
        """Overwrite the letter of the same event, but of no other."""
        try:
            await self._store(item.key, item.body, IfNoneMatch="*")
            return
        except FAILURES as error:
            # A server that does not know the condition cannot tell: there the last one counts.
            if _status(error) not in (_IS_THERE, _NOT_IMPLEMENTED):
                raise
            taken = _status(error) == _IS_THERE and await self._is_of_another(item)
        await self._store(item.other if taken else item.key, item.body)

    async def _is_of_another(self, item: Object) -> bool:
        try:
            found = await self._client.get_object(Bucket=self._name, Key=item.key)
            async with found["Body"] as body:
                place = place_in(await body.read())
        except FAILURES as error:
            if _status(error) == _NOT_FOUND:
                return False  # it was deleted meanwhile
            if _status(error) == _FORBIDDEN:
                return True  # who may only write cannot look: rather two than none
            raise
        return place not in (None, item.place)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise error_of(error) from error


def _meaning(error: Exception) -> StreamdError:
    meaning = error_of(error)
    meaning.__cause__ = error
    return meaning


def _status(error: Exception) -> int:
    response = getattr(error, "response", None) or {}
    status: int = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status
