"""JSON, raw and text codecs."""

from __future__ import annotations

from collections.abc import Sequence

from streamd.api import Plugin, hookimpl
from streamd_json.codec import JsonCodec
from streamd_json.plain import RawCodec, TextCodec


@hookimpl
def streamd_plugins() -> Sequence[Plugin]:
    return [
        Plugin("codec", "json", JsonCodec),
        Plugin("codec", "raw", RawCodec),
        Plugin("codec", "text", TextCodec),
    ]
