"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from streams.replay.errors import ReplayError

if TYPE_CHECKING:
    from collections.abc import Iterator


def refuse_folder(path: Path) -> None:
    """Say at once that a file cannot have the name of a folder.

    Raises:
        ReplayError: it would.
    """
    if path.is_dir():
        raise ReplayError(f"{path} is a folder; name a file")


def is_stream(path: Path) -> bool:
    """Whether the name is a pipe's or a device's, such as ``/dev/stdout``: it is written to, never replaced."""
    return path.exists() and not path.is_file()


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A text file that takes its name when the block ends well; otherwise nothing of it remains.

    A pipe or a device is written to; where the name is a link, the file that it leads to is replaced.

    Raises:
        ReplayError: the file cannot be written.
    """
    refuse_folder(path)
    stream = is_stream(path)
    target = path if stream else path.resolve()
    partial = path if stream else target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        if not stream:
            partial.replace(target)
    except OSError as error:
        raise ReplayError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if not stream:
            partial.unlink(missing_ok=True)


def give_name(made: Path, path: Path) -> None:
    """Put a finished file of a :func:`scratch` folder in its place, or its content into a pipe or device.

    Raises:
        ReplayError: it cannot be written.
    """
    try:
        if is_stream(path):
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
    parent = beside.resolve().parent if beside and not is_stream(beside) else None
    try:
        folder = Path(tempfile.mkdtemp(prefix=".salesgauge-", dir=parent))
    except OSError as error:
        raise ReplayError(f"cannot write in {parent}: {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
