"""The daemon's local socket: `control.sock` in its state directory, for commands of its owner.

One JSON object a line, and one line in answer: `{"do": "replay", "pipeline": ..., ...}`. A tap has
many, and the connection ends with it. The permissions of the file say who may ask.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import msgspec
import structlog
from anyio.abc import ByteStream, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from streamd.engine.replay import ReplayRefusedError, ReplayRequest
from streamd.engine.supervisor import Supervisor
from streamd.engine.tap_limits import Budget
from streamd.tapping import Compile, Tapping, TapRefusedError, TapRequest, prepare

NAME = "control.sock"

_LONGEST = 256 * 1024 * 1024  # bytes of one line
_GONE = "the daemon has ended"
_LISTENS_AGAIN = 1.0  # seconds
_LONGEST_ADDRESS = 107  # bytes, of every Unix socket on Linux

Answer = dict[str, Any]
Command = Callable[[dict[str, Any]], Awaitable[Answer | Tapping]]


class ControlError(Exception):
    """The daemon could not be asked, or has refused. The message says why."""


async def serve(
    state_dir: Path,
    supervisors: Mapping[str, Supervisor],
    compile_filter: Compile = lambda _text: None,
) -> None:
    """Serve until cancelled. A socket that cannot be had is logged: pipelines go on without."""
    path, log = state_dir / NAME, structlog.get_logger()
    try:
        # Nobody can connect before the mode is set: only then does it listen.
        listener = await anyio.create_unix_listener(_short(path), mode=0o600)
    except OSError as error:
        log.error("No control socket", path=str(path), error=str(error))
        return
    commands = _commands(supervisors, compile_filter)

    async def converse(stream: SocketStream) -> None:
        try:
            # Nothing to tell where whoever asked has gone; what was begun is done.
            with suppress(anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead):
                async with stream:
                    await _converse(stream, commands)
        except Exception as error:  # whoever asks must not stop what he asks
            log.error("A conversation on the control socket failed", exc_info=error)

    try:
        async with anyio.create_task_group() as conversations:
            while True:
                try:
                    await listener.serve(converse, conversations)
                except anyio.BrokenResourceError as error:
                    # Out of file descriptors, maybe for other reasons: who asks waits meanwhile.
                    log.warning("Nobody can be let in to ask", error=str(error.__cause__))
                    await anyio.sleep(_LISTENS_AGAIN)
    finally:
        with anyio.CancelScope(shield=True):
            await listener.aclose()
        path.unlink(missing_ok=True)


def _commands(
    supervisors: Mapping[str, Supervisor], compile_filter: Compile
) -> Mapping[str, Command]:
    budget = Budget()

    async def replay(request: dict[str, Any]) -> Answer:
        supervisor = supervisors.get(str(request.pop("pipeline", "")))
        if supervisor is None:
            raise ControlError(f"it runs no such pipeline, only {', '.join(supervisors)}")
        asked = msgspec.convert(request, ReplayRequest)
        return {"rows": await supervisor.replay(asked)}

    async def tap(request: dict[str, Any]) -> Tapping:
        asked = msgspec.convert(request, TapRequest)
        return prepare(supervisors, asked, compile_filter, budget)

    return {"replay": replay, "tap": tap}


async def _converse(stream: ByteStream, commands: Mapping[str, Command]) -> None:
    lines = BufferedByteReceiveStream(stream)
    try:
        while True:
            line = await lines.receive_until(b"\n", _LONGEST)
            answer = await _answer(line, commands)
            if isinstance(answer, Tapping):
                await answer.answer(stream)
                return
            await stream.send(msgspec.json.encode(answer) + b"\n")
    except anyio.DelimiterNotFound:
        await stream.send(b'{"error":"the request is too long"}\n')


async def _answer(line: bytes, commands: Mapping[str, Command]) -> Answer | Tapping:
    try:
        request = msgspec.json.decode(line, type=dict[str, Any])
        command = commands.get(str(request.pop("do", "")))
        if command is None:
            return {"error": f"no such command; there are: {', '.join(commands)}"}
        return await command(request)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return {"error": f"not a request: {error}"}
    except (ControlError, ReplayRefusedError, TapRefusedError) as error:
        return {"error": str(error)}
    except Exception as error:  # whoever asks must not stop what he asks
        structlog.get_logger().error("A command failed", exc_info=error)
        return {"error": f"the daemon is at fault: {error!r}"}


class Control:
    """A connection to the daemon whose state directory this is. To be entered."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / NAME
        self._stream: SocketStream

    async def __aenter__(self) -> Self:
        """Raises ControlError if no daemon runs there, or it may not be asked."""
        try:
            self._stream = await anyio.connect_unix(_short(self._path))
        except OSError as error:
            if isinstance(error, FileNotFoundError | ConnectionRefusedError):
                raise ControlError(f"no daemon runs on {self._path.parent}") from error
            raise ControlError(f"{self._path}: {error.strerror or error}") from error
        self._lines = BufferedByteReceiveStream(self._stream)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stream.aclose()

    async def ask(self, do: str, **request: Any) -> Answer:
        """Raises ControlError if the daemon refuses, or has gone."""
        await self._say(do, request)
        line = await self._hear()
        if line is None:
            raise ControlError(_GONE)
        answer: Answer = msgspec.json.decode(line)
        if "error" in answer:
            raise ControlError(answer["error"])
        return answer

    async def follow(self, do: str, **request: Any) -> AsyncIterator[bytes]:
        """The lines of the answer as they come, until the daemon hangs up.

        Raises ControlError if it has gone before.
        """
        await self._say(do, request)
        while (line := await self._hear()) is not None:
            yield line

    async def _say(self, do: str, request: Mapping[str, Any]) -> None:
        try:
            await self._stream.send(msgspec.json.encode({"do": do, **request}) + b"\n")
        except anyio.BrokenResourceError as error:
            raise ControlError(_GONE) from error

    async def _hear(self) -> bytes | None:
        """The next line; None if none comes any more."""
        try:
            return await self._lines.receive_until(b"\n", _LONGEST)
        except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead):
            return None


def _short(path: Path) -> Path:
    """The path, or the relative one where it is too long for a socket."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        return path
    return Path(os.path.relpath(path))
