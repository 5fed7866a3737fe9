"""Readings sent to Prometheus, or whatever else speaks its remote write protocol."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from salesgauge.schemas.errors import InputError
from salesgauge.streams.io.outputs import text_file
from salesgauge.streams.io.secrets import read_token
from salesgauge.streams.replay.sinks import OptionRole, Sink, SinkContext, SinkOption, samples_of
from salesgauge.streams.replay.sinks.remote_write_client import Endpoint, RemoteWrite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from salesgauge.streams.replay.sinks import Take

TOKEN_FILE = SinkOption("--token-file", "Bearer token for --remote-write.", "FILE", OptionRole.READ)
RESUME = SinkOption(
    "--resume",
    "Keep in this file how far --remote-write has come; the same command goes on from there.",
    "FILE",
    OptionRole.WRITTEN,
    alone=True,
)


class RemoteWriteReceiver(Sink):
    """Samples to a remote-write receiver."""

    option = SinkOption("--remote-write", "Send samples here: http://127.0.0.1:9090/api/v1/write.", "URL")
    further = (TOKEN_FILE, RESUME)

    def __init__(self, given: Mapping[str, str], context: SinkContext) -> None:
        super().__init__(given, context)
        token, state = given.get(TOKEN_FILE.flag), given.get(RESUME.flag)
        self._endpoint = Endpoint(self.target, read_token(Path(token)) if token else None)
        self._state = ResumeFile(Path(state), context.identity) if state else None

    def arrived(self) -> int | None:
        """What the file of --resume says."""
        return self._state.read() if self._state else None

    def remains(self) -> str | None:
        """What was sent."""
        if self._state:
            return f"the same command goes on from what {self._state.path} remembers"
        return "no file was written; what was sent remains"

    @contextmanager
    def open(self) -> Iterator[Take]:
        """Send samples as they come, in messages of bounded size."""
        acknowledged = self._state.write if self._state else lambda _: None
        writer = RemoteWrite(self._endpoint.post, self.context.labels, acknowledged)
        yield lambda evaluation: writer.take(evaluation.at, samples_of(evaluation))
        writer.flush()


class _State(msgspec.Struct):
    of: str
    acknowledged: int


@dataclass(slots=True)
class ResumeFile:
    """A small file that holds the last instant whose samples have all arrived.

    Args:
        of: what the run computes; a file of another run is refused.
    """

    path: Path
    of: str

    def read(self) -> int | None:
        """The last instant (ms) that arrived; None where nothing did.

        Raises:
            InputError: the file belongs to another run or cannot be read.
        """
        try:
            state = msgspec.json.decode(self.path.read_bytes(), type=_State)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise InputError(f"{self.path} is no state of a replay: {error}") from error
        if state.of != self.of:
            raise InputError(f"{self.path} belongs to a run with other events, steps or target; name another file")
        return state.acknowledged

    def write(self, at: int) -> None:
        """Remember an instant (ms)."""
        with text_file(self.path) as file:
            file.write(msgspec.json.encode(_State(self.of, at)).decode())
