"""The environment of the peers that do not share our dependencies."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import runs

PACKAGES = ("quixstreams==3.28.1", "bytewax==0.21.1")
_HOME = runs.ROOT / ".cache" / "bench-peers"


def python() -> Path | None:
    """The interpreter of an environment with the peers, made at first use; None where they cannot be installed."""
    interpreter = _HOME / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([sys.executable, "-m", "venv", str(_HOME)], check=False, capture_output=True)
    if _imports(interpreter):
        return interpreter
    install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    subprocess.run(install, check=False, capture_output=True, timeout=300)
    return interpreter if _imports(interpreter) else None


def _imports(interpreter: Path) -> bool:
    command = [str(interpreter), "-c", "import quixstreams, bytewax"]
    return interpreter.exists() and not subprocess.run(command, check=False, capture_output=True).returncode


@dataclass(frozen=True, slots=True)
class Peer:
    """A job of a peer: what runs, what it leaves out beside ours, and how many times as fast ours is to be."""

    name: str
    lacks: str
    program: str
    mode: tuple[str, ...] = ()
    aim: int | None = None
    most: int = 1_000_000
    """Events that it is given: its rate does not depend on their number."""
    ours: bool = False
    """Whether it runs in our environment."""

    def rate(self, bootstrap: str, events: int, topic: str) -> float | None:
        """Events per second of processor time; None where it does not run."""
        number = str(min(events, self.most))
        if self.ours:
            return runs.rate(runs.job(self.program, bootstrap, number, *self.mode))
        interpreter = python()
        if interpreter is None:
            return None
        program = runs.ROOT / "benchmarks" / "jobs" / f"{self.program}.py"
        try:
            return runs.rate(runs.run(interpreter, program, bootstrap, number, topic, *self.mode))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return None


def peers(rows: float) -> tuple[Peer, ...]:
    """The peers, at less work and at equal work.

    Args:
        rows: how many sums ours changes per event.
    """
    few = "without all other KPIs"
    return (
        Peer(
            "plain Faust, one count",
            "no state of leads, no corrections",
            "plain_faust",
            ("count",),
            40,
            20_000,
            ours=True,
        ),
        Peer("plain Faust, three KPIs", few, "plain_faust", ("kpis",), None, 20_000, ours=True),
        Peer("Quix Streams, one count", "no state of leads, no corrections", "quix", ("count",), 5),
        Peer(
            f"Quix Streams, {rows:.0f} sums per event",
            "as many sums; nothing decides which",
            "quix",
            (f"sums:{rows:.0f}",),
            10,
            20_000,
        ),
        Peer("Quix Streams, three KPIs", few, "quix", ("kpis",)),
        Peer("bytewax, three KPIs", f"{few}, nothing durable", "bytewax_flow"),
    )
