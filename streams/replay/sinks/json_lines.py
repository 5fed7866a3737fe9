"""Readings as JSON on standard output."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from salesgauge.streams.io.readings_json import encode, readings_document
from salesgauge.streams.replay.sinks import Sink, SinkOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from salesgauge.streams.replay.sinks import Take
    from salesgauge.streams.replay.virtual_clock import Evaluation


class JsonLines(Sink):
    """One document a line, each written whole."""

    option = SinkOption("--json", "Print JSON: one object; with --step one per line and instant.")

    @contextmanager
    def open(self) -> Iterator[Take]:
        """Write to standard output."""
        yield _print


def _print(evaluation: Evaluation) -> None:
    document = readings_document(
        evaluation.at, evaluation.events, evaluation.rejected, evaluation.readings, evaluation.not_connected
    )
    left = memoryview(encode(document) + b"\n")
    while left:  # an unbuffered stream takes what fits
        left = left[sys.stdout.buffer.write(left) :]
    sys.stdout.buffer.flush()
