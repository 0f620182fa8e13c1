"""Whether the address can be listened on, or is by a streamd that runs already."""

from __future__ import annotations

import asyncio
import socket

from streamd.api import Misconfigured
from streamd_http.config import Address

_REQUEST = b"GET /openapi.json HTTP/1.0\r\n\r\n"
_TIMEOUT = 5.0


async def look(address: Address) -> str:
    """One line of what was found.

    Raises Misconfigured if the address cannot be listened on.
    """
    try:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if address.port and await _is_ours(address):
            return f"{address} is served by a streamd that runs"
        raise Misconfigured(f"cannot listen on {address}: {error}") from error
    return f"{address} is free"


async def _is_ours(address: Address) -> bool:
    try:
        async with asyncio.timeout(_TIMEOUT):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            try:
                writer.write(_REQUEST)
                return b'"streamd ' in await reader.read(65536)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
