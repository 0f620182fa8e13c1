"""Confluent's wire format: records that name their schema by its id in a registry."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from streamd.api import Misconfigured, Reject
from streamd_avro.confluent import RegistryClient
from streamd_avro.framing import not_framed
from streamd_avro.lookups import Lookups
from streamd_avro.schema import Type


class Confluent:
    """The wire format of Confluent's clients: a zero, and the schema's id in their registry."""

    size = 5

    def __init__(
        self,
        client: RegistryClient,
        subject: str,
        wait: float,
        register: Callable[[], tuple[Any, Type]] | None,
    ) -> None:
        """`register` gives the schema to register and write with; without it the subject's latest
        is used. `wait` is how long one call may take, in seconds."""
        self._subject = subject
        self._client = client
        self._register = register
        self._by_id = Lookups(client.schema, wait)
        self._writer = Lookups(self._find_writer, wait)

    def writer(self) -> tuple[bytes, Type]:
        for error in self._writer.ask([self._subject]).values():
            raise Misconfigured(str(error)) from None
        number, schema = self._writer.found[self._subject]
        return b"\0" + number.to_bytes(4, "big"), schema

    def _find_writer(self, subject: str) -> tuple[int, Type]:
        if self._register is None:
            return self._client.latest(subject)
        schema, parsed = self._register()
        return self._client.register(subject, schema), parsed

    def schemas(self, headers: Collection[bytes]) -> dict[bytes, Type | Reject]:
        numbers = {
            header: int.from_bytes(header[1:], "big")
            for header in headers
            if len(header) == self.size and header[0] == 0
        }
        absent = self._by_id.ask(numbers.values())
        found: dict[bytes, Type | Reject] = {
            header: not_framed(header, self.size, b"\0", "Confluent's wire format")
            for header in headers
        }
        for header, number in numbers.items():
            if number in absent:
                found[header] = Reject("unknown_schema", f"{absent[number]!s:.500}")
            else:
                found[header] = self._by_id.found[number]
        return found
