"""The built-in board: one self-contained page and the JSON it lives on, for the exporter to serve."""

from __future__ import annotations

from streams.board.api import Answer, Board, board_payload, detail_payload
from streams.board.history import History
from streams.board.page import csp, etag, headers, page, page_gzip
from streams.board.thresholds import DEFAULTS, Threshold, ThresholdError, from_file

__all__ = [
    "DEFAULTS",
    "Answer",
    "Board",
    "History",
    "Threshold",
    "ThresholdError",
    "board_payload",
    "csp",
    "detail_payload",
    "etag",
    "from_file",
    "headers",
    "page",
    "page_gzip",
]
