"""The real exports that lie beside the repository: not part of it, so their tests can be skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = "SALESGAUGE_SHARED"


def shared_data() -> Path:
    """The folder of the real data: `data` in $SALESGAUGE_SHARED, or in ../shared beside the repository."""
    named = os.environ.get(VARIABLE)
    return (Path(named) if named else ROOT.parent / "shared") / "data"


def require_shared(*parts: str) -> Path:
    """A file or folder of the real data; skips the test where it is absent, in CI too."""
    path = shared_data().joinpath(*parts)
    if not path.exists():
        pytest.skip(f"missing part: real data {'/'.join(('data', *parts))} (name its parent folder in {VARIABLE})")
    return path
