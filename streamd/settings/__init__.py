"""The configuration file: read, checked with every error at once, and compared for a reload."""

from streamd.settings.loader import load
from streamd.settings.model import Settings
from streamd.settings.problems import Problem, SettingsError
from streamd.settings.render import render

__all__ = ["Problem", "Settings", "SettingsError", "load", "render"]
