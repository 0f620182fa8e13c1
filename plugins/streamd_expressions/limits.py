"""Every bound of the expression language in one place.

They keep one expression's cost on one event within what its text and the event explain,
so that no line of configuration can stall the daemon or eat its memory.
"""

from __future__ import annotations

from typing import Final

MAX_TEXT: Final = 4096  # characters of an expression
MAX_DEPTH: Final = 50  # levels of nesting; a chain of n binary operators has n levels
MAX_NUMBER: Final = 64  # characters of a number literal
MAX_EXPONENT: Final = 1024  # right side of **, either sign
MAX_INT_BITS: Final = 4096  # size of an integer that * or ** makes
MAX_REPEAT: Final = 65_536  # characters that string * n makes
MAX_REPEAT_ITEMS: Final = 10_000  # items that list * n makes
MAX_STRING: Final = 1 << 20  # characters of any other string that an expression makes
MAX_ITEMS: Final = 100_000  # items of any other list that an expression makes
MAX_PATTERN: Final = 256  # characters of a regular expression
MAX_SUBJECT: Final = 4096  # characters that a regular expression is tried on
