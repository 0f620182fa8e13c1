"""When garbage is collected: as memory grows, and not otherwise."""

from streamd import memory
from streamd.memory import Watched

MIB = 1024 * 1024


class Process:
    """So much memory in use, `garbage` of it."""

    def __init__(self, used: int) -> None:
        self.used, self.garbage = used * MIB, 0
        self.watched = Watched(lambda: self.used, self.collect)

    def collect(self) -> None:
        self.used -= self.garbage
        self.garbage = 0

    def grow(self, mib: int, *, garbage: bool = False) -> bool:
        """Returns whether there was a collection."""
        self.used += mib * MIB
        self.garbage += mib * MIB if garbage else 0
        return self.watched.look()


def test_garbage_never_heaps_up() -> None:
    process = Process(60)
    collections = sum(process.grow(10, garbage=True) for _ in range(1000))
    assert collections == 1000 // 7
    assert process.used <= 124 * MIB


def test_what_is_held_is_looked_at_ever_less_often() -> None:
    process = Process(60)
    collections = [process.used for _ in range(1000) if process.grow(10)]
    assert len(collections) < 20
    assert collections[0] == 130 * MIB
    assert collections[-1] - collections[-2] > 1000 * MIB


def test_what_comes_and_goes_is_hardly_looked_at_again() -> None:
    process = Process(200)
    day = [process.grow(2 if second % 120 < 60 else -2) for second in range(86_400)]
    assert 10 < sum(day) < 30


def test_a_peak_is_forgotten_in_time() -> None:
    process = Process(100)
    assert process.grow(1000)
    assert not process.grow(-1000)
    assert not process.grow(70)  # where it was before
    for _ in range(6 * 3600):
        assert not process.grow(0)
    assert process.grow(70)


def test_the_system_tells_how_much_is_in_use() -> None:
    before = memory.resident()
    assert before is not None
    taken = b"\1" * (64 * MIB)
    assert (memory.resident() or 0) - before > len(taken) // 2
