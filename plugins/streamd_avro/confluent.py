"""A client of a Confluent-compatible schema registry: what codecs need of its REST API."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Struct

from streamd.api import Misconfigured, Retryable
from streamd_avro.parsing import named_types, parse_text
from streamd_avro.schema import Named, NotRegisteredError, SchemaError, Type

_MEDIA = "application/vnd.schemaregistry.v1+json"
_MAX_ANSWER = 16 * 1024 * 1024  # bytes
_MAX_REFERENCES = 100
_LATER = (408, 425, 429)

T = TypeVar("T")


class _Reference(Struct):
    name: str
    subject: str
    version: int


class _Answer(Struct, rename={"schema_type": "schemaType"}):
    schema: str
    id: int = 0
    schema_type: str = "AVRO"
    references: list[_Reference] = []


class _Id(Struct):
    id: int


class _Fault(Struct):
    error_code: int = 0
    message: str = ""


class _Compatibility(Struct):
    is_compatible: bool


class RegistryClient:
    """Every method raises Retryable (no connection, time-out, 429, 5xx) or Misconfigured (any
    other refusal, or an answer that is not the registry's)."""

    def __init__(self, url: str, *, user: str, password: str, timeout: float) -> None:
        """`url` may hold a path; `timeout` is in seconds, of one request."""
        self._base = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._headers = {"Accept": _MEDIA, "Content-Type": _MEDIA}
        if user:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"

    async def schema(self, number: int) -> Type:
        """The schema with this id.

        Raises also NotRegisteredError, and SchemaError if it is no Avro schema.
        """
        return await self._parse(await self._get(f"/schemas/ids/{number}", _Answer))

    async def latest(self, subject: str) -> tuple[int, Type]:
        """The id and the schema of a subject's latest version.

        Raises also NotRegisteredError, and SchemaError if it is no Avro schema.
        """
        answer = await self._get(f"/subjects/{quote(subject, safe='')}/versions/latest", _Answer)
        return answer.id, await self._parse(answer)

    async def register(self, subject: str, schema: Any) -> int:
        """The id of a schema in a subject, which gets a new version unless it has it already."""
        path = f"/subjects/{quote(subject, safe='')}/versions"
        return (await self._get(path, _Id, _schema_as_body(schema))).id

    async def is_compatible(self, subject: str, schema: Any) -> bool:
        """Whether the registry would take the schema as a subject's next version."""
        path = f"/compatibility/subjects/{quote(subject, safe='')}/versions/latest"
        try:
            return (await self._get(path, _Compatibility, _schema_as_body(schema))).is_compatible
        except NotRegisteredError:
            return True  # the first of the subject

    async def ping(self) -> None:
        """See that it is a registry, and takes user and password."""
        await self._get("/schemas/types", list[str])

    async def _parse(self, answer: _Answer) -> Type:
        known: dict[str, Named] = {}
        await self._add_references(answer, known, set())
        _require_avro(answer)
        return parse_text(answer.schema, known)

    async def _add_references(
        self, answer: _Answer, known: dict[str, Named], seen: set[tuple[str, int]]
    ) -> None:
        """The named types of other schemas that this one builds on, innermost first."""
        for reference in answer.references:
            key = (reference.subject, reference.version)
            if key in seen:
                continue
            seen.add(key)
            if len(seen) > _MAX_REFERENCES:
                raise SchemaError(f"$: more than {_MAX_REFERENCES} references")
            subject = quote(reference.subject, safe="")
            other = await self._get(f"/subjects/{subject}/versions/{reference.version}", _Answer)
            await self._add_references(other, known, seen)
            _require_avro(other)
            known.update(named_types(parse_text(other.schema, known)))

    async def _get(self, path: str, shape: type[T], body: Mapping[str, Any] | None = None) -> T:
        url = self._base + path
        try:
            # Seldom asked, and then once: nothing is kept open.
            async with (
                aiohttp.ClientSession(headers=self._headers, timeout=self._timeout) as session,
                session.request(
                    "GET" if body is None else "POST",
                    url,
                    data=None if body is None else msgspec.json.encode(body),
                    # A redirect would take the password to wherever it leads.
                    allow_redirects=False,
                ) as response,
            ):
                content = await _content(response)
        except aiohttp.InvalidURL as error:
            raise Misconfigured(f"{url} is no URL: {error!s:.200}") from None
        except TimeoutError:
            raise Retryable(f"schema registry {url}: no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Retryable(f"schema registry {url}: {error!s:.200}") from None
        if response.status != 200:
            raise _refusal(url, response, content)
        try:
            return msgspec.json.decode(content, type=shape)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Misconfigured(f"{url} is no schema registry: {error!s:.200}") from None


async def _content(response: aiohttp.ClientResponse) -> bytes:
    """No more of it than a schema can have: the rest makes it none."""
    content = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        content += chunk
        if len(content) > _MAX_ANSWER:
            break
    return bytes(content)


def _schema_as_body(schema: Any) -> dict[str, str]:
    return {"schema": msgspec.json.encode(schema).decode()}


def _require_avro(answer: _Answer) -> None:
    if answer.schema_type != "AVRO":
        raise SchemaError(f"$: the schema is {answer.schema_type}, not AVRO")


def _refusal(url: str, response: aiohttp.ClientResponse, content: bytes) -> Exception:
    status, fault = response.status, _fault_of(content)
    told = f"schema registry {url}: {status} {fault.message or response.reason!s:.500}"
    if status in _LATER or status >= 500:
        after = response.headers.get("Retry-After", "")
        return Retryable(told, after=float(after) if after.isdigit() else None)
    # A 404 without the registry's own code comes of a wrong URL, and says nothing of a schema.
    if status == 404 and 40400 <= fault.error_code < 40500:
        return NotRegisteredError(told)
    return Misconfigured(told)


def _fault_of(content: bytes) -> _Fault:
    try:
        return msgspec.json.decode(content, type=_Fault)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Fault()
