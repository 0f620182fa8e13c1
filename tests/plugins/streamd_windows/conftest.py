"""Every test finds the limits of the windows as they are."""

from collections.abc import Iterator

import pytest

from tests.plugins.streamd_windows.harness import LIMITS, limit


@pytest.fixture(autouse=True)
def usual_limits() -> Iterator[None]:
    """`Run` changes them."""
    yield
    limit(*LIMITS[0])
