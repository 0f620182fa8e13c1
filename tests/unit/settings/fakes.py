"""A plugin that offers a little of every role, in place of the installed ones."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from streamd.api import (
    BatchLimits,
    ConfigError,
    Duration,
    Plugin,
    Secret,
    Size,
    StageConfig,
    StageContext,
    doc,
    hookimpl,
)


class Fake:
    """A stage that does nothing."""

    class Config(StageConfig, frozen=True): ...

    def __init__(self, config: Any, context: StageContext) -> None:
        self.config = config
        self.context = context


class Numbers(Fake):
    """Counts."""

    class Config(StageConfig, frozen=True):
        topics: Annotated[tuple[str, ...], doc("Topics to read.", example=["events"])]
        start: Annotated[Literal["earliest", "latest"], doc("Where to start.")] = "latest"
        max_rows: Annotated[int, msgspec.Meta(ge=1), doc("Most rows.")] = 100
        every: Annotated[Duration, doc("Pause between numbers.")] = Duration("1s")
        rate: Annotated[float | None, doc("Most numbers in a second.")] = None
        ports: Annotated[tuple[int, ...], doc("Ports.")] = ()
        verbose: Annotated[bool, doc("Say more.")] = False


class Column(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    field: Annotated[str, doc("Where the value is in the event.")]
    width: Annotated[int, doc("Bytes.")] = 8


class Store(Fake):
    """Stores rows.

    More lines of the docstring, which no summary shows.
    """

    batch: ClassVar[BatchLimits] = BatchLimits(rows=500, bytes=1000, time=2.0)

    class Config(StageConfig, frozen=True):
        table: Annotated[str, doc("Table to write to.")] = "rows"
        password: Annotated[Secret | None, doc("Password.")] = None
        url: Annotated[str, doc("Server.")] = "fake://127.0.0.1"
        limit: Annotated[Size, doc("Largest row.")] = Size("1MiB")
        columns: Annotated[dict[str, Column | str], doc("Columns by name.")] = msgspec.field(
            default_factory=dict
        )
        extra: Annotated[list[Column], doc("More columns.")] = msgspec.field(default_factory=list)

    def __init__(self, config: Any, context: StageContext) -> None:
        super().__init__(config, context)
        for name in config.columns:
            if name == "rowid":
                raise ConfigError("is the server's own", path=f"columns.{name}")
        if config.table == "broken":
            raise RuntimeError(f"oh no, the password is {config.password}")


class Check(Fake):
    """Validates."""

    class Config(StageConfig, frozen=True):
        asks: Annotated[str, doc("A port that it opens.")] = ""
        least: Annotated[int, doc("Lower bound.")] = 0
        most: Annotated[int, doc("Upper bound.")] = 9

        def claims(self) -> tuple[str, ...]:
            return (f"the address {self.asks}",) if self.asks else ()

    def __init__(self, config: Any, context: StageContext) -> None:
        super().__init__(config, context)
        if config.least > config.most:
            raise ConfigError("least is above most", path="least", also="most")


class Route(Fake):
    """Writes streams by name."""

    class Config(StageConfig, frozen=True):
        to: Annotated[tuple[str, ...], doc("Streams.")] = ()
        all: Annotated[bool, doc("Leave nothing behind.")] = False

        def emits(self, stage: str) -> tuple[str, ...]:
            return self.to

        def passes_on(self) -> bool:
            return not self.all


class Join(Fake):
    """Reads two streams that its settings name."""

    class Config(StageConfig, frozen=True):
        left: Annotated[str, doc("One stream.")]
        right: Annotated[str, doc("The other.")]

        def reads(self) -> tuple[str, ...]:
            return (self.left, self.right)


class Tumble(Fake):
    """Counts per minute."""

    class Config(StageConfig, frozen=True):
        size: Annotated[Duration, doc("Length.")] = Duration("1m")

        def emits(self, stage: str) -> tuple[str, ...]:
            return (f"{stage}.late",)


class Json(Fake):
    """JSON."""

    class Config(StageConfig, frozen=True):
        indent: Annotated[int, doc("Spaces.")] = 0

        def __post_init__(self) -> None:
            if self.indent == 13:
                raise ValueError("13 brings bad luck")
            if self.indent == 14:
                raise KeyError("a bug")


class Retry(Fake):
    """Tries again."""

    class Config(StageConfig, frozen=True):
        max_retries: Annotated[int, doc("Tries after the first.")] = 3


class DeadLetter(Fake):
    """Gives up on rows."""

    class Config(StageConfig, frozen=True):
        stream: Annotated[str, doc("Where to.")] = "dead_letters"

        def emits(self, stage: str) -> tuple[str, ...]:
            return (self.stream,)


@hookimpl
def streamd_plugins() -> Sequence[Plugin]:
    return [
        Plugin("source", "numbers", Numbers),
        Plugin("validate", "check", Check),
        Plugin("transform", "route", Route),
        Plugin("window", "tumble", Tumble),
        Plugin("window", "join", Join),
        Plugin("sink", "store", Store),
        Plugin("codec", "json", Json),
        Plugin("policy", "retry", Retry),
        Plugin("policy", "dead_letter", DeadLetter),
        Plugin("policy", "block", Fake, summary="Waits."),
        Plugin("aggregation", "count", Fake),
    ]
