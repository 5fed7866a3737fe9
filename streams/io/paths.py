"""Names of files: patterns that no shell has expanded, and outputs that must not be an input."""

from __future__ import annotations

import glob
import os
import stat
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from salesgauge.schemas.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

STANDARD = "-"
"""Standard input or output, as a name."""


def matches(name: str) -> list[str]:
    """The files of a pattern, in the order of their names; a name that is none stays as it is."""
    if name == STANDARD or Path(name).exists() or not glob.has_magic(name):
        return [name]
    return sorted(glob.glob(name, recursive=True)) or [name]  # noqa: PTH207 - it may be absolute


def keep_inputs(inputs: Iterable[str | Path | None], outputs: Mapping[str, str | Path | None]) -> None:
    """See to it that nothing which is read would be written to, and nothing written twice.

    Names, links and hard links are told apart by the file that they lead to; ``-`` is standard input or output, which
    may be a file as well. Call it before the first output is opened.

    Args:
        inputs: all files that are read; None is none.
        outputs: what is written, by the name of its option; None is none.

    Raises:
        OutputError: an output is an input, or two outputs are one file.
    """
    read = {identity: name for name in inputs if name is not None for identity in _identities(name, sys.stdin)}
    written: dict[object, str] = {}
    for option, name in outputs.items():
        if name is None:
            continue
        for identity in _identities(name, sys.stdout):
            if identity in read:
                raise OutputError(f"{option} {name} would replace {read[identity]}, which is read; name another file")
            if identity in written:
                raise OutputError(f"{option} and {written[identity]} are both {name}; name two files")
        written |= dict.fromkeys(_identities(name, sys.stdout), option)


def _identities(name: str | Path, standard: IO[str]) -> list[object]:
    """What tells a file from others: where it lies and, if it is there, its place on the disk; none for a device."""
    try:
        status = os.fstat(standard.fileno()) if str(name) == STANDARD else Path(name).stat()
    except (OSError, ValueError):  # not there yet, or no file at all
        return [] if str(name) == STANDARD else [str(Path(name).resolve())]
    if not stat.S_ISREG(status.st_mode):
        return []
    place = (status.st_dev, status.st_ino)
    return [place] if str(name) == STANDARD else [place, str(Path(name).resolve())]
