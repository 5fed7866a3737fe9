"""What was measured, as a page of Markdown."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

HEAD = """# Benchmarks

`make bench` writes this page (`BENCH_ARGS=--full` for the long form). Everything was measured in one run on one
machine. The ratios hold on other machines too, the numbers do not. Rates are per second of *processor time* of the
measured process, so other programs on the machine have little influence. They say what one core does.
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: what, how much, beside what, and the aim (empty where there is none)."""

    what: str
    value: str
    beside: str = ""
    aim: str = ""
    reached: bool | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        verdict = "" if self.reached is None else "reached" if self.reached else "**not reached**"
        return self.what, self.value, self.beside, self.aim, verdict


@dataclass(slots=True)
class Section:
    """Rows under a title, with what a reader has to know of them."""

    title: str
    text: str
    figures: list[Figure] = field(default_factory=list)

    def add(self, what: str, value: str, beside: str = "", aim: str = "", *, reached: bool | None = None) -> None:
        figure = Figure(what, value, beside, aim, reached)
        self.figures.append(figure)
        print("  " + " | ".join(cell for cell in figure.cells if cell), flush=True)


def machine() -> str:
    """The machine in a sentence."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"Machine: {_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB; {platform.system()} "
        f"{platform.release().partition('-')[0]}, Python {platform.python_version()}."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def page(sections: list[Section], notes: str) -> str:
    """The whole page."""
    parts = [HEAD, machine(), ""]
    for section in sections:
        parts += [f"## {section.title}", "", section.text, ""]
        parts += ["| what | figure | compared with | aim | |", "|---|---|---|---|---|"]
        parts += ["| " + " | ".join(figure.cells) + " |" for figure in section.figures]
        parts.append("")
    return "\n".join([*parts, notes.strip(), ""])
