"""The environment of a peer that does not share our dependencies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUIX = "quixstreams==3.28.1"
_HOME = ROOT / ".cache" / "bench-quix"


def quix_python() -> Path | None:
    """The interpreter of an environment with Quix Streams, made at first use; None where it cannot be installed."""
    python = _HOME / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(_HOME)], check=False, capture_output=True)
    if _imports(python):
        return python
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", QUIX]
    subprocess.run(install, check=False, capture_output=True, timeout=300)
    return python if _imports(python) else None


def _imports(python: Path) -> bool:
    return (
        python.exists()
        and not subprocess.run([str(python), "-c", "import quixstreams"], check=False, capture_output=True).returncode
    )
