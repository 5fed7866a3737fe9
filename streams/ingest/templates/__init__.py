"""Files of sources to begin with, one per system, with comments that say where to click."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def templates() -> list[str]:
    """Their names."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def template(name: str) -> str:
    """The text of one."""
    return (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
