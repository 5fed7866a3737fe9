"""The page as one document, with its policy: no script, style or address but its own."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.streams.serve.board.api import DEFAULT_WINDOW, TITLES
from salesgauge.streams.serve.board.presentation import presentations, roles, strip

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCRIPTS = ("state", "format", "charts", "cards", "waiting", "address", "records", "drawer", "keys", "main")
"""Parts of one script, in this order."""

_PLACES = ("/*style*/", "/*data*/", "/*script*/")


@cache
def page() -> bytes:
    """The document, UTF-8."""
    style, data, script = _parts()
    html = _read("index.html")
    for place, content in zip(_PLACES, (style, data, script), strict=True):
        html = html.replace(place, content)
    return html.encode()


@cache
def page_gzip() -> bytes:
    """The document, compressed; the same bytes each time."""
    return gzip.compress(page(), compresslevel=9, mtime=0)


@cache
def etag() -> str:
    """The document's entity tag, in quotes."""
    return f'"{hashlib.sha256(page()).hexdigest()[:20]}"'


@cache
def csp() -> str:
    """The value of ``Content-Security-Policy``."""
    style, _, script = _parts()
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def headers() -> Mapping[str, str]:
    """All headers with which the document is to be served, but its encoding and length."""
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": csp(),
        "Cache-Control": "no-cache",
        "ETag": etag(),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept-Encoding",
    }


@cache
def _parts() -> tuple[str, str, str]:
    known = {
        "roles": roles(presentations(CATALOGUE)),
        "strip": strip(CATALOGUE),
        "windows": TITLES,
        "window": DEFAULT_WINDOW,
    }
    # "<" ends no data block this way, whatever the catalogue says.
    data = json.dumps(known, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    script = "".join(_read(f"{name}.js") for name in _SCRIPTS)
    return _read("style.css"), data, f'"use strict";\n(() => {{\n{script}}})();\n'


def _read(name: str) -> str:
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
