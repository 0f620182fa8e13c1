"""Letters of different events with one key, in stores that do not do all that is asked."""

from __future__ import annotations

from typing import Any

import pytest

from streamd_s3.bucket import Bucket
from streamd_s3.objects import Object
from tests.garbage import uncollected
from tests.plugins.streamd_s3.test_errors import answer

LETTER = Object("plain", b"{}", [0], ("events", 0, 7), "other")


class Client:
    """A store in which everything is there already. `get` is what it answers to whoever looks."""

    def __init__(self, *, put: int, get: Exception | None = None) -> None:
        self.put, self.get = put, get
        self.stored: list[str] = []

    async def put_object(self, *, Key: str, IfNoneMatch: str = "", **_more: Any) -> None:  # noqa: N803
        if IfNoneMatch:
            raise answer("", self.put)
        self.stored.append(Key)

    async def get_object(self, **_more: Any) -> Any:
        assert self.get is not None
        raise self.get


@pytest.mark.parametrize(
    ("client", "key"),
    [
        (Client(put=501), "plain"),
        (Client(put=412, get=answer("NoSuchKey", 404)), "plain"),
        (Client(put=412, get=answer("AccessDenied", 403)), "other"),
    ],
    ids=["knows no condition", "deleted meanwhile", "may not look"],
)
async def test_no_letter_is_lost_and_none_is_refused(client: Client, key: str) -> None:
    bucket = Bucket(client, "b", content_type="application/json", concurrency=2)
    assert await bucket.put([LETTER]) == {}
    assert client.stored == [key]


async def test_objects_that_are_refused_leave_nothing_to_collect() -> None:
    bucket = Bucket(Client(put=413), "letters", content_type="text/plain", concurrency=2)
    with uncollected() as count:
        assert list(await bucket.put([LETTER] * 20)) == [0]
        assert count() < 20
