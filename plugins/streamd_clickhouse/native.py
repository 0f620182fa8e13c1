"""Inserting an encoded block below the client library's own encoder.

Uses names of asynch that are not public. `lacking` finds out whether they are there; without them
the sink inserts by the public way, slower and with the same result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asynch.proto.block import ColumnOrientedBlock
from asynch.proto.context import ExecuteContext
from asynch.proto.protocol import ClientPacket, ServerPacket

from streamd.api import Retryable
from streamd_clickhouse.block import Block, head_of

_USED = (
    "send_query",
    "send_external_tables",
    "receive_sample_block",
    "send_block",
    "_receive_packet",
    "writer.write_varint",
    "writer.write_str",
    "block_writer.writer.write_bytes",
    "block_writer.finalize",
)


class OtherColumns(Retryable):
    """The server expects other columns than those of the block: the table has changed."""


def lacking(proto: Any) -> str:
    """The first name that an open connection of the library does not have, or nothing."""
    for path in _USED:
        found = proto
        for name in path.split("."):
            if not hasattr(found, name):
                return path
            found = getattr(found, name)
    return ""


async def insert(proto: Any, statement: str, block: Block, settings: Mapping[str, Any]) -> None:
    """Send the block and read the server's answer to its end.

    Raises what the library raises, and OtherColumns before anything is sent.
    """
    async with ExecuteContext(proto, statement, dict(settings)):
        await proto.send_query(statement, query_id="")
        await proto.send_external_tables(None)
        sample = await proto.receive_sample_block()
        wanted = tuple(map(tuple, sample.columns_with_types))
        if wanted != block.columns:
            raise OtherColumns("the columns of the ClickHouse table have changed")
        await proto.writer.write_varint(ClientPacket.DATA)
        await proto.writer.write_str("")
        writer = proto.block_writer.writer
        await writer.write_bytes(head_of(len(block.columns), block.rows))
        for part in block.parts:
            await writer.write_bytes(part)
        await proto.block_writer.finalize()
        await proto.send_block(ColumnOrientedBlock())  # type: ignore[no-untyped-call]
        # Not by `is_query_executing`: it is reset when the library connects again by itself.
        while (packet := await proto._receive_packet()).type != ServerPacket.END_OF_STREAM:
            if packet.exception:
                raise packet.exception
