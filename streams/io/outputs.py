"""Files and folders that appear whole or not at all: :mod:`.whole_files`, with errors for people."""

from __future__ import annotations

import io
import shutil
import signal
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, TextIO

from salesgauge.schemas.errors import OutputError
from salesgauge.streams.io.whole_files import is_stream, take_name, whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator


def refuse_folder(path: Path) -> None:
    """Say at once that a file cannot have the name of a folder.

    Raises:
        OutputError: it would.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file")


@contextmanager
def output_file(path: Path, keep: tuple[type[Exception], ...] = ()) -> Iterator[IO[bytes]]:
    """A file that takes its name when the block ends well, or with an error to ``keep`` it at.

    Otherwise nothing of it remains. A pipe or a device is written to; where the name is a link, the file that it leads
    to is replaced.

    Raises:
        OutputError: the file cannot be written.
    """
    refuse_folder(path)
    failure: Exception | None = None
    try:
        with whole_file(path) as file:
            try:
                yield file
            except keep as error:
                failure = error
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    if failure is not None:
        raise failure


@contextmanager
def text_file(path: Path) -> Iterator[TextIO]:
    """The same for text, in UTF-8.

    Raises:
        OutputError: the file cannot be written.
    """
    with output_file(path) as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="\n") as file:
        yield file


def give_name(made: Path, path: Path) -> None:
    """Put a finished file of a :func:`scratch` folder in its place, or its content into a pipe or device.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        if is_stream(path):
            with made.open("rb") as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
        else:
            take_name(made, path.resolve())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


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
        OutputError: it cannot be made.
    """
    there = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error
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
        raise OutputError(f"cannot write in {parent}: {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
