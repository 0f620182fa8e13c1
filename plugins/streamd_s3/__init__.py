"""Events into an S3-compatible object store."""

from streamd.api import Plugin, hookimpl
from streamd_s3.sink import S3Sink

__all__ = ["S3Sink"]


@hookimpl
def streamd_plugins() -> list[Plugin]:
    return [Plugin("sink", "s3", S3Sink)]
