"""Avro: a codec, a registry of schemas with rules for their evolution, and a serializer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamd.api import Plugin, hookimpl
from streamd_avro.codec import AvroCodec
from streamd_avro.evolution import SchemaEvolution
from streamd_avro.registry import SchemaRegistry, get_schema_registry
from streamd_avro.serializer import AvroSerializer

__all__ = ["AvroSerializer", "SchemaEvolution", "SchemaRegistry", "get_schema_registry"]


@hookimpl
def streamd_plugins() -> Sequence[Plugin]:
    return [Plugin("codec", "avro", AvroCodec)]


@hookimpl
def streamd_commands(commands: Any) -> None:
    from streamd_avro.commands import add_commands

    add_commands(commands)
