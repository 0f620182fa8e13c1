"""Where a pipeline's boxes and lines are: nothing lies on anything else."""

from collections.abc import Sequence
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from streamd.admin.layout import HEIGHT, WIDTH, Picture, lay_out
from streamd.engine.drawing import Drawing, Edge, Node

Pair = tuple[int, int]


def drawing(count: int, plain: Sequence[Pair], failed: Sequence[Pair] = ()) -> Drawing:
    nodes = tuple(Node(f"n{at}", "sink", f"stage {at}", "") for at in range(count))
    edges = [Edge(f"n{a}", f"n{b}", "main") for a, b in plain]
    edges += [Edge(f"n{a}", f"n{b}", failed=True) for a, b in failed]
    return Drawing("events", nodes, tuple(edges))


@st.composite
def drawings(draw: st.DrawFn) -> Drawing:
    """Any wiring without a circle; the last two nodes may be dead letters and their reader."""
    count = draw(st.integers(3, 9))
    pairs = st.sampled_from([(a, b) for b in range(count - 2) for a in range(b)] or [(0, 0)])
    plain = draw(st.lists(pairs, unique=True, max_size=14)) if count > 3 else []
    senders = draw(st.lists(st.integers(0, count - 3), unique=True))
    failed = [(a, count - 2) for a in senders]
    return drawing(count, plain, [*failed, (count - 2, count - 1)])


def place(picture: Picture) -> dict[str, tuple[float, float]]:
    return {box.key: (box.x, box.y) for box in picture.boxes}


@given(drawings())
def test_no_box_lies_on_another_and_lines_go_from_box_to_box(drawn: Drawing) -> None:
    picture = lay_out(drawn)
    for one, other in combinations(picture.boxes, 2):
        assert abs(one.x - other.x) >= WIDTH or abs(one.y - other.y) >= HEIGHT
    for box in picture.boxes:
        assert 0 <= box.x <= picture.width - WIDTH
        assert 0 <= box.y <= picture.height - HEIGHT
    at = place(picture)
    for line in picture.lines:
        (x1, y1), (x2, y2) = at[line.start], at[line.end]
        assert line.points[0] == (x1 + WIDTH, y1 + HEIGHT / 2)
        assert line.points[-1] == (x2, y2 + HEIGHT / 2)
        assert [x for x, _ in line.points] == sorted(x for x, _ in line.points)


@given(drawings())
def test_no_line_runs_through_a_box(drawn: Drawing) -> None:
    picture = lay_out(drawn)
    for line in picture.lines:
        # Level pieces cross a column, the others the gap between two.
        for (x1, y1), (_, y2) in list(zip(line.points, line.points[1:], strict=False))[1::2]:
            assert y1 == y2
            for box in picture.boxes:
                assert box.x != x1 or not box.y < y1 < box.y + HEIGHT


def test_a_chain_is_level_and_dead_letters_lie_below() -> None:
    picture = lay_out(drawing(5, [(0, 1), (1, 2)], [(0, 3), (2, 3), (3, 4)]))
    at = place(picture)
    assert at["n0"][1] == at["n1"][1] == at["n2"][1] == 0
    assert at["n3"][1] == at["n4"][1] > HEIGHT
    assert at["n0"][0] < at["n1"][0] < at["n2"][0] < at["n3"][0] < at["n4"][0]
    # The lines of dead letters share their lane.
    early, late = (line.points for line in picture.lines if line.end == "n3")
    assert early[-1] == late[-1]
    assert len(early) > len(late) == 2


def test_the_same_drawing_is_always_laid_out_the_same() -> None:
    drawn = drawing(6, [(0, 2), (1, 2), (2, 3), (0, 3)], [(0, 4), (4, 5)])
    assert lay_out(drawn) == lay_out(drawn)
