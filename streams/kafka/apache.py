"""Apache Kafka on this machine for `demo --broker kafka`: one broker on the loopback, in a temporary folder.

It needs Java 17 or newer and Kafka's jars: the ``libs`` folder of a release from kafka.apache.org, or what
``tools/fetch.sh kafka`` brings in a checkout.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from salesgauge.schemas.errors import SalesgaugeError
from salesgauge.streams.kafka.embedded import die_with_parent, end, free_port

JAVA = 17
CHECKOUT_JARS = Path(".cache/kafka")
_READY_WITHIN = 90.0
_STOP_WITHIN = 15.0
_STARTED = "Kafka Server started"
_JVM = ("-Xms256m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true")
_LOG4J = """\
Configuration:
  Appenders:
    Console: {name: STDOUT, PatternLayout: {pattern: "%p %m%n"}}
  Loggers:
    Root: {level: INFO, AppenderRef: [{ref: STDOUT}]}
"""


class ApacheKafkaUnavailable(SalesgaugeError):  # noqa: N818 - the name says what is the matter
    """Apache Kafka cannot be started; the message says what to do."""


class ApacheBroker:
    """One broker in a child process, ready when `start` returns. Its data goes with it.

    A context manager; or `start()` and `stop()`. As with the embedded broker, the kernel ends the child (Linux) when
    the thread that started it ends.

    Args:
        libs: the folder of Kafka's jars.
    """

    def __init__(self, libs: Path) -> None:
        self._libs = libs
        self._port = 0
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Host and port, as Kafka clients take it."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Start the broker and wait until it takes clients.

        Raises:
            ApacheKafkaUnavailable: Java or the jars are missing, or the broker does not start.
        """
        java = _java()
        if not any(self._libs.glob("kafka_2*.jar")):
            raise ApacheKafkaUnavailable(
                f"there are no jars of Apache Kafka in {self._libs}; run `tools/fetch.sh kafka` in a checkout, or name "
                "the folder `libs` of a release from kafka.apache.org with --kafka-libs"
            )
        self._folder = Path(tempfile.mkdtemp(prefix="salesgauge-kafka-"))
        self._port = free_port()
        _configure(self._folder, self._port)
        command = [
            java, *_JVM, f"-Dlog4j2.configurationFile={self._folder / 'log4j2.yaml'}", "-cp", f"{self._libs}/*",
        ]  # fmt: skip
        properties = str(self._folder / "broker.properties")
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        with (self._folder / "broker.log").open("wb") as log:
            tool = ["kafka.tools.StorageTool", "format", "--config", properties, f"--cluster-id={cluster}"]
            formatted = _run([*command, *tool], self._folder, log)
            if formatted.wait() == 0:
                self._process = _run([*command, "kafka.Kafka", properties], self._folder, log)
        self._wait_until_ready()
        return self

    def stop(self) -> None:
        """End the broker and remove its data; doing it twice does no harm."""
        process, self._process = self._process, None
        if process is not None:
            end(process, _STOP_WITHIN)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_until_ready(self) -> None:
        assert self._folder is not None
        log, end, said = self._folder / "broker.log", time.monotonic() + _READY_WITHIN, ""
        while self._process is not None and self._process.poll() is None and time.monotonic() < end:
            said = log.read_text(errors="replace")
            if _STARTED in said:
                return
            time.sleep(0.1)
        with suppress(OSError):
            said = log.read_text(errors="replace")
        raise ApacheKafkaUnavailable(f"Apache Kafka does not start on {self.bootstrap}: {said.strip()[-500:]}")


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        raise ApacheKafkaUnavailable(f"java is missing; install a JRE of version {JAVA} or newer")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < JAVA:
        raise ApacheKafkaUnavailable(f"{java} is too old for Apache Kafka; install a JRE of version {JAVA} or newer")
    return java


def _configure(folder: Path, port: int) -> None:
    controller = free_port()
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": folder / "data",
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    }
    text = "".join(f"{name}={value}\n" for name, value in settings.items())
    (folder / "broker.properties").write_text(text, encoding="utf-8")
    (folder / "log4j2.yaml").write_text(_LOG4J, encoding="utf-8")


def _run(command: list[str], folder: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Without the variables of this process, which may hold secrets."""
    env = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "LOG_DIR": str(folder)}
    return subprocess.Popen(  # noqa: S603 - the user's own Java and jars
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - it only calls prctl
    )  # fmt: skip
