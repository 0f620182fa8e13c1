"""Events as objects: one each, or many in one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Annotated, Any, ClassVar, Literal, Self

import anyio
from anyio import to_thread
from msgspec import Meta

from streamd.api import (
    DEAD_LETTERS,
    Batch,
    BatchLimits,
    ConfigError,
    DeadLetterStore,
    Duration,
    Misconfigured,
    Rejected,
    Secret,
    StageConfig,
    StageContext,
    doc,
)
from streamd_files.encoding import codec_of, encode, encode_lines
from streamd_files.names import Template, check_names_batches, check_names_events
from streamd_s3.objects import per_batch, per_event

_CLOSE_TIMEOUT = 5.0
_COUNT_MOST = 100_000


class S3Sink:
    """Store events as objects in an S3-compatible store."""

    class Config(StageConfig, frozen=True, kw_only=True):
        bucket: Annotated[
            str, doc("Bucket to write to.", example="dead-letters"), Meta(min_length=1)
        ]
        endpoint: Annotated[
            str,
            doc(
                "Address of the store. host:port alone means http; empty: Amazon's.",
                example="127.0.0.1:9000",
            ),
        ] = ""
        region: Annotated[str, doc("Region of the bucket.")] = "us-east-1"
        access_key: Annotated[Secret, doc("Access key; empty: that of the environment.")] = Secret()
        secret_key: Annotated[Secret, doc("Secret key; empty: that of the environment.")] = Secret()
        create_bucket: Annotated[bool, doc("Create the bucket if there is none.")] = False
        objects: Annotated[
            Literal["auto", "event", "batch"],
            doc("One object per event, or one per batch; auto: per event for dead letters."),
        ] = "auto"
        key: Annotated[
            str,
            doc(
                "Key of an object, with fields such as %Y/%m/%d, {topic} or {payload.source}. By"
                " default failed/%Y/%m/%d/{dlq_id}.json for dead letters, and for other events"
                " the place they come from."
            ),
        ] = ""
        cut: Annotated[
            int,
            doc(
                "No object of a batch reaches over a multiple of so many offsets, so that a"
                " replay comes back to the same objects."
            ),
            Meta(ge=1),
        ] = 10_000
        compression: Annotated[Literal["gzip", "none"], doc("Of objects that hold a batch.")] = (
            "gzip"
        )
        concurrency: Annotated[int, doc("Objects stored at a time."), Meta(ge=1, le=256)] = 16
        timeout: Annotated[Duration, doc("How long one answer of the store may take.")] = Duration(
            "30s"
        )
        path_style: Annotated[bool, doc("Name the bucket in the path, not in the host name.")] = (
            True
        )

    # Bodies are hashed on the event loop: larger ones would hold everything up.
    batch: ClassVar[BatchLimits] = BatchLimits(rows=10_000, bytes=8 * 1024 * 1024, time=1.0)

    def __init__(self, config: Config, context: StageContext) -> None:
        dead_letters = set(context.inputs) == {DEAD_LETTERS}
        self._config = config
        self._per_event = config.objects == "event" or (config.objects == "auto" and dead_letters)
        self._dead_letters = dead_letters
        self._codec = codec_of(context, lines=not self._per_event)
        self._log = context.log
        self._gzip = config.compression == "gzip" and not self._per_event
        self._template = self._checked(config.key or self._default_key(dead_letters=dead_letters))
        self._exit = AsyncExitStack()
        self._bucket: Any = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            bucket = await stack.enter_async_context(self._open())
            if not await bucket.exists():
                if not self._config.create_bucket:
                    raise Misconfigured(self._no_bucket())
                await bucket.create(self._config.region)
                self._log.info("Created the bucket", bucket=self._config.bucket)
            self._exit = stack.pop_all()
        self._bucket = bucket
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._bucket = None
        with anyio.move_on_after(_CLOSE_TIMEOUT, shield=True):
            await self._exit.aclose()

    async def write(self, batch: Batch) -> None:
        encoded = (encode if self._per_event else encode_lines)(self._codec, batch)
        if self._per_event:
            objects = per_event(encoded, self._template, letters=self._dead_letters)
        else:
            # Packing a few megabytes takes longer than the event loop may be held up.
            objects = await to_thread.run_sync(
                lambda: per_batch(encoded, self._template, cut=self._config.cut, gzip=self._gzip)
            )
        rejects = await self._bucket.put(objects) | encoded.rejects
        if rejects:
            raise Rejected(rejects)

    async def healthcheck(self) -> str:
        async with self._open() as bucket:
            if await bucket.exists():
                return f"bucket {self._config.bucket} is there"
        if self._config.create_bucket:
            return f"bucket {self._config.bucket} will be created"
        raise Misconfigured(self._no_bucket())

    async def backlog(self) -> int:
        """Objects whose key begins as ours do, counted up to a hundred thousand."""
        found: int = await self._bucket.count(self._template.prefix, _COUNT_MOST)
        return found

    @asynccontextmanager
    async def dead_letters(self) -> AsyncIterator[DeadLetterStore]:
        """See `streamd.api.KeepsDeadLetters`."""
        from streamd_s3.letters import Letters

        async with self._open() as bucket:
            if not await bucket.exists():
                raise Misconfigured(self._no_bucket())
            yield Letters(bucket, self._template, self._codec, per_event=self._per_event)

    def _open(self) -> AbstractAsyncContextManager[Any]:
        from streamd_s3.bucket import open_bucket

        config = self._config
        if self._per_event:
            content_type = self._codec.content_type
        else:
            content_type = "application/gzip" if self._gzip else "application/x-ndjson"
        return open_bucket(
            config.bucket,
            content_type=content_type,
            concurrency=config.concurrency,
            endpoint=config.endpoint,
            region=config.region,
            access_key=config.access_key,
            secret_key=config.secret_key,
            path_style=config.path_style,
            timeout=config.timeout,
        )

    def _default_key(self, *, dead_letters: bool) -> str:
        if self._per_event and dead_letters:
            return "failed/%Y/%m/%d/{dlq_id}.json"
        if self._per_event:
            return "{topic}/{partition}/{offset:012}" + self._codec.extension
        # The digest: where a source starts again at offset 0 (a topic made anew, say), other
        # events under the same offsets must not overwrite what is archived.
        name = "{topic}/{partition}/{first_offset:012}-{last_offset:012}-{digest}.ndjson"
        return name + ".gz" if self._gzip else name

    def _checked(self, key: str) -> Template:
        try:
            template = Template(key)
            (check_names_events if self._per_event else check_names_batches)(template)
        except ValueError as error:
            raise ConfigError(str(error), path="key") from None
        return template

    def _no_bucket(self) -> str:
        return f"there is no bucket {self._config.bucket}; create_bucket = true would make it"
