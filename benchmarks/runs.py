"""Starting jobs and reading what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str | Path, timeout: float = 600) -> dict[str, Any]:
    """Run a program to its end; the JSON document on its last line.

    Raises:
        RuntimeError: it said none.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [str(a) for a in arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("{"):
            document: dict[str, Any] = json.loads(line)
            return document
    raise RuntimeError(f"{arguments[1:4]} said nothing: {done.stderr[-800:]}")


def job(name: str, *arguments: object) -> dict[str, Any]:
    """Run one of ``benchmarks/jobs`` in this environment."""
    return run(sys.executable, "-m", f"benchmarks.jobs.{name}", *map(str, arguments))


def rate(result: dict[str, Any]) -> float:
    """Events per second of processor time."""
    return float(result["events"]) / float(result["cpu"])
