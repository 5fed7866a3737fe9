"""The command line: `salesgauge --help`."""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from typing import Any

import click

from salesgauge.streams.version import VERSION

FAULT = 1
INTERRUPTED = 130  # as shells report Ctrl-C
_EXPLAINED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOENT, errno.EISDIR, errno.EFBIG})

_COMMANDS = {
    "demo": ("demo:demo_command", "Start a demo: broker, simulated CRM, worker, exporter, board."),
    "try": ("try_:try_command", "Show your own export on a board, with a drafted mapping."),
    "run": ("live:run_command", "Run worker and exporter in one process."),
    "worker": ("live:worker_command", "Run a worker: it consumes events and keeps the state."),
    "exporter": ("live:exporter_command", "Run the exporter: /metrics, API and board."),
    "topics": ("topics:topics_command", "Create or check the topics."),
    "simulate": ("simulate:simulate_command", "Make events of a simulated sales organisation."),
    "convert": ("convert:convert_command", "Turn a CRM export into events."),
    "publish": ("publish:publish_command", "Send events from files to Kafka."),
    "ingest": ("ingest:ingest_command", "Receive webhooks and read topics, and make events of them."),
    "replay": ("replay:replay_command", "Compute the KPIs of the past."),
    "explain": ("explain:explain_command", "Show which records make a number."),
    "diff": ("diff:diff_command", "Compare two sets of readings."),
    "kpis": ("kpis:kpis_command", "List the KPIs."),
    "dead-letters": ("dead_letters:dead_letters_command", "List, send again or close records that failed."),
    "rebuild": ("rebuild:rebuild_command", "Compute the state again, beside the running one."),
    "generate": ("generate:generate_command", "Write dashboards, alert rules, schemas and reference pages."),
    "doctor": ("doctor:doctor_command", "Check that everything is reachable, right and up to date."),
}


class _Lazy(click.Group):
    """Imports a command when it is called: `--help` must not load Faust."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"salesgauge.streams.cli.{module}"), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.unraisablehook = lambda _: None  # what a client left half-made complains when it is cleared away
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="salesgauge")
def cli() -> None:
    """CRM events in Kafka become live sales KPIs in Prometheus and Grafana."""


def _prepare_streams() -> None:
    """Standard streams that were closed lead nowhere; what a terminal's encoding lacks is written as an escape."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - to the end
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main(args: list[str] | None = None) -> Any:
    """The entry point. A full disk, a file that may not be written and their like end in a message."""
    _prepare_streams()
    code: Any = FAULT
    try:
        try:
            cli.main(args=args, prog_name="salesgauge", standalone_mode=True)
        except SystemExit as leaving:
            code = leaving.code
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in _EXPLAINED:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered has nowhere to go
        sys.stderr.write(f"error: {error.filename or 'cannot write'}: {error.strerror}\n")
        code = FAULT
    sys.exit(code)


if __name__ == "__main__":
    main()
