"""streamd: a single-process stream pipeline daemon whose every stage is a plugin."""

__version__ = "0.1.0"
