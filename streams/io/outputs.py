"""Files and folders that appear whole or not at all: :mod:`.whole_files`, with errors that a replay can show."""

from __future__ import annotations

import io
import shutil
import signal
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from salesgauge.streams.io import whole_files as files
from salesgauge.streams.io.errors import ReplayError

if TYPE_CHECKING:
    from collections.abc import Iterator


def refuse_folder(path: Path) -> None:
    """Say at once that a file cannot have the name of a folder.

    Raises:
        ReplayError: it would.
    """
    if path.is_dir():
        raise ReplayError(f"{path} is a folder; name a file")


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A text file that takes its name when the block ends well; otherwise nothing of it remains.

    A pipe or a device is written to; where the name is a link, the file that it leads to is replaced.

    Raises:
        ReplayError: the file cannot be written.
    """
    refuse_folder(path)
    try:
        with files.whole_file(path) as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="\n") as file:
            yield file
    except OSError as error:
        raise ReplayError(f"cannot write {path}: {error.strerror or error}") from error


def give_name(made: Path, path: Path) -> None:
    """Put a finished file of a :func:`scratch` folder in its place, or its content into a pipe or device.

    Raises:
        ReplayError: it cannot be written.
    """
    try:
        if files.is_stream(path):
            with made.open("rb") as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
        else:
            made.replace(path.resolve())
    except OSError as error:
        raise ReplayError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of the block, which is short; threads and processes begun in it never hear of one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """A folder to put something in; one that was not there before goes again if it stays empty.

    Raises:
        ReplayError: it cannot be made.
    """
    there = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReplayError(f"cannot make the folder {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        if not there:
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def scratch(beside: Path | None = None) -> Iterator[Path]:
    """A folder for the time of the block; ``beside`` a file that will be renamed out of it."""
    parent = beside.resolve().parent if beside and not files.is_stream(beside) else None
    try:
        folder = Path(tempfile.mkdtemp(prefix=".salesgauge-", dir=parent))
    except OSError as error:
        raise ReplayError(f"cannot write in {parent}: {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
