"""Who sends: the API keys, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from streamd.api import ConfigError

ANYBODY = "anonymous"


class ApiKeys:
    """The keys by name. Without any, everybody is let in."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        """Raises ConfigError for a key that is empty or has two names."""
        for name, key in keys.items():
            if not key.strip():
                raise ConfigError("an empty key lets everybody in", path=f"api_keys.{name}")
        first = {key: name for name, key in list(keys.items())[::-1]}
        for name, key in keys.items():
            if first[key] != name:
                message = "another name has the same key"
                raise ConfigError(message, path=f"api_keys.{name}", also=f"api_keys.{first[key]}")
        self._keys = [(name, key.encode()) for name, key in keys.items()]

    @property
    def required(self) -> bool:
        return bool(self._keys)

    def name(self, given: str | None) -> str | None:
        """The name of the key given, or None if it is not one of ours.

        Every key is compared whatever the first ones say: time tells nothing of them.
        """
        if not self._keys:
            return ANYBODY
        candidate = (given or "").encode("utf-8", "surrogateescape")
        found = None
        for name, key in self._keys:
            if hmac.compare_digest(candidate, key):
                found = name
        return found
