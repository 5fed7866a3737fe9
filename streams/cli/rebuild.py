"""`salesgauge rebuild run|status|switch|drop`."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from salesgauge.streams.cli.common import Function, err, explained, kafka_options, out, settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from salesgauge.streams.operate.rebuild import RebuildProgress
    from salesgauge.streams.settings.model import Settings

_SHOWN = 20
_PLAIN_WIDTH = 160  # characters, where stdout is no terminal
_LINE_SECONDS = 5.0

_number = click.argument("version", type=click.IntRange(min=1))


@click.group()
def rebuild_command() -> None:
    """Recompute the state from the topics beside the running one, compare, switch without a gap, drop the old.

    Use it after a change of the rules, of the time zone or of the number of partitions, or for a new definition.
    """


def _force(function: Function) -> Function:
    return click.option("--force", is_flag=True, help="Switch even if the version is behind or incomplete.")(function)


# --- run


@rebuild_command.command("run", short_help="Compute the next version, and compare it.")
@kafka_options
@click.option("--switch", "switch_over", is_flag=True, help="Make the new version active once it has caught up.")
@click.option(
    "--leave",
    is_flag=True,
    help="Stop once it has caught up. By default it goes on, so that the new version stays current.",
)
@explained
def run_command(config: Path | None, bootstrap: str | None, *, switch_over: bool, leave: bool) -> None:
    """Be a worker of the next version, show how far it is, then how its readings differ from the active one's.

    Start it several times to share the work. It goes on until it is stopped.
    """
    from salesgauge.streams.cli.live import run_loop
    from salesgauge.streams.io.logs import quiet_logs
    from salesgauge.streams.operate import rebuild

    quiet_logs()
    old, new = rebuild.prepare(settings_of(config, kafka__bootstrap=bootstrap))
    err.print(f"version {new.version} is being built beside version {old.version}")
    run_loop(_run(_Rebuild(old, new, switch_over=switch_over, leave=leave)))


@dataclass
class _Rebuild:
    """What goes on beside the worker."""

    old: Settings
    new: Settings
    switch_over: bool
    leave: bool
    stopped: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Show the progress; then compare, switch if that is wanted, and say what comes next."""
        from salesgauge.streams.operate import rebuild

        began = time.monotonic()
        with _Shown() as shown:
            caught_up = rebuild.catch_up(self.new, shown.update, self.stopped.is_set)
        if not caught_up:
            return
        err.print(f"version {self.new.version} has caught up after {time.monotonic() - began:.0f} s")
        self._compare()
        number = self.new.version
        if self.switch_over:
            rebuild.switch(self.new)
            err.print(f"version {number} is the active one; exporters load it and change over")
            err.print("restart the workers, end this process, then `salesgauge rebuild drop` the old version")
        else:
            err.print(f"next: `salesgauge rebuild switch {number}`, or `salesgauge rebuild drop {number}`")

    def _compare(self) -> None:
        from salesgauge.streams.cli.diff import differences_table
        from salesgauge.streams.operate import rebuild

        try:
            comparison = rebuild.compare_versions(self.old, self.new)
        except rebuild.RebuildError as error:
            err.print(f"the readings cannot be compared: {error}")
            return
        if comparison.differences:
            wide = out if out.is_terminal else Console(width=_PLAIN_WIDTH)
            wide.print(differences_table(comparison, _SHOWN))
        err.print(f"{len(comparison.differences):,} of {comparison.total:,} readings differ")


async def _run(plan: _Rebuild) -> None:
    from salesgauge.streams.cli.live import until_stopped
    from salesgauge.streams.composition import process

    running = asyncio.ensure_future(process(plan.new, worker=True, exporter=False, serve=False).run())
    watching = asyncio.ensure_future(asyncio.to_thread(plan.watch))
    watching.add_done_callback(lambda done: running.cancel() if plan.leave or done.exception() else None)
    try:
        await until_stopped(running)
    finally:
        plan.stopped.set()
        await watching


class _Shown:
    """A bar per partition in a terminal; a line every few seconds elsewhere. A context manager."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=err
        )  # fmt: skip
        self._tasks: dict[int, TaskID] = {}
        self._said = 0.0

    def __enter__(self) -> Self:
        if err.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if err.is_terminal:
            self._bars.stop()

    def update(self, progress: RebuildProgress) -> None:
        """Show how far it is now."""
        if not err.is_terminal:
            self._say(sum(progress.left.values()), sum(progress.first.values()))
            return
        for partition, first in progress.first.items():
            if partition not in self._tasks:
                self._tasks[partition] = self._bars.add_task(f"partition {partition}")
            self._bars.update(self._tasks[partition], total=first, completed=first - progress.left.get(partition, 0))

    def _say(self, left: int, first: int) -> None:
        if time.monotonic() - self._said >= _LINE_SECONDS:
            self._said = time.monotonic()
            err.print(f"{first - left:,} of {first:,} records")


# --- status, switch, drop


@rebuild_command.command("status", short_help="List the versions.")
@kafka_options
@explained
def status_command(config: Path | None, bootstrap: str | None) -> None:
    """List the versions: which is active, how far behind each is, and how many workers it has."""
    from salesgauge.streams.operate import rebuild

    versions = rebuild.status(settings_of(config, kafka__bootstrap=bootstrap))
    if not versions:
        err.print("no version has topics; run `salesgauge topics create`")
    table = Table("version", "", "records behind", "workers")
    for one in versions:
        members = "unknown" if one.members is None else str(one.members)
        table.add_row(str(one.number), "active" if one.active else "", f"{one.behind:,}", members)
    if versions:
        out.print(table)


@rebuild_command.command("switch", short_help="Make a version the active one.")
@_number
@kafka_options
@_force
@explained
def switch_command(version: int, config: Path | None, bootstrap: str | None, *, force: bool) -> None:
    """Make a version the active one: running exporters load it and change over; workers take it when they start."""
    from salesgauge.streams.operate import rebuild

    settings = settings_of(config, kafka__bootstrap=bootstrap)
    rebuild.switch(rebuild.version_of(settings, version), force=force)
    err.print(f"version {version} is the active one")
    err.print("restart the workers; keep `salesgauge rebuild run` until they have joined")


@rebuild_command.command("drop", short_help="Delete a version that is not active.")
@_number
@kafka_options
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@explained
def drop_command(version: int, config: Path | None, bootstrap: str | None, *, yes: bool) -> None:
    """Delete the topics and the consumer group of a version that is not active. Events and dead letters stay."""
    from salesgauge.streams.operate import rebuild

    settings = rebuild.version_of(settings_of(config, kafka__bootstrap=bootstrap), version)
    if not yes:
        click.confirm(f"delete {', '.join(rebuild.owned_topics(settings))}?", abort=True)
    deleted = rebuild.drop(settings)
    for name in deleted:
        out.print(f"deleted {name}")
    err.print(f"version {version} is gone" if deleted else f"version {version} has no topics: nothing to delete")
