"""Readings as blocks of Prometheus' database."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from salesgauge.schemas.errors import OutputError
from salesgauge.streams.io.outputs import made, scratch, text_file, uninterrupted
from salesgauge.streams.replay.sinks import OptionRole, Sink, SinkOption, samples_of
from salesgauge.streams.replay.sinks.openmetrics import OpenMetricsText

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from salesgauge.streams.replay.sinks import Take
    from salesgauge.streams.replay.virtual_clock import Evaluation

_PERIOD = 2 * 3_600_000
"""A block spans so long (ms), and begins on a multiple of it."""


class TsdbBlocks(Sink):
    """Blocks for Prometheus' data folder, made by promtool; they are moved there when all are whole."""

    option = SinkOption("--tsdb", "Write Prometheus blocks to this folder; needs promtool.", "DIR", OptionRole.WRITTEN)

    @contextmanager
    def open(self) -> Iterator[Take]:
        """Make blocks while time goes by, and move them at the end."""
        promtool = shutil.which("promtool")
        if promtool is None:
            raise OutputError("--tsdb needs promtool, which comes with Prometheus; install it or use --openmetrics")
        folder = Path(self.target)
        with made(folder), scratch(folder / "blocks") as working:
            blocks = _Blocks(promtool, working, self.context.labels)
            yield blocks.take
            blocks.flush()
            with uninterrupted():
                for block in sorted(blocks.folder.iterdir()) if blocks.folder.exists() else ():
                    block.rename(folder / block.name)


class _Blocks:
    """Has promtool make the blocks of a few hours at a time: it reads its whole input again for each block."""

    def __init__(self, promtool: str, working: Path, labels: Mapping[str, str]) -> None:
        self.folder = working / "made"
        self._promtool = promtool
        self._working = working
        self._labels = labels
        self._period: int | None = None
        self._text: OpenMetricsText | None = None

    def take(self, evaluation: Evaluation) -> None:
        """Keep the samples of an instant; those of an earlier period are made blocks of."""
        period = evaluation.at // _PERIOD
        if self._text is None or period != self._period:
            self.flush()
            self._period, self._text = period, OpenMetricsText(self._working, self._labels)
        self._text.take(evaluation.at, samples_of(evaluation))

    def flush(self) -> None:
        """Make blocks of what is kept.

        Raises:
            OutputError: promtool fails.
        """
        if self._text is None:
            return
        path = self._working / "readings.om"
        with text_file(path) as file:
            self._text.write(file)
        self._text = None
        command = [self._promtool, "tsdb", "create-blocks-from", "openmetrics", str(path), str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise OutputError(f"promtool made no blocks: {(done.stderr or done.stdout).strip()}")
