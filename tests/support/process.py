"""Child processes that never outlive the test run, log to a file, and say what they logged when they fail."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Runs in the child before exec: the kernel kills it when the thread that started it ends (Linux).

    That thread is pytest's main thread here. A process started in a short-lived thread would end with it.
    """
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A TCP port on the loopback that was free a moment ago."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different free TCP ports on the loopback. All are held until all are found."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def listening(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts TCP connections there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


class ProcessDiedError(AssertionError):
    """A child process ended that should run; the message holds the end of its log."""


class Process:
    """A child process with its output in a log file.

    `stop` asks politely (SIGTERM), `kill` does not (SIGKILL, the whole process group). `pause` and `resume`
    freeze it: that is how a zombie worker is made. A context manager.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        name: str = "",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start it.

        Args:
            argv: program and arguments.
            log: its standard output and error are appended here.
            name: for messages; the program's name by default.
            env: variables set on top of this process's own.
            cwd: working directory.
        """
        self.argv = [str(part) for part in argv]
        self.log = log
        self.name = name or Path(self.argv[0]).name
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - only calls prctl
            )

    @property
    def pid(self) -> int:
        """Its process id, which is its group's id too."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._popen.poll()

    @property
    def running(self) -> bool:
        """Whether it runs (a paused one does)."""
        return self.returncode is None

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(text[-lines:])

    def check(self) -> None:
        """Raise ProcessDiedError unless it runs."""
        if not self.running:
            raise ProcessDiedError(f"{self.name} ended with {self.returncode}; its log ends:\n{self.tail()}")

    def signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.running:
            self._popen.send_signal(number)

    def pause(self) -> None:
        """Freeze it (SIGSTOP)."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen one go on."""
        self.signal(signal.SIGCONT)

    def wait(self, timeout: float) -> int:
        """Wait for its end and return its exit code.

        Raises:
            ProcessDiedError: it still runs after `timeout` seconds.
        """
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired as late:
            raise ProcessDiedError(
                f"{self.name} still runs after {timeout:g} s; its log ends:\n{self.tail()}"
            ) from late

    def stop(self, timeout: float = 15.0) -> int:
        """SIGTERM, and SIGKILL after `timeout` seconds. Returns the exit code."""
        self.resume()
        self.signal(signal.SIGTERM)
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """SIGKILL to it and its children. Returns the exit code."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self._popen.wait()

    def until_listening(self, port: int, deadline: float = 30.0) -> None:
        """Wait until it accepts connections on a loopback port; fail at once, with its log, when it dies."""
        end = time.monotonic() + deadline
        while not listening(port):
            self.check()
            if time.monotonic() >= end:
                raise ProcessDiedError(
                    f"{self.name} does not listen on port {port} after {deadline:g} s; its log ends:\n{self.tail()}"
                )
            time.sleep(0.05)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
