"""Tests of the engine run in virtual time."""

from typing import Any

import pytest

from streamd.testing.virtual_time import VirtualTimeLoop


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}
