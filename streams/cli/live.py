"""`salesgauge run|worker|exporter`: the live engine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from salesgauge.streams.cli.common import Failed, Function, err, explained, kafka_options, settings_of

if TYPE_CHECKING:
    from salesgauge.streams.composition import Process
    from salesgauge.streams.settings.model import Settings

_STOP_SECONDS = 15.0
_LEAVE_SECONDS = 3.0


def web_options(function: Function) -> Function:
    """``--host`` and ``--port``, which stand above the settings."""
    ports = "Port to listen on (default: 9108; of a worker 9109); 0 for any."
    function = click.option("--port", type=click.IntRange(0, 65535), help=ports)(function)
    return click.option("--host", metavar="ADDRESS", help="Address to listen on (default: this machine only).")(
        function
    )


@click.command()
@kafka_options
@web_options
@explained
def run_command(config: Path | None, bootstrap: str | None, host: str | None, port: int | None) -> None:
    """Worker and exporter in one process, for a small installation."""
    settings = settings_of(config, kafka__bootstrap=bootstrap, web__host=host, web__port=port)
    _run(settings, worker=True, exporter=True)


@click.command()
@kafka_options
@web_options
@explained
def worker_command(config: Path | None, bootstrap: str | None, host: str | None, port: int | None) -> None:
    """A worker: consumes events, keeps the state, publishes windows. Start as many as there are partitions."""
    settings = settings_of(config, kafka__bootstrap=bootstrap, worker_web__host=host, worker_web__port=port)
    _run(settings, worker=True, exporter=False)


@click.command()
@kafka_options
@web_options
@explained
def exporter_command(config: Path | None, bootstrap: str | None, host: str | None, port: int | None) -> None:
    """The exporter: merges what workers publish and serves /metrics, the API and the board."""
    settings = settings_of(config, kafka__bootstrap=bootstrap, web__host=host, web__port=port)
    _run(settings, worker=False, exporter=True)


def _run(settings: Settings, *, worker: bool, exporter: bool) -> None:
    from salesgauge.streams.io.logs import quiet_logs

    quiet_logs()
    run_loop(_serve(settings, worker=worker, exporter=exporter))


async def active_settings(settings: Settings) -> Settings:
    """The settings with the active version and the partitions that the topics have. Kafka is waited for.

    Raises:
        BrokerError: Kafka does not answer within ``kafka.start_seconds``, or refuses.
    """
    from salesgauge.streams.kafka import control, topics
    from salesgauge.streams.kafka.connection import answered

    def found() -> Settings:
        return topics.adopted(control.resolved(settings))

    active = await answered(settings.kafka, lambda: asyncio.to_thread(found))
    if active.version != settings.version:
        err.print(f"version {active.version} is the active one")
    return active


async def _serve(settings: Settings, *, worker: bool, exporter: bool) -> None:
    from salesgauge.streams.composition import process
    from salesgauge.streams.kafka import control

    active = await active_settings(settings)
    built = process(active, worker=worker, exporter=exporter, follow=not control.explicit(settings))
    running = await begun(built.run)
    if built.server is not None and not running.done():
        err.print(f"listening on {built.server.url}")
    await until_stopped(running)


async def begun(run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> asyncio.Future[None]:
    """Run what sets an event once it has started; returns when it has, or when it has ended before."""
    started = asyncio.Event()
    running = asyncio.ensure_future(run(started))
    waiting = asyncio.ensure_future(started.wait())
    tasks: set[asyncio.Future[Any]] = {running, waiting}
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return running


async def run_watched(built: Process, watch: Coroutine[Any, Any, None]) -> None:
    """Run a process and what watches it until one of them ends, or somebody ends both; raises what ended it."""
    both = (asyncio.ensure_future(built.run()), asyncio.ensure_future(watch))
    try:
        await until_stopped(asyncio.ensure_future(_first(*both)))
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
    for task in both:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def _first(*tasks: asyncio.Future[None]) -> None:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def until_stopped(running: asyncio.Future[None]) -> None:
    """Wait for a process, or for SIGTERM or Ctrl-C, which end it in order."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stopped = asyncio.ensure_future(stop.wait())
    tasks: set[asyncio.Future[Any]] = {running, stopped}
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    running.cancel()
    try:
        await asyncio.wait_for(running, _STOP_SECONDS)
    except asyncio.CancelledError:
        pass
    except TimeoutError:
        logging.getLogger("salesgauge").warning("did not stop within %.0f s; leaving", _STOP_SECONDS)


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in uvloop, where it is installed.

    Raises:
        Failed: with the message of an error that a person can do something about.
    """
    from salesgauge.streams.serve.http import ListenError
    from salesgauge.streams.worker.errors import ProduceError, UntestedFaustError

    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    try:
        _run_to_the_end(main)
    except (ProduceError, ListenError, UntestedFaustError) as error:
        raise Failed(str(error)) from error


def _run_to_the_end(main: Coroutine[Any, Any, None]) -> None:
    """As `asyncio.run`, but tasks of clients that wait for a broker that does not answer are left behind."""
    runner = asyncio.Runner()
    try:
        runner.run(main)
    finally:
        loop = runner.get_loop()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        stuck = loop.run_until_complete(asyncio.wait(left, timeout=_LEAVE_SECONDS))[1] if left else set()
        if not stuck:
            runner.close()
