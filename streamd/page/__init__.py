"""The files of the page on the admin port: served as they are, nothing is built or fetched."""

from __future__ import annotations

import hashlib
from importlib import resources

from msgspec import Struct

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class File(Struct, frozen=True):
    """One file in memory. `tag` changes with its content."""

    body: bytes
    content_type: str
    tag: str


def files() -> dict[str, File]:
    """All of them by name."""
    found = {}
    for entry in resources.files(__name__).iterdir():
        kind = _TYPES.get(entry.name[entry.name.rfind(".") :])
        if kind is not None:
            body = entry.read_bytes()
            found[entry.name] = File(body, kind, hashlib.sha256(body).hexdigest()[:16])
    return found
