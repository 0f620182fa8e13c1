"""The avro codec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from streamd.api import (
    ConfigError,
    Duration,
    Reject,
    Rejected,
    Secret,
    StageConfig,
    StageContext,
    doc,
)
from streamd_avro.builtin import EVENT
from streamd_avro.decoding import compile_decoder
from streamd_avro.encoding import compile_encoder
from streamd_avro.framing import Asking, Bare, Framing, Local, SingleObject
from streamd_avro.problems import Malformed, NotEncodable, Unresolvable
from streamd_avro.registry import FILE, get_schema_registry, parse_version
from streamd_avro.schema import NotRegisteredError, Type

Decode = Callable[[bytes, int], Any]


class AvroCodec:
    """Avro events, one per record."""

    content_type = "avro/binary"
    extension = ".avro"

    class Config(StageConfig, frozen=True):
        format: Annotated[
            Literal["bare", "confluent", "single_object"],
            doc(
                "What tells the schema of a record: nothing (`bare`), an id in a `confluent`"
                " compatible registry, or Avro's own fingerprint (`single_object`)."
            ),
        ] = "bare"
        schema: Annotated[
            str, doc("Name of the schema in the registry that `streamd schema` shows.")
        ] = EVENT
        version: Annotated[
            int | str,
            doc("Version that is written, and that bare records were written with."),
        ] = 2
        reader_version: Annotated[
            int | str | None,
            doc("See every record as one of this version of the schema; else as it was written."),
        ] = None
        nulls: Annotated[
            Literal["omit", "keep"],
            doc("What to do with a field that is null, and null by default, when decoding."),
        ] = "omit"
        extra_fields: Annotated[
            Literal["reject", "drop"],
            doc("What to do with fields that the schema does not have, when encoding."),
        ] = "reject"
        registry: Annotated[
            str, doc("URL of the registry of `confluent`.", example="http://127.0.0.1:8081")
        ] = ""
        user: Annotated[str, doc("User name for that registry.")] = ""
        password: Annotated[Secret, doc("Password for that registry.")] = Secret("")
        subject: Annotated[
            str, doc("Subject of `confluent` to write by, for example `events-value`.")
        ] = ""
        register_schema: Annotated[
            bool,
            doc(
                "Register the schema under the subject and write with it. Otherwise the subject's"
                " latest version is what is written, as found before the first write."
            ),
        ] = False
        timeout: Annotated[
            Duration,
            doc(
                "Longest time to wait for the registry's answers about a batch; after that it is"
                " asked again, and the events are held back meanwhile."
            ),
        ] = Duration("2s")

    def __init__(self, config: Config, context: StageContext) -> None:
        _check(config, context.role)
        self._config = config
        self._local = Local(get_schema_registry(context.state_dir / FILE))
        self._writes = context.role == "sink"
        self._framing = _framing(config, context, self._local)
        self._asking = self._framing if isinstance(self._framing, Asking) else None
        self.prepares = self._asking is not None
        self._decoders: dict[bytes, Decode] = {}
        self._encode: Callable[[Any], bytes] | None = None
        self._header = b""

    async def prepare_to_decode(self, raws: Sequence[bytes | None]) -> None:
        """See `Prepares`."""
        size = self._framing.size
        new = {raw[:size] for raw in raws if raw is not None} - self._decoders.keys()
        if new and self._asking is not None:
            await self._asking.learn(new)

    async def prepare_to_encode(self, values: Sequence[Any]) -> None:
        """See `Prepares`."""
        if values and self._encode is None and self._asking is not None:
            await self._asking.learn_writer()

    async def healthcheck(self) -> str:
        """See `Probe`."""
        if self._asking is not None:
            return await self._asking.look(writes=self._writes)
        config = self._config
        self._framing.writer()
        return f"the schema {config.schema} {config.version} is there"

    def decode(self, raws: Sequence[bytes | None]) -> tuple[list[Any], dict[int, Reject]]:
        """See `Codec.decode`.

        Raises Retryable or Misconfigured if the schema of a record cannot be had now: then nothing
        is known of the batch.
        """
        decoders, size = self._decoders, self._framing.size

        def decode(raw: bytes) -> Any:
            return decoders[raw[:size]](raw, size)

        values: list[Any] = []
        rejects: dict[int, Reject] = {}
        unknown: dict[bytes, Reject] | None = None
        records: Any = iter(raws)
        while True:
            try:
                # Where decode raises, extend keeps what it has appended so far.
                values.extend(map(decode, records))
                return values, rejects
            except (Malformed, Unresolvable, KeyError, TypeError) as error:
                raw = raws[len(values)]
                if unknown is None and isinstance(error, KeyError):
                    unknown = self._learn(raws)
                    records = iter(raws[len(values) :])
                    continue
                reject = None if raw is None else (unknown or {}).get(raw[:size])
                rejects[len(values)] = reject or _reject(raw, error)
                values.append(None)

    def _learn(self, raws: Sequence[bytes | None]) -> dict[bytes, Reject]:
        """Make a decoder for every header of the batch; why there is none for some."""
        size = self._framing.size
        new = {raw[:size] for raw in raws if raw is not None} - self._decoders.keys()
        unknown = {}
        for header, found in self._framing.schemas(new).items():
            if isinstance(found, Reject):
                unknown[header] = found
            else:
                self._decoders[header] = self._decoder(found)
        return unknown

    def _decoder(self, schema: Type) -> Decode:
        config = self._config
        reader = None
        if config.reader_version is not None:
            reader = self._local.parsed(config.schema, config.reader_version)
        return compile_decoder(schema, reader, omit_null=config.nulls == "omit")

    def encode(self, values: Sequence[Any]) -> list[bytes]:
        """See `Codec.encode`.

        Raises also Retryable or Misconfigured if the schema cannot be had now.
        """
        if not values:
            return []
        if self._encode is None:
            self._header, schema = self._framing.writer()
            drop = self._config.extra_fields == "drop"
            self._encode = compile_encoder(schema, drop_extra=drop)
        return _encode_all(self._encode, self._header, values)


def _check(config: AvroCodec.Config, role: str) -> None:
    """Raises ConfigError."""
    for key in ("version", "reader_version"):
        version = getattr(config, key)
        try:
            parse_version(1 if version is None else version)
        except NotRegisteredError as error:
            raise ConfigError(str(error), path=key) from None
    url = urlsplit(config.registry)
    if config.format == "confluent":
        if url.scheme not in ("http", "https"):
            raise ConfigError(
                "the format confluent needs the http URL of a registry", path="registry"
            )
        if url.username or url.password:
            message = "put the user and the password under `user` and `password`, not in the URL"
            raise ConfigError(message, path="registry")
        if ":" in config.user:
            raise ConfigError("no registry can take a user name with a colon", path="user")
        if role == "sink" and not config.subject:
            raise ConfigError("writing in the format confluent needs a subject", path="subject")
    elif config.registry:
        message = f"the format {config.format} uses no registry"
        raise ConfigError(message, path="registry", also="format")


def _framing(config: AvroCodec.Config, context: StageContext, local: Local) -> Framing:
    name, version = config.schema, config.version
    if config.format == "bare":
        return Bare(local, name, version)
    if config.format == "single_object":
        return SingleObject(local, name, version, lambda: context.clock.now_ms() / 1000)
    # Here, and not at the top: an HTTP client costs the start of the daemon 20 ms.
    from streamd_avro.confluent import RegistryClient
    from streamd_avro.wire import Confluent

    def own() -> tuple[Any, Type]:
        return local.schema(name, version), local.parsed(name, version)

    client = RegistryClient(
        config.registry, user=config.user, password=config.password, timeout=config.timeout
    )
    register = own if config.register_schema else None
    return Confluent(client, config.subject, config.timeout, register)


def _reject(raw: bytes | None, error: Exception) -> Reject:
    if raw is None:
        return Reject("tombstone", "the record has no value (a Kafka tombstone)")
    if isinstance(error, Malformed):
        return Reject("malformed_avro", str(error)[:500], error_type="Malformed")
    if isinstance(error, Unresolvable):
        return Reject("schema_mismatch", str(error)[:500], error_type="Unresolvable")
    raise error


def _encode_all(
    encode: Callable[[Any], bytes], header: bytes, values: Sequence[Any]
) -> list[bytes]:
    """Raises Rejected naming every row that the schema does not take."""
    try:
        return [header + encode(value) for value in values]
    except NotEncodable:
        pass
    rejects = {}
    for row, value in enumerate(values):
        try:
            encode(value)
        except NotEncodable as error:
            rejects[row] = Reject("not_encodable", str(error)[:1000], error_type="NotEncodable")
    raise Rejected(rejects)
