"""Contract suites: what every plugin of a role must do, as tests that its own tests inherit.

Each suite asks for a `subject` that knows how to build the stage and how to look at its other
side. A plugin's test module then is no more than

    class MySubject(SinkSubject):
        def __init__(self, path: Path) -> None:
            self.path = path

        def make(self) -> Sink:
            return MySink(MySink.Config(path=str(self.path)), sink_context())

        async def stored(self) -> list[Any]:
            return [json.loads(line) for line in self.path.read_text().splitlines()]

    class TestMySink(SinkContract):
        @pytest.fixture
        def subject(self, tmp_path: Path) -> MySubject:
            return MySubject(tmp_path / "out.jsonl")

Run with pytest and anyio's plugin (`anyio_mode = "auto"`). A behaviour that a stage cannot have
(a healthcheck, say, or a row to refuse) is skipped; the subject's attributes say which.
"""

# First, so that a failing suite shows the values behind its asserts.
import pytest

pytest.register_assert_rewrite(
    *(f"{__name__}.{role}" for role in ("codec", "package", "policy", "sink", "source", "step"))
)

from streamd.testing.contracts.codec import CodecContract, CodecSubject  # noqa: E402
from streamd.testing.contracts.package import PackageContract  # noqa: E402
from streamd.testing.contracts.policy import PolicyContract, PolicySubject  # noqa: E402
from streamd.testing.contracts.sink import SinkContract, SinkSubject, sink_context  # noqa: E402
from streamd.testing.contracts.source import SourceContract, SourceSubject  # noqa: E402
from streamd.testing.contracts.step import StepContract, StepSubject  # noqa: E402

__all__ = [
    "CodecContract",
    "CodecSubject",
    "PackageContract",
    "PolicyContract",
    "PolicySubject",
    "SinkContract",
    "SinkSubject",
    "SourceContract",
    "SourceSubject",
    "StepContract",
    "StepSubject",
    "sink_context",
]
