"""Confluent's wire format: records that name their schema by its id in a registry."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from streamd.api import Misconfigured, Reject, Retryable
from streamd_avro.confluent import RegistryClient
from streamd_avro.framing import not_framed
from streamd_avro.lookups import Lookups
from streamd_avro.schema import NotRegisteredError, SchemaError, Type


class Confluent:
    """The wire format of Confluent's clients: a zero, and the schema's id in their registry."""

    size = 5

    def __init__(
        self,
        client: RegistryClient,
        subject: str,
        within: float,
        register: Callable[[], tuple[Any, Type]] | None,
    ) -> None:
        """`register` gives the schema to register and write with; without it the subject's latest
        is used. `within` is how long all questions of one batch may take, in seconds."""
        self._subject = subject
        self._client = client
        self._register = register
        self._by_id = Lookups(client.schema, within)
        self._writer = Lookups(self._find_writer, within)

    async def learn_writer(self) -> None:
        await self._writer.learn([self._subject])
        if self._subject in self._writer.absent:
            raise Misconfigured(str(self._writer.absent[self._subject]))

    def writer(self) -> tuple[bytes, Type]:
        if self._subject not in self._writer.found:
            raise Retryable(f"the registry was not asked for {self._subject} yet")
        number, schema = self._writer.found[self._subject]
        return b"\0" + number.to_bytes(4, "big"), schema

    async def _find_writer(self, subject: str) -> tuple[int, Type]:
        if self._register is None:
            return await self._client.latest(subject)
        schema, parsed = self._register()
        return await self._client.register(subject, schema), parsed

    async def learn(self, headers: Collection[bytes]) -> None:
        await self._by_id.learn(self._numbers(headers).values())

    def schemas(self, headers: Collection[bytes]) -> dict[bytes, Type | Reject]:
        found: dict[bytes, Type | Reject] = {
            header: not_framed(header, self.size, b"\0", "Confluent's wire format")
            for header in headers
        }
        for header, number in self._numbers(headers).items():
            if number in self._by_id.found:
                found[header] = self._by_id.found[number]
            elif number in self._by_id.absent:
                found[header] = Reject("unknown_schema", f"{self._by_id.absent[number]!s:.500}")
            else:
                raise Retryable(f"the registry was not asked for the schema {number} yet")
        return found

    def _numbers(self, headers: Collection[bytes]) -> dict[bytes, int]:
        return {
            header: int.from_bytes(header[1:], "big")
            for header in headers
            if len(header) == self.size and header[0] == 0
        }

    async def look(self, *, writes: bool) -> str:
        """What is found at the registry, in one line.

        Raises Retryable, or Misconfigured where reading (or, with `writes`, writing) would fail.
        """
        await self._client.ping()
        if not writes:
            return "the registry answers"
        try:
            if self._register is None:
                number, _ = await self._client.latest(self._subject)
                return f"writes with the schema {number}, the latest of {self._subject}"
            schema, _ = self._register()
            if await self._client.is_compatible(self._subject, schema):
                return f"the schema fits the subject {self._subject}"
        except (NotRegisteredError, SchemaError) as error:
            raise Misconfigured(str(error)) from None
        raise Misconfigured(f"the schema does not fit the latest of the subject {self._subject}")
