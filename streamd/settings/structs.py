"""The fields of a settings class, asked for many times per file."""

from functools import cache

import msgspec

fields = cache(msgspec.structs.fields)
"""`msgspec.structs.fields`, which evaluates annotations anew at each call, done once per class."""
