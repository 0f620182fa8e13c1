"""Numbers as people read them at a glance."""

from __future__ import annotations


def number(value: float) -> str:
    """At most four characters of digits: 7, 0.25, 1234, 12.3k, 4.56M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g}{unit}"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2g}"


def span(seconds: float) -> str:
    """A time as its largest units: 250us, 12ms, 3.2s, 5m10s, 2h05m, 3d."""
    if seconds < 1:
        return f"{seconds * 1e3:.0f}ms" if seconds >= 0.001 else f"{seconds * 1e6:.0f}us"
    if seconds < 60:
        return f"{seconds:.3g}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 72 else f"{hours // 24}d"
