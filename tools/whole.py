"""Whether a virtual environment still is what `make setup` made. Run it with the environment's interpreter.

python tools/whole.py note .venv .dev      remember where it is and what is installed, in .venv/.dev
python tools/whole.py check .venv .dev     exit 1, saying what is amiss
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import sys
import sysconfig
from pathlib import Path

OLDEST = (3, 11)


def installed() -> list[str]:
    """The packages, as the names of their folders of metadata."""
    return sorted(folder.name for folder in Path(sysconfig.get_path("purelib")).glob("*.dist-info"))


def amiss(venv: Path, stamp: Path) -> str:
    """What is wrong with the environment; empty if nothing is."""
    if sys.version_info < OLDEST:
        return f"its Python {sys.version.split()[0]} is too old"
    if importlib.util.find_spec("pip") is None:
        return "it has no pip"
    try:
        place, packages = json.loads(stamp.read_text())
    except (OSError, ValueError):  # never finished: what there is must be whole
        place, packages = os.path.realpath(venv), installed()
    if place != os.path.realpath(venv):  # the programs in it name their interpreter
        return f"it was made as {place}"
    return next((f"{missing} is missing" for missing in map(gone, packages) if missing), "")


def gone(folder: str) -> str:
    """The first file of a package that is not there; empty if all are."""
    packages = Path(sysconfig.get_path("purelib"))
    record = packages / folder / "RECORD"
    try:
        with record.open(newline="", encoding="utf-8") as lines:
            names = [row[0] for row in csv.reader(lines)]
    except OSError:
        return folder
    top = os.fspath(packages)
    # PTH110: there are 20 000 files
    return next((name for name in names if name[-4:] != ".pyc" and not os.path.exists(f"{top}/{name}")), "")  # noqa: PTH110


def main(what: str, folder: str, name: str) -> int:
    """Note or check."""
    venv, stamp = Path(folder), Path(folder, name)
    if what == "note":
        stamp.write_text(json.dumps([os.path.realpath(venv), installed()]))
        return 0
    wrong = amiss(venv, stamp)
    if wrong:
        print(wrong)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
