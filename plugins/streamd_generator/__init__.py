"""Made-up events, for demonstrations, tests and measurements."""

from streamd.api import Plugin, hookimpl
from streamd_generator.source import GeneratorSource

__all__ = ["GeneratorSource"]


@hookimpl
def streamd_plugins() -> list[Plugin]:
    return [Plugin("source", "generator", GeneratorSource)]
