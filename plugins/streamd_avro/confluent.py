"""A client of a Confluent-compatible schema registry: the parts of its REST API that codecs need.

Blocking, to be called in a thread.
"""

from __future__ import annotations

import base64
import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

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


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the password to wherever it leads."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


class RegistryClient:
    """Every method raises Retryable (no connection, time-out, 429, 5xx) or Misconfigured (any
    other refusal, or an answer that is not the registry's)."""

    def __init__(self, url: str, *, user: str, password: str, timeout: float) -> None:
        """`url` may hold a path; `timeout` is in seconds, of one request."""
        self._base = url.rstrip("/")
        self._timeout = timeout
        self._headers = {"Accept": _MEDIA, "Content-Type": _MEDIA}
        if user:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"

    def schema(self, number: int) -> Type:
        """The schema with this id.

        Raises also NotRegisteredError, and SchemaError if it is no Avro schema.
        """
        return self._parse(self._get(f"/schemas/ids/{number}", _Answer))

    def latest(self, subject: str) -> tuple[int, Type]:
        """The id and the schema of a subject's latest version.

        Raises also NotRegisteredError, and SchemaError if it is no Avro schema.
        """
        answer = self._get(f"/subjects/{quote(subject, safe='')}/versions/latest", _Answer)
        return answer.id, self._parse(answer)

    def register(self, subject: str, schema: Any) -> int:
        """The id of a schema in a subject, which gets a new version unless it has it already."""
        body = {"schema": msgspec.json.encode(schema).decode()}
        return self._get(f"/subjects/{quote(subject, safe='')}/versions", _Id, body).id

    def _parse(self, answer: _Answer) -> Type:
        known: dict[str, Named] = {}
        self._add_references(answer, known, set())
        _require_avro(answer)
        return parse_text(answer.schema, known)

    def _add_references(
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
            other = self._get(f"/subjects/{subject}/versions/{reference.version}", _Answer)
            self._add_references(other, known, seen)
            _require_avro(other)
            known.update(named_types(parse_text(other.schema, known)))

    def _get(self, path: str, shape: type[T], body: Mapping[str, Any] | None = None) -> T:
        url = self._base + path
        data = None if body is None else msgspec.json.encode(body)
        request = urllib.request.Request(url, data=data, headers=self._headers)
        try:
            with _OPENER.open(request, timeout=self._timeout) as response:
                content = response.read(_MAX_ANSWER)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(url, error) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise Retryable(f"schema registry {url}: {reason!s:.200}") from None
        try:
            return msgspec.json.decode(content, type=shape)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Misconfigured(f"{url} is no schema registry: {error!s:.200}") from None


def _require_avro(answer: _Answer) -> None:
    if answer.schema_type != "AVRO":
        raise SchemaError(f"$: the schema is {answer.schema_type}, not AVRO")


def _refusal(url: str, error: urllib.error.HTTPError) -> Exception:
    fault = _fault_of(error)
    told = f"schema registry {url}: {error.code} {fault.message or error.reason!s:.500}"
    if error.code in _LATER or error.code >= 500:
        after = error.headers.get("Retry-After", "")
        return Retryable(told, after=float(after) if after.isdigit() else None)
    # A 404 without the registry's own code comes of a wrong URL, and says nothing of a schema.
    if error.code == 404 and 40400 <= fault.error_code < 40500:
        return NotRegisteredError(told)
    return Misconfigured(told)


def _fault_of(error: urllib.error.HTTPError) -> _Fault:
    try:
        return msgspec.json.decode(error.read(100_000), type=_Fault)
    except (msgspec.MsgspecError, UnicodeDecodeError, OSError, http.client.HTTPException):
        return _Fault()
