"""Answers of the admin port."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web


def json_response(value: Any, status: int = 200) -> web.Response:
    """JSON made by msgspec."""
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, content_type="application/json")
