"""Avro's integers: zigzag, then seven bits a byte, the lowest first."""

from __future__ import annotations

from streamd_avro.problems import Malformed

_LONGEST = 10  # bytes of a 64-bit number


def zigzag(number: int) -> bytes:
    """The encoding of a number that fits in 64 bits."""
    return varint((number << 1) if number >= 0 else ((~number << 1) | 1))


def varint(number: int) -> bytes:
    """The encoding of a number that is zigzagged already."""
    if number < 128:
        return bytes((number,))
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends.

    Raises Malformed beyond 64 bits, IndexError where the data ends.
    """
    byte = data[at]
    if byte < 128:
        return (byte >> 1) ^ -(byte & 1), at + 1
    number, shift, start = byte & 127, 7, at
    while True:
        at += 1
        byte = data[at]
        number |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
        if at - start >= _LONGEST:
            raise Malformed("a number of more than 64 bits")
    if number >> 64:
        raise Malformed("a number of more than 64 bits")
    return (number >> 1) ^ -(number & 1), at + 1
