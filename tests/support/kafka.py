"""Apache Kafka for tests and benchmarks: one or three KRaft brokers on free loopback ports, from the jars.

The jars come from `tools/fetch.sh kafka` and lie in .cache/kafka. Brokers are small (256 MiB heap), keep
everything in one temporary folder, and die with the process that started them.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import textwrap
import time
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from tests.support.process import Process, ProcessDiedError, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT = Path(__file__).resolve().parents[2]
JARS = ROOT / ".cache" / "kafka"
JAVA = 17

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]

JVM = (
    "-Xms256m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
    "-Djava.awt.headless=true", "-Djava.net.preferIPv4Stack=true",
)  # fmt: skip

LOG4J = """\
Configuration:
  Appenders:
    Console:
      name: STDOUT
      PatternLayout: {pattern: "%d{HH:mm:ss.SSS} %-5p %m (%c{1})%n"}
  Loggers:
    Root:
      level: INFO
      AppenderRef: [{ref: STDOUT}]
    Logger:
      - {name: org.apache.kafka.common.config, level: WARN}
      - {name: kafka.server.KafkaConfig, level: WARN}
"""


@dataclass(frozen=True, slots=True)
class Security:
    """How clients reach the brokers. Brokers among themselves and their controllers always speak plain text.

    With OAUTHBEARER the brokers take Kafka's unsecured tokens (RFC 7515, `alg: none`): right for tests alone.
    """

    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism = "SCRAM-SHA-512"
    users: Mapping[str, str] = field(default_factory=lambda: {"salesgauge": "a test's secret"}, repr=False)

    @property
    def tls(self) -> bool:
        """Whether clients need the cluster's certificate authority (`ApacheKafka.ca_file`)."""
        return self.protocol.endswith("SSL")

    @property
    def sasl(self) -> bool:
        """Whether clients log in."""
        return self.protocol.startswith("SASL")


def why_not() -> str | None:
    """Why Apache Kafka cannot be started here, or None when it can."""
    if not any(JARS.glob("kafka_2.13-*.jar")):
        return "Apache Kafka's jars in .cache/kafka"
    java = shutil.which("java")
    if java is None:
        return f"java {JAVA} or newer"
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = said.partition('version "')[2].partition('"')[0].partition(".")[0]
    if not version.isdigit() or int(version) < JAVA:
        return f"java {JAVA} or newer (here is {version or said.strip()!r})"
    return None


class ApacheKafka:
    """A cluster of 1 or 3 brokers, each of them controller as well.

    A context manager; or `start()` and `stop()`. A stopped cluster can be started again with its data, until
    `close()`.

        with ApacheKafka(brokers=3) as kafka:
            kafka.bootstrap      # "127.0.0.1:40001,127.0.0.1:40002,127.0.0.1:40003"
            kafka.kill(2)        # SIGKILL
            kafka.restart(2)
    """

    def __init__(
        self,
        brokers: int = 1,
        *,
        security: Security | None = None,
        settings: Mapping[str, object] | None = None,
        keep_in: Path | None = None,
    ) -> None:
        """Choose ports and folders; nothing runs yet.

        Args:
            brokers: 1 or 3.
            security: how clients connect; plain text by default.
            settings: broker settings on top of ours (`{"log.segment.bytes": 1048576}`).
            keep_in: folder for data and logs, kept by `close()`; a temporary one by default.
        """
        self.security = security or Security()
        self._settings = dict(settings or {})
        self._temporary = keep_in is None
        self.folder = keep_in or Path(tempfile.mkdtemp(prefix="salesgauge-kafka-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.nodes = range(1, brokers + 1)
        ports = free_ports(3 * brokers)
        self._client_ports = dict(zip(self.nodes, ports[0::3], strict=True))
        self._broker_ports = dict(zip(self.nodes, ports[1::3], strict=True))
        self._controller_ports = dict(zip(self.nodes, ports[2::3], strict=True))
        self._cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self._processes: dict[int, Process] = {}
        self.ca_file: Path | None = None
        self._logged: dict[int, int] = {}  # a broker's log was this long when it was last started

    # --- what clients need

    @property
    def bootstrap(self) -> str:
        """Addresses of all brokers, as clients take them."""
        return ",".join(f"127.0.0.1:{port}" for port in self._client_ports.values())

    def log(self, broker: int = 1) -> Path:
        """A broker's log file."""
        return self.folder / f"broker-{broker}.log"

    def tail(self, lines: int = 30) -> str:
        """The end of every broker's log, for a test that failed."""
        said = []
        for node in self.nodes:
            path = self.log(node)
            text = path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else ["(no log)"]
            said.append("\n".join([f"--- Apache Kafka, broker {node}", *text]))
        return "\n".join(said)

    # --- life

    def start(self) -> Self:
        """Start all brokers and wait until they take clients."""
        if not (self.folder / "formatted").exists():
            self._configure()
            self._format()
        for node in self.nodes:
            self._launch(node)
        self._until_ready(self.nodes)
        return self

    def stop(self, *, timeout: float = 30.0) -> None:
        """Stop all brokers in good order; the data stays."""
        for process in self._processes.values():
            process.signal(15)
        for process in self._processes.values():
            process.stop(timeout)
        self._processes.clear()

    def kill(self, broker: int = 1) -> None:
        """SIGKILL one broker."""
        self._processes.pop(broker).kill()

    def restart(self, broker: int = 1, *, timeout: float = 60.0) -> None:
        """Stop a broker in good order, if it runs; start it with its data and wait until it takes clients."""
        if broker in self._processes:
            self._processes.pop(broker).stop(timeout)
        self._launch(broker)
        self._until_ready([broker], deadline=timeout)

    def pause(self, broker: int = 1) -> None:
        """Freeze a broker: its connections stay, answers do not come."""
        self._processes[broker].pause()

    def resume(self, broker: int = 1) -> None:
        """Let a frozen broker go on."""
        self._processes[broker].resume()

    def close(self) -> None:
        """Kill what runs and remove the data."""
        for process in self._processes.values():
            process.kill()
        self._processes.clear()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- how

    def _java(self, *args: str | Path) -> list[str | Path]:
        return [
            "java", *JVM, f"-Dlog4j2.configurationFile={self.folder / 'log4j2.yaml'}",
            "-cp", f"{JARS}/*", *args,
        ]  # fmt: skip

    def _launch(self, node: int) -> None:
        log = self.log(node)
        self._logged[node] = log.stat().st_size if log.exists() else 0
        argv = self._java("kafka.Kafka", self._properties_file(node))
        self._processes[node] = Process(argv, log=log, name=f"Apache Kafka, broker {node}")

    def _until_ready(self, nodes: Iterable[int], deadline: float = 90.0) -> None:
        """Wait until each broker says in its log that it has started: its ports are open before it serves.

        A broker waits for a leader among the controllers, so all are started before one is waited for.
        """
        end = time.monotonic() + deadline
        for node in nodes:
            while not self._says_ready(node):
                self._processes[node].check()
                if time.monotonic() > end:
                    raise ProcessDiedError(f"not ready after {deadline:g} s\n{self.tail()}")
                time.sleep(0.05)

    def _says_ready(self, node: int) -> bool:
        with self.log(node).open("rb") as log:
            log.seek(self._logged[node])
            return b"Kafka Server started" in log.read()

    def _properties_file(self, node: int) -> Path:
        return self.folder / f"broker-{node}.properties"

    def _configure(self) -> None:
        (self.folder / "log4j2.yaml").write_text(LOG4J)
        if self.security.tls:
            self._make_certificates()
        for node in self.nodes:
            lines = (f"{key}={value}" for key, value in self._properties(node).items())
            self._properties_file(node).write_text("\n".join(lines) + "\n")

    def _properties(self, node: int) -> dict[str, object]:
        copies = len(self.nodes)
        client, broker, controller = (
            ports[node] for ports in (self._client_ports, self._broker_ports, self._controller_ports)
        )
        voters = ",".join(f"{one}@127.0.0.1:{port}" for one, port in self._controller_ports.items())
        return {
            "process.roles": "broker,controller",
            "node.id": node,
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "BROKER",
            "listeners": f"CLIENT://127.0.0.1:{client},BROKER://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"CLIENT://127.0.0.1:{client},BROKER://127.0.0.1:{broker}",
            "listener.security.protocol.map": f"CLIENT:{self.security.protocol},BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.folder / f"data-{node}",
            # small and quick: a test cluster rebalances at once and keeps few files
            "num.partitions": 1,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "background.threads": 2,
            "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": min(2, copies),
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "offsets.topic.num.partitions": 4,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.num.partitions": 4,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": min(2, copies),
            "share.coordinator.state.topic.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": 1,
            "broker.session.timeout.ms": 4000,  # a killed broker comes back after it
            "broker.heartbeat.interval.ms": 500,
            "controlled.shutdown.enable": "true",
            **self._security_properties(),
            **self._settings,
        }

    def _security_properties(self) -> dict[str, object]:
        """Settings of the clients' listener."""
        listener = "listener.name.client"
        said: dict[str, object] = {}
        if self.security.tls:
            said |= {
                f"{listener}.ssl.keystore.type": "PEM",
                f"{listener}.ssl.keystore.location": self.folder / "broker.pem",
            }
        if self.security.sasl:
            mechanism = self.security.mechanism
            module = (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                if mechanism.startswith("SCRAM")
                else "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
                'unsecuredLoginStringClaim_sub="broker";'
            )
            said |= {
                "sasl.enabled.mechanisms": mechanism,
                f"{listener}.sasl.enabled.mechanisms": mechanism,
                f"{listener}.{mechanism.lower()}.sasl.jaas.config": module,
            }
        return said

    def _make_certificates(self) -> None:
        """One authority, and one certificate for all brokers: they live on one address."""
        import trustme
        from cryptography.hazmat.primitives import serialization

        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "localhost")
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), password=None)
        pkcs8 = key.private_bytes(  # Kafka reads no other form
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain = b"".join(one.bytes() for one in issued.cert_chain_pems)
        (self.folder / "broker.pem").write_bytes(pkcs8 + chain)
        self.ca_file = self.folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))

    def _format(self) -> None:
        """Write the cluster's id, and the users' secrets, to every data folder."""
        users: list[str] = []
        if self.security.sasl and self.security.mechanism.startswith("SCRAM"):
            for name, secret in self.security.users.items():
                users += ["--add-scram", f"{self.security.mechanism}=[name={name},password={secret}]"]
        log = self.folder / "format.log"
        running = [
            Process(
                self._java(
                    "kafka.tools.StorageTool", "format", "--config", self._properties_file(node),
                    f"--cluster-id={self._cluster}", *users,  # one word: the id may begin with a dash
                ),
                log=log,
                name=f"formatting of broker {node}",
            )
            for node in self.nodes
        ]  # fmt: skip
        for process in running:
            if process.wait(60) != 0:
                raise ProcessDiedError(textwrap.indent(process.tail(), f"{process.name}: "))
        (self.folder / "formatted").touch()
