"""State as bytes: a version, then msgpack. Event values inside are JSON, which takes any number."""

from __future__ import annotations

from typing import Any

import msgspec

from streamd.api import Misconfigured
from streamd_windows.keys import Flag, Key, canonical

VERSION = 1
_HEAD = bytes([VERSION])


def _hook(value: Any) -> Any:
    return value.value if type(value) is Flag else str(value)


_encode = msgspec.msgpack.Encoder(enc_hook=_hook).encode
_decode = msgspec.msgpack.Decoder().decode
_encode_json = msgspec.json.Encoder(enc_hook=str).encode
_decode_json = msgspec.json.Decoder().decode


def pack(value: Any) -> bytes:
    """State as bytes that `unpack` reads in every later version."""
    return _HEAD + _encode(value)


def unpack(data: bytes) -> Any:
    """Raises Misconfigured if the state was written by a newer version of this package."""
    if data[:1] != _HEAD:
        raise Misconfigured(
            f"state of version {data[0] if data else '?'}, this program knows {VERSION}: run the"
            " version that wrote it, or set reset_state = true on the stage"
        )
    return _decode(data[1:])


def pack_block(value: Any) -> bytes:
    """A part of what will be packed."""
    return _encode(value)


def unpack_block(data: bytes) -> Any:
    return _decode(data)


def pack_key(parts: tuple[Any, ...]) -> bytes:
    """The name of a piece of state."""
    return _encode(parts)


def unpack_key(data: bytes) -> list[Any]:
    return list(_decode(data))


def pack_event(value: Any) -> bytes:
    """An event, or a part of one, as JSON."""
    return _encode_json(value)


def unpack_event(data: bytes) -> Any:
    return _decode_json(data)


def packed_key(key: Key) -> bytes:
    """A key as bytes, the same in every run."""
    return _encode(key)


def key_of(packed: Any) -> Key:
    """A key after `unpack`: tuples have become lists and flags bools."""
    if type(packed) is list:
        return tuple([canonical(part) for part in packed])
    return packed if type(packed) is str else canonical(packed)
