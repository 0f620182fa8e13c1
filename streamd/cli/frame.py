"""One frame of `streamd top`, as lines of text. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from streamd.admin.look import Look, PipelineLook, Point
from streamd.engine.status import StageStatus
from streamd.telemetry.figures import number, span

BOLD, DIM, RED, GREEN, REVERSE, PLAIN = (f"\x1b[{code}m" for code in (1, 2, 31, 32, 7, 0))

Paint = Callable[[str, str], str]


def frame(look: Look, width: int, height: int, *, note: str = "", colour: bool = True) -> list[str]:
    """At most `height` lines of `width` columns; what finds no room is told in the last."""

    def paint(code: str, text: str) -> str:
        return f"{code}{text}{PLAIN}" if colour else text

    lines = [line for name, one in look.pipelines.items() for line in _pipeline(name, one, width)]
    shown = [paint(code, _fit(text, width)) for code, text in lines]
    room = max(1, height - 2)
    if len(shown) > room:
        more = len(shown) - room + 1
        shown = [*shown[: room - 1], paint(DIM, _fit(f"... {more} lines more", width))]
    up = span(int(look.time - look.started))
    head = (
        f"streamd {look.version}  up {up}  {time.strftime('%H:%M:%S', time.localtime(look.time))}"
    )
    if look.reload is not None and look.reload.refusal:
        head += "  the last reload was refused"
    foot = note or "q: quit"
    return [paint(REVERSE, _fit(head, width)), *shown, paint(DIM, _fit(foot, width))]


def _pipeline(name: str, look: PipelineLook, width: int) -> Iterator[tuple[str, str]]:
    """Pairs of a colour and a line."""
    status, now = look.status, look.now
    yield "", ""
    state = f"{name}: {status.state}" + ("" if status.ready else ", not well")
    for line in _wrapped([state, *_rates(now)], width):
        yield (BOLD if status.ready else BOLD + RED), line
    for line in _wrapped(["", *_facts(look)], width):
        yield "", line
    for problem in status.problems:
        yield RED, f"  ! {problem}"
    yield DIM, f"  {'STAGE':18} {'KIND':20} {'NOW':>8} {'EVENTS':>7} {'WAIT':>6}  MORE"
    for stage, one in status.stages.items():
        yield (RED if one.problem else ""), _stage(stage, one, look)


def _wrapped(facts: list[str], width: int) -> Iterator[str]:
    """As many lines as they need, none of them cut; all but the first one indented."""
    line, *rest = facts
    for fact in rest:
        if line.strip() and len(line) + 2 + len(fact) > width:
            yield line
            line = ""
        line = f"{line}  {fact}"
    yield line


def _rates(now: Point) -> list[str]:
    told = [f"read {number(now.read)}/s", f"written {number(now.written)}/s"]
    failing = {"refused": now.refused, "retried": now.retried, "dead": now.dead}
    return [*told, *(f"{k} {number(v)}/s" for k, v in failing.items() if v)]


def _facts(look: PipelineLook) -> list[str]:
    status, now = look.status, look.now
    facts = [f"in flight {number(status.in_flight_events)}"]
    if now.lag_events is not None:
        facts.append(f"lag {number(now.lag_events)}")
    if now.lag_seconds is not None:
        facts.append(f"behind {span(now.lag_seconds)}")
    if now.latency is not None:
        facts.append(f"latency {span(now.latency)}, p99 {span(now.latency_p99 or 0.0)}")
    facts.append(f"dead {number(status.dead_lettered)}")
    if now.watermark_lag is not None:
        facts.append(f"watermark {span(now.watermark_lag)} behind")
    if status.restarts:
        facts.append(f"restarts {status.restarts}")
    return facts


def _stage(name: str, one: StageStatus, look: PipelineLook) -> str:
    windows = look.gauges.get(name, {}).get("window_open")
    more = "" if windows is None else f"{number(windows)} windows"
    rate = f"{number(look.rates.get(name, 0.0))}/s"
    return (
        f"  {_cut(name, 18):18} {_cut(f'{one.role} {one.plugin}', 20):20} {rate:>8}"
        f" {_known(one.events):>7} {_known(one.queued):>6}  {one.problem or more}"
    )


def _known(value: int | None) -> str:
    return "" if value is None else number(value)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}~"


def _fit(text: str, width: int) -> str:
    """One line of the terminal, without what would move its cursor."""
    return _cut("".join(c if c.isprintable() else " " for c in text), width).ljust(width)
