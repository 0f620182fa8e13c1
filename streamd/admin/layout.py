"""Where the boxes and lines of a drawn pipeline are, in pixels. Pure; the same for the same input.

Columns from left to right, each stage one beyond the last that feeds it. Dead letters have a lane
of their own below the rest, so that their lines cross nothing.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from msgspec import Struct

from streamd.engine.drawing import Drawing, Edge, Node

WIDTH, HEIGHT = 160, 70
_ACROSS, _GAP = WIDTH + 60, 22
_THIN = 34
"""What a line takes that passes between boxes."""


class Box(Struct, frozen=True):
    """A node with its top left corner."""

    key: str
    kind: str
    name: str
    note: str
    x: float
    y: float


class Line(Struct, frozen=True):
    """An edge and the points that it passes: from the right of a box to the left of another."""

    start: str
    end: str
    label: str
    failed: bool
    points: tuple[tuple[float, float], ...]


class Picture(Struct, frozen=True):
    """One pipeline, laid out; every box is `box_width` by `box_height`."""

    pipeline: str
    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    box_width: int = WIDTH
    box_height: int = HEIGHT


class _Spot(Struct):
    """A place in a column: of a node, or of a line (`thin`) that passes through."""

    column: int
    thin: bool
    low: bool
    y: float = 0.0

    @property
    def half(self) -> float:
        """From its top to where lines meet it."""
        return (_THIN - _GAP if self.thin else HEIGHT) / 2

    @property
    def below(self) -> float:
        """Where the next one may begin."""
        return self.y + 2 * self.half + _GAP


def lay_out(drawing: Drawing) -> Picture:
    """Place everything."""
    columns = _columns(drawing)
    spots = {
        node.key: _Spot(columns[node.key], thin=False, low=_is_low(node, drawing.edges))
        for node in drawing.nodes
    }
    ways = [_way(edge, columns, spots) for edge in drawing.edges]
    feeds: dict[str, list[str]] = defaultdict(list)
    for way in ways:
        for before, after in pairwise(way):
            feeds[after].append(before)
    lane = _place(spots, feeds, low=False, top=0.0)
    bottom = _place(spots, feeds, low=True, top=lane)
    return Picture(
        drawing.pipeline,
        max(spot.column for spot in spots.values()) * _ACROSS + WIDTH,
        bottom - _GAP,
        tuple(
            Box(n.key, n.kind, n.name, n.note, spots[n.key].column * _ACROSS, spots[n.key].y)
            for n in drawing.nodes
        ),
        tuple(
            Line(edge.start, edge.end, edge.label, edge.failed, _points(way, spots))
            for edge, way in zip(drawing.edges, ways, strict=True)
        ),
    )


def _columns(drawing: Drawing) -> dict[str, int]:
    """The length of the longest way to each node. The wiring has no circle."""
    into: dict[str, list[str]] = defaultdict(list)
    for edge in drawing.edges:
        into[edge.end].append(edge.start)
    columns: dict[str, int] = {}

    def column(key: str) -> int:
        if key not in columns:
            columns[key] = 1 + max((column(start) for start in into[key]), default=-1)
        return columns[key]

    return {node.key: column(node.key) for node in drawing.nodes}


def _is_low(node: Node, edges: tuple[Edge, ...]) -> bool:
    """Whether only dead letters come here."""
    arriving = [edge for edge in edges if edge.end == node.key]
    return bool(arriving) and all(edge.failed for edge in arriving)


def _way(edge: Edge, columns: dict[str, int], spots: dict[str, _Spot]) -> list[str]:
    """The spots from start to end, one in each column. Lines of dead letters that go to the same
    place run together, others as long as they come from the same one."""
    way = [edge.start]
    for column in range(columns[edge.start] + 1, columns[edge.end]):
        key = f"{edge.end if edge.failed else edge.start}/{column}/{edge.failed}"
        spots.setdefault(key, _Spot(column, thin=True, low=edge.failed))
        way.append(key)
    return [*way, edge.end]


def _place(spots: dict[str, _Spot], feeds: dict[str, list[str]], *, low: bool, top: float) -> float:
    """Give each spot of a lane its height, as level as can be with what feeds it.

    Returns where the lane ends.
    """
    for column in range(1 + max(spot.column for spot in spots.values())):
        lane = [(k, s) for k, s in spots.items() if s.column == column and s.low == low]
        for key, spot in lane:
            before = [s.y + s.half for s in map(spots.__getitem__, feeds[key]) if s.low == low]
            spot.y = max(top, sum(before) / len(before) - spot.half) if before else top
        free = top
        for _, spot in sorted(lane, key=lambda item: item[1].y):
            spot.y = max(spot.y, free)
            free = spot.below
    return max((spot.below for spot in spots.values() if spot.low == low), default=top)


def _points(way: list[str], spots: dict[str, _Spot]) -> tuple[tuple[float, float], ...]:
    points: list[tuple[float, float]] = []
    for key in way:
        spot = spots[key]
        left, middle = spot.column * _ACROSS, spot.y + spot.half
        points += [(left, middle), (left + WIDTH, middle)]
    return tuple(points[1:-1])
