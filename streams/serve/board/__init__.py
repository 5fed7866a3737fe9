"""The built-in board: one self-contained page and the JSON it lives on, for the exporter to serve."""

from __future__ import annotations

from salesgauge.streams.serve.board.api import Answer, BoardServer, board_payload, detail_payload
from salesgauge.streams.serve.board.history import Sparklines
from salesgauge.streams.serve.board.page import csp, etag, headers, page, page_gzip
from salesgauge.streams.serve.board.targets import DEFAULTS, from_file

__all__ = [
    "DEFAULTS",
    "Answer",
    "BoardServer",
    "Sparklines",
    "board_payload",
    "csp",
    "detail_payload",
    "etag",
    "from_file",
    "headers",
    "page",
    "page_gzip",
]
