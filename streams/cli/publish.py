"""`salesgauge publish`: events from files to their topics."""

from __future__ import annotations

import gzip
import sys
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click
import zstandard

from salesgauge.schemas.codec import Rejection, decode_batch
from salesgauge.streams.cli.common import FAILURE, Failed, err, explained, kafka_options, settings_of

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

_BATCH = 1000
_LONGEST = 64 * 1024 * 1024


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@kafka_options
@click.option("--rejects", type=click.Path(path_type=Path, dir_okay=False), help="Write lines that are no event here.")
@click.option("--strict", is_flag=True, help="Publish nothing after the first line that is no event; exit 1.")
@explained
def publish_command(
    files: tuple[Path, ...], config: Path | None, bootstrap: str | None, rejects: Path | None, *, strict: bool
) -> None:
    """Publish events (JSON lines, also .gz and .zst; - for stdin): validated, keyed, acknowledged."""
    from salesgauge.streams.kafka.publisher import Publisher

    for path in files:
        _check(path)
    settings = settings_of(config, kafka__bootstrap=bootstrap)
    began = time.monotonic()
    reasons: Counter[str] = Counter()
    with Publisher(settings.kafka) as publisher, _Rejects(rejects) as bad:
        for path in files:
            for numbered in _batches(path):
                decoded = decode_batch([line for _, line in numbered])
                for (number, line), item in zip(numbered, decoded, strict=True):
                    if isinstance(item, Rejection):
                        reasons[item.reason.value] += 1
                        bad.write(path, number, line, item)
                        if strict:
                            publisher.flush()
                            raise Failed(f"{path}:{number}: {item.reason.value}: {item.detail}")
                    else:
                        publisher.send(item)
        publisher.flush()
        seconds = max(time.monotonic() - began, 1e-9)
        err.print(
            f"{publisher.sent} events published and acknowledged in {seconds:.1f} s ({publisher.sent / seconds:,.0f}/s)"
        )
    for reason, count in sorted(reasons.items()):
        err.print(f"{count} lines rejected: {reason}")
    if publisher.sent == 0:
        err.print("nothing was published")
        raise SystemExit(FAILURE)


def _check(path: Path) -> None:
    if path.is_dir():
        raise Failed(f"{path} is a folder; name the files in it")
    if str(path) != "-" and not path.exists():
        raise Failed(f"{path}: no such file")


class _Rejects:
    """A file of rejected lines, made when the first one comes."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: io.TextIOWrapper | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, source: Path, number: int, line: bytes, rejection: Rejection) -> None:
        if self._path is None:
            return
        if self._file is None:
            self._file = self._path.open("w")
        text = line.decode(errors="replace")
        self._file.write(f"{source}:{number}\t{rejection.reason.value}\t{rejection.detail}\t{text}\n")


def _batches(path: Path) -> Iterator[list[tuple[int, bytes]]]:
    from salesgauge.streams.io.errors import TruncatedError

    batch: list[tuple[int, bytes]] = []
    try:
        for number, line in enumerate(_lines(path), 1):
            if line.strip():
                batch.append((number, line.strip()))
            if len(batch) >= _BATCH:
                yield batch
                batch = []
    except (EOFError, TruncatedError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        raise Failed(f"{path} is truncated or damaged: {error}; events before that were published") from error
    if batch:
        yield batch


def _lines(path: Path) -> Iterator[bytes]:
    from salesgauge.streams.io.event_files import decompressed

    if str(path) == "-":
        yield from sys.stdin.buffer
        return
    with path.open("rb") as raw:
        readline = decompressed(raw).readline
        while line := readline(_LONGEST):
            yield line
