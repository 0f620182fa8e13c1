"""Events from files or standard input, one per line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from anyio import to_thread

from streamd.api import Batch, ConfigError, Duration, Size, StageConfig, StageContext, doc
from streamd_files.files import Files
from streamd_files.lineage import Lineage
from streamd_files.readers import Reader
from streamd_files.stdin import Stdin
from streamd_files.tail import Tail


class FileSource:
    """Read events from files or standard input, one per line."""

    class Config(StageConfig, frozen=True, kw_only=True):
        path: Annotated[
            str,
            doc(
                "File to read, a pattern for many of them, or - for standard input. A pattern"
                " must not match the names that rotated files get.",
                example="events.jsonl",
            ),
        ]
        follow: Annotated[bool, doc("Wait for more when the end is reached.")] = False
        start: Annotated[
            Literal["beginning", "end"],
            doc("Where to begin with what a file holds when it is seen for the first time."),
        ] = "beginning"
        max_line: Annotated[
            Size, doc("Longest line. A longer one is cut and marked, so it is no valid event.")
        ] = Size("1MiB")
        interval: Annotated[Duration, doc("How often to look whether a file has grown.")] = (
            Duration("250ms")
        )

        def claims(self) -> tuple[str, ...]:
            """What is known of a file that rotates is kept for one reader."""
            return ("standard input" if self.path == "-" else f"the file {self.path}",)

    def __init__(self, config: Config, context: StageContext) -> None:
        if config.start == "end" and not config.follow:
            message = 'start = "end" needs follow = true to read anything'
            raise ConfigError(message, path="start", also="follow")
        self.resumes = config.path != "-"
        self._context = context
        self._reader = self._make_reader(config, context)

    async def __aenter__(self) -> Self:
        await self._reader.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._reader.close()

    async def poll(self, max_events: int, timeout: float) -> list[Batch]:
        return await self._reader.poll(max_events, timeout)

    async def commit(self, positions: Mapping[str, int], tag: str) -> None:  # noqa: ARG002
        self._reader.committed(positions)

    def exhausted(self) -> bool:
        return self._reader.exhausted()

    async def healthcheck(self) -> str:
        return await to_thread.run_sync(self._reader.check)

    def _make_reader(self, config: Config, context: StageContext) -> Reader:
        assert context.control is not None
        cut = context.metrics.counter(
            "file_lines_cut_total", "Lines that were longer than max_line."
        )
        if config.path == "-":
            return Stdin(
                max_line=config.max_line, control=context.control, clock=context.clock, cut=cut
            )
        memory = context.state_dir / "files"

        def make_tail(path: str) -> Tail:
            return Tail(
                Lineage(path, memory),
                follow=config.follow,
                from_end=config.start == "end",
                max_line=config.max_line,
                replaced=self._replaced,
            )

        return Files(
            config.path,
            follow=config.follow,
            interval=config.interval,
            make_tail=make_tail,
            control=context.control,
            cut=cut,
        )

    def _replaced(self, path: str, how: str) -> None:
        log = self._context.log
        message = f"File was {how}"
        (log.warning if how == "truncated" else log.info)(message, path=path)
