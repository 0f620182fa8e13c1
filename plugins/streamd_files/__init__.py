"""Files, standard input and output, and a sink that drops what it is given."""

from streamd.api import Plugin, hookimpl
from streamd_files.drop import DropSink
from streamd_files.sink import FileSink
from streamd_files.source import FileSource
from streamd_files.stdout import StdoutSink

__all__ = ["DropSink", "FileSink", "FileSource", "StdoutSink"]


@hookimpl
def streamd_plugins() -> list[Plugin]:
    return [
        Plugin("source", "file", FileSource),
        Plugin("sink", "file", FileSink),
        Plugin("sink", "stdout", StdoutSink),
        Plugin("sink", "drop", DropSink),
    ]
