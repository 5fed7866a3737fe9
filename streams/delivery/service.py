"""Composition: a Faust app that delivers records to a processor, and how it is run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Literal

import faust
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import AuthenticationFailedError, KafkaConnectionError, KafkaError
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from faust.types import TP
from yarl import URL

from streams.delivery.consumer import Transport
from streams.delivery.lanes import Lanes
from streams.delivery.records import Processor, Send
from streams.delivery.tables import EntityTable, TableManager
from streams.delivery.writer import Writer

TESTED_FAUST = ("0.15.3",)
"""Versions of faust-streaming whose internals this package overrides; a contract test guards them."""

_OVERHEAD = 64 * 1024
_STOP_WITHIN = 30.0
_log = logging.getLogger(__name__)


class DeliveryError(Exception):
    """The worker cannot go on; the message says why and what to do."""


class BrokerUnreachable(DeliveryError):  # noqa: N818 - the name says what is the matter
    """Kafka does not answer, or refuses the login."""


class TopicsNotReady(DeliveryError):  # noqa: N818
    """Topics are missing, or differ in their number of partitions."""


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """Where records come from and how they are delivered. Times are seconds."""

    bootstrap: str
    """Brokers as ``host:port``, separated by commas."""
    app_id: str
    """The consumer group, and the prefix of the changelog topic."""
    topics: Sequence[str]
    """Topics to consume, all with the same number of partitions. Any that `Output.sends` re-keys to is among them."""
    partitions: int
    table: str = "entities"
    batch: bool = True
    """One message per fetched chunk of a partition; off for Faust's own one message per record."""
    batch_records: int = 4096
    """Most records of one `Processor.apply`."""
    credentials: Any = field(default=None, repr=False)
    """`faust.SASLCredentials`, `faust.auth.OAuthCredentials` or `faust.SSLCredentials`; None for plain text."""
    session_timeout: float = 8.0
    """A worker that is not heard of for so long loses its partitions."""
    commit_interval: float = 1.0
    produce_timeout: float = 30.0
    """A write that is not acknowledged by then ends the worker."""
    connect_timeout: float = 5.0
    compression: Literal["gzip", "snappy", "lz4", "zstd"] | None = None
    max_message_bytes: int = 8 * 1024 * 1024
    unsafe_commit_before_ack: bool = False
    """For tests of the tests only: commits offsets before the state is written, so that a crash loses events."""

    @property
    def changelog_topic(self) -> str:
        """The changelog of the table, as Faust names it."""
        return f"{self.app_id}-{self.table}-changelog"


@dataclass(frozen=True, slots=True)
class Status:
    """How the worker is doing. Lag is counted in records, ages in seconds."""

    ready: bool
    """It has partitions or waits for some, and their state is whole."""
    rebalancing: bool
    in_recovery: bool
    recovery_remaining: int
    partitions: frozenset[int]
    generation: int
    lag: Mapping[TP, int]
    last_commit_age: float | None
    batches: int
    records: int
    restored: int
    written: int
    produce_errors: int


Publish = Callable[[Sequence[Send]], Awaitable[bool]]
"""Writes records and waits until they are acknowledged; False if this worker's membership is over, then nothing is
written. `writer.ProduceFailed` ends the worker."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Something to do every few moments while records flow: never during a rebalance or a recovery."""

    every: float
    """Seconds between two runs, at least."""
    run: Callable[[Publish], Awaitable[None]]


class RawSchema(faust.Schema):
    """Nothing is decoded: the message is all there is."""

    def compile(self, app: Any, **_: Any) -> Callable[..., Awaitable[Any]]:
        """The function that makes an event of a message."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            del propagate
            return app.create_event(None, None, None, message)

        return decode


class _Boot(faust.App.BootStrategy):
    enable_web = False  # else Faust listens on port 6066, whatever `web_enabled` says


class DeliveryApp(faust.App):
    """Faust, with delivery in batches to one processor. Nothing connects before `start`."""

    BootStrategy = _Boot

    def __init__(self, settings: DeliverySettings, processor: Processor, ticks: Sequence[Tick] = ()) -> None:
        super().__init__(settings.app_id, **_faust_settings(settings))
        self.delivery = settings
        self.processor = processor
        self.ticks = tuple(ticks)
        self.lanes = Lanes(self)
        self.failure: BaseException | None = None
        self._writer: Writer | None = None
        source = self.topic(*settings.topics, schema=RawSchema(), internal=False)
        changelog = self.topic(settings.changelog_topic, schema=RawSchema(), internal=False)
        table = EntityTable(
            self,
            name=settings.table,
            store="memory://",
            partitions=settings.partitions,
            changelog_topic=changelog,
        )
        self.tables.add(table)
        self.agent(source, name="delivery")(self._deliver)

    async def _deliver(self, stream: Any) -> None:
        async for event in stream.noack().events():
            await self.lanes.put(event.message)

    # --- Faust's seams

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """There is no local state."""

    async def on_started(self) -> None:
        """Start the ticks once everything is restored."""
        await super().on_started()
        for tick in self.ticks:
            self.add_future(self._ticking(tick))

    async def _ticking(self, tick: Tick) -> None:
        while not self.should_stop:
            await self.sleep(tick.every)
            if not (self.rebalancing or self.in_recovery or self.should_stop):
                try:
                    await tick.run(self.publish)
                except Exception as error:
                    self.fail(error)
                    raise

    async def on_stop(self) -> None:
        """Finish, commit, leave the group."""
        await super().on_stop()
        self.lanes.stop()

    # --- for the other modules of this package

    @property
    def writer(self) -> Writer:
        """The acknowledged producer."""
        if self._writer is None:
            self._writer = Writer(self.producer._ensure_producer())  # noqa: SLF001
        return self._writer

    def changelog(self, partition: int) -> TP:
        """The changelog of a partition."""
        return TP(self.delivery.changelog_topic, partition)

    @property
    def changelog_partitions(self) -> set[TP]:
        """The changelog partitions that are this worker's."""
        return {tp for tp in self.assignor.assigned_actives() if tp.topic == self.delivery.changelog_topic}

    def fail(self, error: BaseException) -> None:
        """End the worker; what is not written is not committed."""
        if self.failure is None:
            self.failure = error
            _log.error("delivery ends: %s", error)

    # --- for everybody

    async def publish(self, sends: Sequence[Send]) -> bool:
        """Write records and wait until they are acknowledged; see `Publish`."""
        if not await self.consumer.is_member(self.consumer_generation_id):
            return False
        await self.writer.send(sends)
        return True

    def status(self) -> Status:
        """How the worker is doing, at any time in its life."""
        running = bool(self._consumer is not None and self.started and not self.should_stop)
        recovery = self.tables.recovery
        settled = running and not self.rebalancing and not self.in_recovery
        committed = self.consumer.last_commit if running else None
        return Status(
            ready=settled and self.tables.actives_ready,
            rebalancing=bool(self.rebalancing),
            in_recovery=bool(self.in_recovery),
            recovery_remaining=max(0, recovery.active_remaining_total()),
            partitions=frozenset(recovery.tenures),
            generation=int(self.consumer_generation_id or 0),
            lag=self.consumer.lag() if settled else {},
            last_commit_age=None if committed is None else monotonic() - committed,
            batches=self.lanes.batches,
            records=self.lanes.records,
            restored=recovery.restored,
            written=self._writer.written if self._writer else 0,
            produce_errors=self._writer.errors if self._writer else 0,
        )


def _faust_settings(settings: DeliverySettings) -> dict[str, Any]:
    return {
        "broker": [URL(f"kafka://{address.strip()}") for address in settings.bootstrap.split(",")],
        "broker_credentials": settings.credentials,
        "broker_session_timeout": settings.session_timeout,
        "broker_heartbeat_interval": settings.session_timeout / 4,
        "broker_commit_interval": settings.commit_interval,
        "broker_max_poll_records": settings.batch_records,
        "consumer_auto_offset_reset": "earliest",
        "consumer_max_fetch_size": 1024 * 1024,
        "producer_acks": -1,
        "producer_compression_type": settings.compression,
        "producer_max_batch_size": 512 * 1024,
        "producer_max_request_size": settings.max_message_bytes + _OVERHEAD,
        "producer_request_timeout": settings.produce_timeout,
        "stream_buffer_maxsize": 16,
        "stream_wait_empty": True,
        "stream_recovery_delay": 0.0,
        "table_standby_replicas": 0,
        "topic_partitions": settings.partitions,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "cython_optimizations": True,
        "worker_redirect_stdouts": False,
        "web_in_thread": False,
        "TableManager": TableManager,
    }


def build_app(settings: DeliverySettings, processor: Processor, ticks: Sequence[Tick] = ()) -> DeliveryApp:
    """Compose the app. Nothing is read from the environment and nothing connects.

    Raises:
        DeliveryError: this version of Faust is not tested.
    """
    if faust.__version__ not in TESTED_FAUST:
        raise DeliveryError(
            f"faust-streaming {faust.__version__} is not tested with this release; install {TESTED_FAUST[-1]}"
        )
    return DeliveryApp(settings, processor, ticks)


async def check(settings: DeliverySettings) -> None:
    """See that the broker answers and that the topics belong together.

    Raises:
        BrokerUnreachable: no broker answers within the connect timeout, or the login is refused.
        TopicsNotReady: topics are missing, or differ in their number of partitions.
    """
    client = AIOKafkaClient(
        bootstrap_servers=settings.bootstrap,
        request_timeout_ms=int(settings.connect_timeout * 1000),
        **credentials_to_aiokafka_auth(settings.credentials),
    )
    try:
        async with asyncio.timeout(settings.connect_timeout):
            await client.bootstrap()
            cluster = await client.fetch_all_metadata()
    except AuthenticationFailedError as error:
        raise BrokerUnreachable(f"Kafka at {settings.bootstrap} refuses the login; check kafka.sasl") from error
    except (KafkaConnectionError, TimeoutError) as error:
        raise BrokerUnreachable(
            f"no Kafka broker answers at {settings.bootstrap}; start one, or check the address, TLS and login"
        ) from error
    except KafkaError as error:
        raise BrokerUnreachable(f"Kafka at {settings.bootstrap}: {error!r}") from error
    finally:
        with contextlib.suppress(Exception):
            await client.close()
    _check_topics(settings, cluster)


def _check_topics(settings: DeliverySettings, cluster: Any) -> None:
    for topic in (*settings.topics, settings.changelog_topic):
        partitions = len(cluster.partitions_for_topic(topic) or ())
        if not partitions:
            raise TopicsNotReady(f"topic {topic} is missing; run `salesgauge topics create`")
        if partitions != settings.partitions:
            raise TopicsNotReady(
                f"topic {topic} has {partitions} partitions, not {settings.partitions}; run `salesgauge topics check`"
            )


async def serve(app: DeliveryApp, stop: asyncio.Event) -> None:
    """Run the app in this loop until `stop` is set; finish, commit and leave the group then.

    Raises:
        DeliveryError: the worker cannot start or cannot go on.
    """
    await check(app.delivery)
    starting = asyncio.get_running_loop().create_task(app.start(), name="start")
    stopping = asyncio.get_running_loop().create_task(stop.wait(), name="stop")
    try:
        while not (stop.is_set() or app.failure or app.crashed or _failed(starting)):
            await asyncio.wait({stopping}, timeout=0.1)
    finally:
        stopping.cancel()
        await _end(app, starting)
    reason = app.failure or app.crash_reason or (starting.exception() if _failed(starting) else None)
    if reason is not None:
        raise DeliveryError(f"{type(reason).__name__}: {reason}") from reason


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


async def _end(app: DeliveryApp, starting: asyncio.Task[Any]) -> None:
    try:
        await asyncio.wait_for(app.stop(), _STOP_WITHIN)
    except Exception as error:  # noqa: BLE001 - it ends anyway; what is committed was acknowledged
        _log.warning("the worker ended untidily: %r", error)
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting}, timeout=1)


def run(settings: DeliverySettings, processor: Processor, ticks: Sequence[Tick] = ()) -> int:
    """Be a worker process until SIGTERM or SIGINT; the exit code: 0, or 1 after an error, which is told on stderr."""
    try:
        asyncio.run(_run(settings, processor, ticks))
    except DeliveryError as error:
        print(f"salesgauge: {error}", file=sys.stderr)  # noqa: T201 - the process's last words
        return 1
    return 0


async def _run(settings: DeliverySettings, processor: Processor, ticks: Sequence[Tick]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(build_app(settings, processor, ticks), stop)
