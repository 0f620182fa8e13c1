"""Settings of the source, and what they mean once they are checked."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, field

from streamd.api import ConfigError, Duration, Secret, Size, StageConfig, doc

Positive = Annotated[int, Meta(ge=1)]


class HttpConfig(StageConfig, frozen=True, kw_only=True):
    listen: Annotated[
        str, doc("Address to listen on; `[::1]:8000` for IPv6, port 0 for any free one.")
    ] = "127.0.0.1:8000"
    api_keys: Annotated[
        dict[str, Secret],
        doc(
            "Keys that the header X-API-Key may hold, by a name that stands for the key in"
            " metrics; none: nobody needs a key.",
            example={"dev": "@{env:API_KEY}"},
        ),
    ] = field(default_factory=dict)
    ack: Annotated[
        Literal["stored", "accepted"],
        doc(
            "When a request is answered: once its events are `stored` by every sink, or once they"
            " are `accepted` into the pipeline (202; a crash may lose what was in memory)."
        ),
    ] = "stored"
    dead_letter_rejects: Annotated[
        bool,
        doc(
            "Events that a validator rejects go to the policies too, so that they can become dead"
            " letters; the client is told all the same."
        ),
    ] = False
    answer_timeout: Annotated[
        Duration, doc("Longest wait for the sinks; then the answer is 503, to be sent again.")
    ] = Duration("30s")
    read_timeout: Annotated[
        Duration, doc("Longest time for a request's headers, and again for its body.")
    ] = Duration("15s")
    keepalive_timeout: Annotated[Duration, doc("How long an idle connection stays open.")] = (
        Duration("75s")
    )
    max_body: Annotated[Size, doc("Largest body of a request, also when it is inflated.")] = Size(
        "8MiB"
    )
    max_header: Annotated[
        Size, doc("Longest request line or header line; a request has at most 64 headers.")
    ] = Size("8KiB")
    max_request_events: Annotated[Positive, doc("Most events in one request.")] = 10_000
    max_queue_events: Annotated[
        Positive, doc("Events that may wait for the pipeline; above it the answer is 429.")
    ] = 50_000
    max_queue_bytes: Annotated[
        Size, doc("Bytes of events that may wait, and of bodies that are being read.")
    ] = Size("64MiB")
    max_connections: Annotated[Positive, doc("Connections; one more is answered 503.")] = 1000
    ipv6: Annotated[
        bool, doc("POST /validate takes IPv6 addresses, as the validator of the pipeline does.")
    ] = False

    def claims(self) -> tuple[str, ...]:
        return () if self.listen.endswith(":0") else (f"the address {self.listen}",)


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


def parse_address(text: str) -> Address:
    """Raises ConfigError if the text names no host and port."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigError(
            f'expected an address such as "127.0.0.1:8000", got {text!r}', path="listen"
        )
    return Address(host, int(port))
