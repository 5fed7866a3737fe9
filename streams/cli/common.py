"""What the commands share: settings from the context, errors as messages, the console."""

from __future__ import annotations

import functools
import logging
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from salesgauge.schemas.errors import SalesgaugeError
from salesgauge.streams.settings.file import SettingsError
from salesgauge.streams.settings.model import Settings, load

USAGE_ERROR = 2
FAILURE = 1

Function = TypeVar("Function", bound=Callable[..., Any])

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class Failed(click.ClickException):
    """Ends the program with a message for a person."""

    exit_code = FAILURE

    def show(self, file: Any = None) -> None:
        """Print the message to stderr."""
        del file
        err.print(f"[bold red]error:[/] {_plain(self.message)}")


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def explained(function: Function) -> Function:
    """Turn errors that a person can do something about into messages; all others are faults and keep their trace."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        logging.getLogger("kafka").setLevel(logging.CRITICAL)  # its errors are raised, and shown by us
        try:
            return function(*args, **kwargs)
        except SettingsError as error:
            failure = Failed(str(error))
            failure.exit_code = USAGE_ERROR
            raise failure from error
        except SalesgaugeError as error:
            raise Failed(str(error)) from error
        except BrokenPipeError:
            sys.stderr.close()
            raise SystemExit(FAILURE) from None

    return wrapper  # type: ignore[return-value]


def kafka_options(function: Function) -> Function:
    """``--config`` and ``--bootstrap``, which every command that talks to Kafka has."""
    function = click.option("--bootstrap", metavar="HOST:PORT", help="Kafka brokers, instead of kafka.bootstrap.")(
        function
    )
    return click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Settings file (YAML).")(
        function
    )


def settings_of(config: Path | None, **flags: Any) -> Settings:
    """Settings from the file, the variables and the flags, whose names use ``__`` for the dot."""
    return load(config, {name.replace("__", "."): value for name, value in flags.items()})


def available_port(port: int) -> int:
    """The port, or any free one if somebody has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            err.print(f"port {port} is taken; another one is used")
            return 0
    return port
