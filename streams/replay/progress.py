"""How far a replay is, on stderr if that is a terminal: rate, time left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self, TypeVar

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from rich.console import Console

T = TypeVar("T")
_EVERY = 2_000
_PAUSE = 0.2  # s


class Display:
    """A progress bar; nothing where stderr is no terminal."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._shown = console.is_terminal and not quiet
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )

    def __enter__(self) -> Self:
        if self._shown:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._bar.stop()

    def over(self, items: Iterable[T], what: str, done: Callable[[], tuple[int, int]], unit: str) -> Iterator[T]:
        """Pass items on; ``done`` says how much of how much is done."""
        if not self._shown:
            yield from items
            return
        task = self._bar.add_task(what, total=None, rate="")
        began = shown = time.monotonic()
        for count, item in enumerate(items, 1):
            yield item
            if count % _EVERY == 0 or unit == "steps":
                now = time.monotonic()
                if now - shown > _PAUSE:
                    shown = now
                    finished, total = done()
                    rate = f"{count / (now - began):,.0f} {unit}/s"
                    self._bar.update(task, completed=finished, total=total or None, rate=rate)
        self._bar.remove_task(task)
