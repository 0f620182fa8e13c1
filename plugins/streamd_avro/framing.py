"""What stands in front of an Avro record to say which schema it was written with."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from typing import Any, Protocol, TypeVar, runtime_checkable

from streamd.api import Misconfigured, Reject, Retryable
from streamd_avro.fingerprints import fingerprint
from streamd_avro.registry import SchemaRegistry, Version
from streamd_avro.schema import NotRegisteredError, SchemaError, Type

T = TypeVar("T")

_SINGLE_OBJECT = b"\xc3\x01"
_RELOAD = 1.0  # seconds between two looks into the registry for a fingerprint that is unknown


class Framing(Protocol):
    """`size` is the length of the header in bytes.

    Both methods raise Retryable or Misconfigured if they cannot tell now.
    """

    size: int

    def writer(self) -> tuple[bytes, Type]:
        """The header and the schema of what is written."""
        ...

    def schemas(self, headers: Collection[bytes]) -> dict[bytes, Type | Reject]:
        """The schema of records with these headers, or why they cannot be read."""
        ...


@runtime_checkable
class Asking(Framing, Protocol):
    """One that asks others: the methods of `Framing` know only what was learnt before.

    All three raise Retryable while there is no answer, or Misconfigured.
    """

    async def learn_writer(self) -> None:
        """Find out what is written."""
        ...

    async def learn(self, headers: Collection[bytes]) -> None:
        """Find out about the schemas of records with these headers."""
        ...

    async def look(self, *, writes: bool) -> str:
        """Whether it would work, to read or to write; one line."""
        ...


class Local:
    """The registry in the state directory, with its failures in the words of the engine."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry

    def parsed(self, name: str, version: Version) -> Type:
        return self._do(lambda: self._registry.parsed(name, version))

    def schema(self, name: str, version: Version) -> Any:
        return self._do(lambda: self._registry.get_schema(name, version))

    def by_fingerprint(self) -> dict[bytes, Type]:
        """Every schema that there is."""
        registry = self._registry
        return self._do(
            lambda: {
                fingerprint(registry.get_schema(name, version)): registry.parsed(name, version)
                for name in registry.list_names()
                for version in registry.list_versions(name)
            }
        )

    def _do(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except (NotRegisteredError, SchemaError) as error:
            raise Misconfigured(f"{error} (see `streamd schema register`)") from None
        except sqlite3.OperationalError as error:
            raise Retryable(f"the schema registry: {error}") from None
        except sqlite3.Error as error:
            raise Misconfigured(f"the schema registry: {error}") from None


class Bare:
    """No header: both sides know the schema."""

    size = 0

    def __init__(self, local: Local, name: str, version: Version) -> None:
        self._local, self._name, self._version = local, name, version

    def writer(self) -> tuple[bytes, Type]:
        return b"", self._local.parsed(self._name, self._version)

    def schemas(self, headers: Collection[bytes]) -> dict[bytes, Type | Reject]:
        schema = self._local.parsed(self._name, self._version)
        return dict.fromkeys(headers, schema)


class SingleObject:
    """Avro's single-object encoding: two bytes, and the fingerprint of the schema."""

    size = 10

    def __init__(self, local: Local, name: str, version: Version, now: Callable[[], float]) -> None:
        """`now` is a time in seconds."""
        self._local, self._name, self._version = local, name, version
        self._now = now
        self._known: dict[bytes, Type] = {}
        self._loaded: float | None = None

    def writer(self) -> tuple[bytes, Type]:
        number = fingerprint(self._local.schema(self._name, self._version))
        return _SINGLE_OBJECT + number, self._local.parsed(self._name, self._version)

    def schemas(self, headers: Collection[bytes]) -> dict[bytes, Type | Reject]:
        good = [header for header in headers if self._is_header(header)]
        if any(header[2:] not in self._known for header in good):
            self._load()
        found: dict[bytes, Type | Reject] = {
            header: not_framed(header, self.size, _SINGLE_OBJECT, "single-object encoding")
            for header in headers
        }
        for header in good:
            number = header[2:]
            unknown = Reject("unknown_schema", f"no schema here has the fingerprint {number.hex()}")
            found[header] = self._known.get(number, unknown)
        return found

    def _is_header(self, header: bytes) -> bool:
        return len(header) == self.size and header.startswith(_SINGLE_OBJECT)

    def _load(self) -> None:
        now = self._now()
        if self._loaded is None or now - self._loaded >= _RELOAD:
            self._known = self._local.by_fingerprint()
            self._loaded = now


def not_framed(header: bytes, size: int, magic: bytes, name: str) -> Reject:
    """Why a record that does not begin with `magic` and more, `size` bytes in all, is refused."""
    if not header:
        return Reject("empty", "the record is empty")
    start = header[: len(magic)]
    if len(header) < size and magic.startswith(start):
        return Reject("malformed_avro", "it ends within its header")
    return Reject("wrong_magic", f"it begins with {start.hex()}, not with {magic.hex()} ({name})")
