"""Backfills into a real Prometheus, by blocks and by remote write, and replays of topics of a real broker."""

from __future__ import annotations

import http.server
import json
import math
import threading
import urllib.parse
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import cramjam
import pytest
import yaml
from click.testing import CliRunner, Result
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from salesgauge.metrics.entities.facts import millis
from salesgauge.metrics.kpis.families import family_name
from salesgauge.metrics.rules.model import Rules
from salesgauge.schemas.codec import encode
from salesgauge.schemas.errors import OutputError, TruncatedError
from salesgauge.streams.cli.diff import diff_command
from salesgauge.streams.cli.replay import replay_command
from salesgauge.streams.io.instants import iso, moment
from salesgauge.streams.replay.event_topics import EventTopics
from salesgauge.streams.replay.selection import select
from salesgauge.streams.replay.sinks.remote_write_client import Endpoint, RefusedError, _varint
from salesgauge.streams.replay.virtual_clock import ClockedEngine
from salesgauge.streams.settings.model import Kafka
from salesgauge.streams.simulation.history import Organisation, history
from tests.grafana.names import ROOT
from tests.support.process import Process, free_port
from tests.support.programs import Prometheus, _until_ready, get_json, promtool, require
from tests.support.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from salesgauge.metrics.kpis.kpi import Kpi
    from salesgauge.schemas.events import EventBase

pytestmark = pytest.mark.integration

HOUR = 3_600_000
KPIS = ("new_leads", "lead_response_seconds", "win_ratio", "leads_waiting", "sales_revenue")
CHOSEN = [part for kpi in KPIS for part in ("--kpi", kpi)] + ["--window", "24h", "--window", "all"]


def replay(*args: object) -> Result:
    return CliRunner().invoke(replay_command, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def past() -> list[EventBase]:
    """Ten days until yesterday: Prometheus takes neither what is too old nor what is to come."""
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    organisation = Organisation(seed=3, leads_per_day=10, reps=6)
    return list(history(organisation, end - timedelta(days=10), end))


@pytest.fixture(scope="module")
def file(past: list[EventBase], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("past") / "events.jsonl"
    path.write_bytes(b"".join(encode(event) + b"\n" for event in past))
    return path


@pytest.fixture(scope="module")
def span(past: list[EventBase]) -> tuple[str, str]:
    """Two days, as arguments."""
    last = millis(past[-1].occurred_at) // HOUR * HOUR
    return iso(last - 48 * HOUR), iso(last)


@contextmanager
def receiver(folder: Path) -> Iterator[Prometheus]:
    """A Prometheus with the shipped settings of its storage, on whatever data its folder has."""
    config = folder / "prometheus.yml"
    shipped = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())
    config.write_text(yaml.safe_dump({"storage": shipped["storage"]}))
    one = Prometheus.__new__(Prometheus)
    one.port = free_port()
    one.url = f"http://127.0.0.1:{one.port}"
    one.process = Process(
        [
            require("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            "--storage.tsdb.retention.time=60d",
            f"--web.listen-address=127.0.0.1:{one.port}",
            "--web.enable-remote-write-receiver",
        ],
        log=folder / "prometheus.log",
    )
    with one.process:
        _until_ready(one.process, one.url)
        yield one


def expected(documents: list[dict[str, Any]]) -> dict[tuple[str, frozenset[tuple[str, str]], int], float]:
    """(name, labels, ms) -> value, by the naming of `salesgauge.metrics.kpis.families`, of readings as JSON."""
    catalogue = select(KPIS)
    quantiles = {"p50": "0.5", "p90": "0.9", "p99": "0.99"}
    found = {}
    for document in documents:
        at = millis(datetime.fromisoformat(document["at"]))
        for reading in document["readings"]:
            kpi: Kpi = catalogue.by_id[reading["kpi"]]
            labels = {"window": reading["window"], **reading["labels"]}
            if reading["stat"] in quantiles:
                labels["quantile"] = quantiles[reading["stat"]]
            name = family_name(kpi, reading["stat"], tuple(reading["labels"]))
            found[name, frozenset(labels.items()), at] = reading["value"]
    return found


def moment_of(document: dict[str, Any]) -> float:
    """Its instant in seconds."""
    return datetime.fromisoformat(document["at"]).timestamp()


def shown(
    one: Prometheus, documents: list[dict[str, Any]], span: str = "3d"
) -> dict[tuple[str, frozenset[tuple[str, str]], int], float]:
    """What a Prometheus holds of all our series, with the times of its samples."""
    found = {}
    for result in one.query(f'{{__name__=~"crm_.*"}}[{span}]', time=moment_of(documents[-1]) + 1):
        labels = {k: v for k, v in result["metric"].items() if k not in ("__name__", "job")}
        assert result["metric"]["job"] == "salesgauge"
        for at, value in result["values"]:
            found[result["metric"]["__name__"], frozenset(labels.items()), round(at * 1000)] = float(value)
    return found


def test_blocks_and_remote_write_show_the_readings_at_their_times(tmp_path, file, span):
    common = [
        "--events",
        file,
        "--from",
        span[0],
        "--to",
        span[1],
        "--step",
        "15m",
        *CHOSEN,
        "--label",
        "job=salesgauge",
    ]
    written = replay(
        *common, "--json", "--openmetrics", tmp_path / "x.om", "--tsdb", tmp_path / "blocks" / "prometheus"
    )
    assert written.exit_code == 0, written.stderr
    documents = [json.loads(line) for line in written.stdout.splitlines()]
    assert len(documents) == 193

    families = list(text_string_to_metric_families((tmp_path / "x.om").read_text()))
    assert sum(len(family.samples) for family in families) > 193 * 50
    assert promtool("tsdb", "create-blocks-from", "openmetrics", tmp_path / "x.om", tmp_path / "made").ok

    wanted = expected(documents)
    with receiver(tmp_path / "blocks") as one:
        blocks = shown(one, documents)
    (tmp_path / "remote").mkdir()
    with receiver(tmp_path / "remote") as one:
        sent = replay(*common, "--remote-write", f"{one.url}/api/v1/write")
        assert sent.exit_code == 0, sent.stderr
        remote = shown(one, documents)
        marks = one.query('salesgauge_replayed{job="salesgauge"}[3d]', time=moment_of(documents[-1]) + 1)
    assert [len(series["values"]) for series in marks] == [len(documents)]
    assert blocks == remote
    assert {key: value for key, value in blocks.items() if key in wanted} == wanted
    # Beside the readings there are only their numerators, denominators and histograms.
    assert {name.rpartition("_by_")[0] or name for name, _, _ in blocks.keys() - wanted.keys()} <= {
        "crm_win_ratio_numerator", "crm_win_ratio_denominator", "crm_lead_response_seconds_bucket",
        "crm_lead_response_seconds_gcount", "crm_lead_response_seconds_gsum",
    }  # fmt: skip


def test_a_month_appears_at_its_times_by_blocks_and_by_remote_write(tmp_path, monkeypatch):
    monkeypatch.setenv("SALESGAUGE_RULES__ZERO_IS_REAL", '["lead_created", "deal_won", "deal_lost"]')  # from the first
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    start = end - timedelta(days=30)
    month = history(Organisation(seed=5, leads_per_day=6, reps=6), start, end)
    events = tmp_path / "month.jsonl"
    events.write_bytes(b"".join(encode(event) + b"\n" for event in month))
    asked = ["--events", events, "--from", iso(millis(start)), "--to", iso(millis(end)), "--step", "1h"]
    for kpi in ("new_leads", "win_ratio"):
        asked += ["--kpi", kpi]
    asked += ["--window", "24h", "--window", "30d", "--breakdown", "none", "--breakdown", "source"]
    asked += ["--label", "job=salesgauge"]

    text = tmp_path / "month.om"
    written = replay(*asked, "--json", "--openmetrics", text)
    assert written.exit_code == 0, written.stderr
    documents = [json.loads(line) for line in written.stdout.splitlines()]
    assert len(documents) == 30 * 24 + 1
    made = promtool("tsdb", "create-blocks-from", "openmetrics", text, tmp_path / "blocks" / "prometheus")
    assert made.ok, made.text

    with receiver(tmp_path / "blocks") as one:
        blocks, of_blocks = shown(one, documents, "32d"), asked_of(one, start, end)
    (tmp_path / "remote").mkdir()
    with receiver(tmp_path / "remote") as one:
        sent = replay(*asked, "--remote-write", f"{one.url}/api/v1/write")
        assert sent.exit_code == 0, sent.stderr
        remote, of_remote = shown(one, documents, "32d"), asked_of(one, start, end)

    wanted = expected(documents)
    assert {at for _, _, at in wanted} == set(range(millis(start), millis(end) + 1, HOUR))
    assert blocks == remote
    assert {key: value for key, value in blocks.items() if key in wanted} == wanted
    assert {name.partition("_by_")[0] for name, _, _ in blocks.keys() - wanted.keys()} <= {
        "crm_win_ratio_numerator", "crm_win_ratio_denominator"
    }  # fmt: skip

    # And as boards ask: by range queries, and by functions over time.
    leads = {at: value for (name, labels, at), value in wanted.items() if (name, labels) == DAILY_LEADS}
    curve, highest, between = of_blocks
    assert of_remote == of_blocks
    assert curve == leads
    assert highest == max(leads.values()) > min(leads.values())
    assert between == []


DAILY_LEADS = ("crm_new_leads", frozenset({("window", "24h")}))


def asked_of(one: Prometheus, start: datetime, end: datetime) -> tuple[dict[int, float], float | None, list[Any]]:
    """The month's leads in a day: by hour (ms), the most, and what there is half an hour after an instant."""
    query = 'crm_new_leads{window="24h"}'
    step = urllib.parse.urlencode({"query": query, "start": iso(millis(start)), "end": iso(millis(end)), "step": "1h"})
    (series,) = get_json(f"{one.url}/api/v1/query_range?{step}")["data"]["result"]
    at = end.timestamp()
    asked = {"query": f"max_over_time({query}[30d1m])", "time": at}
    (most,) = get_json(f"{one.url}/api/v1/query?{urllib.parse.urlencode(asked)}")["data"]["result"]
    curve = {round(instant * 1000): float(value) for instant, value in series["values"]}
    return curve, float(most["value"][1]), one.query(query, time=at - 1800)


class Receiver(http.server.ThreadingHTTPServer):
    """Answers remote writes by a script of status codes, then 204."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/api/v1/write"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        code = self.server.codes.pop(0) if self.server.codes else 204
        if code == 204:
            self.server.bodies.append(bytes(cramjam.snappy.decompress_raw(body)))
            self.server.headers.append(dict(self.headers))
        self.send_response(code)
        self.end_headers()
        if code != 204:
            self.wfile.write(b"out of bounds" if code == 400 else b"busy")

    def log_message(self, *_args):
        pass


def test_remote_write_retries_and_tells_what_is_refused():
    waits: list[float] = []
    with Receiver(503, 429, 500) as server:
        endpoint = Endpoint(server.url.replace("//", "//me:secret@"), sleep=waits.append)
        endpoint.post(b"x")
        assert server.bodies == [b"x"]
        assert server.headers[0]["Authorization"].startswith("Basic ")
        assert (endpoint.retries, len(waits)) == (3, 3)
        assert "secret" not in endpoint.url
        server.codes = [400]
        with pytest.raises(RefusedError, match=r"out of bounds.*--tsdb"):
            endpoint.post(b"x")
        server.shutdown()
    clock = iter(range(100))
    patient = Endpoint(f"http://127.0.0.1:{free_port()}", patience=5, sleep=waits.append, clock=lambda: next(clock))
    with pytest.raises(OutputError, match=r"cannot be reached.*gave up after 5 s"):
        patient.post(b"x")


def test_an_interrupted_remote_write_goes_on_where_it_was_acknowledged(tmp_path, file, span):
    common = ["--events", file, "--from", span[0], "--to", span[1], "--step", "1h", "--kpi", "new_leads"]
    state = tmp_path / "state.json"
    with Receiver() as whole:
        assert replay(*common, "--remote-write", whole.url).exit_code == 0
        whole.shutdown()
    with Receiver() as server:
        args = [*common, "--remote-write", server.url, "--resume", state]
        assert replay(*args[:-4], "--remote-write", server.url, "--resume", state).exit_code == 0
        remembered = json.loads(state.read_text())
        assert remembered["acknowledged"] == millis(datetime.fromisoformat(span[1]))
        remembered["acknowledged"] -= 10 * HOUR
        state.write_text(json.dumps(remembered))
        server.bodies.clear()
        again = replay(*args)
        assert again.exit_code == 0
        assert "39 of 49 steps were acknowledged before" in again.stderr
        first = millis(datetime.fromisoformat(span[1])) - 9 * HOUR
        assert b"\x10" + _varint(first) in server.bodies[0]
        assert b"\x10" + _varint(first - HOUR) not in server.bodies[0]
        other = replay(*args, "--window", "24h")
        assert other.exit_code == 2
        assert "belongs to a run with other" in other.stderr
        server.shutdown()


# --- topics


@pytest.fixture(scope="module")
def published(broker: Any, past: list[EventBase]) -> Kafka:
    """The past in the event topics, each record with the time at which it happened."""
    from kafka import KafkaProducer
    from kafka.admin import KafkaAdminClient, NewTopic

    from salesgauge.schemas.events import TOPICS
    from salesgauge.streams.kafka.connection import partition_of

    kafka = Kafka(bootstrap=broker.bootstrap)
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    present = set(admin.list_topics()) & set(TOPICS)
    if present:
        admin.delete_topics(sorted(present))
        until(lambda: not set(admin.list_topics()) & set(TOPICS), 20, "the deletion of the topics")
    admin.create_topics([NewTopic(topic, 3, 1) for topic in TOPICS])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, linger_ms=20)
    for event in past:
        place = partition_of(event.key, 3)
        producer.send(
            event.topic, encode(event), event.key.encode(), partition=place, timestamp_ms=millis(event.occurred_at)
        )
    producer.flush()
    producer.close()
    return kafka


def test_topics_and_files_give_the_same_readings(published, file, span, tmp_path):
    asked = ["--from", span[0], "--to", span[1], "--step", "4h", *CHOSEN]
    from_file = replay("--events", file, *asked, "--corrected", "--json")
    for how in ("--corrected", "--as-known"):
        from_topics = replay("--topics", "--bootstrap", published.bootstrap, *asked, how, "--json")
        assert from_topics.exit_code == 0, from_topics.stderr
        assert from_topics.stdout == from_file.stdout
    at = ["--at", span[1], "--json"]
    (tmp_path / "a").write_text(replay("--events", file, *at).stdout)
    (tmp_path / "b").write_text(replay("--topics", "--bootstrap", published.bootstrap, *at).stdout)
    compared = CliRunner().invoke(diff_command, [str(tmp_path / "a"), str(tmp_path / "b")])
    assert compared.exit_code == 0, compared.output
    by_two = replay("--topics", "--bootstrap", published.bootstrap, *at, "--jobs", "2")
    assert by_two.stdout == (tmp_path / "b").read_text()

    one = EventTopics(published, partitions=frozenset({1}))
    assert {record.origin.rpartition("/")[2] for record in one.records()} == {"1"}
    since = millis(datetime.fromisoformat(span[0]))
    later = list(EventTopics(published, since=since, until=since + 24 * HOUR).records())
    assert later
    assert {since <= record.at < since + 24 * HOUR for record in later} == {True}


def test_a_record_is_known_from_its_timestamp_on(published, past, span):
    last = millis(past[-1].occurred_at)
    replayed = ClockedEngine(Rules(), select(["new_leads"]))
    ordered = EventTopics(published).ordered(corrected=False)
    for at in replayed.walk(ordered, range(last - 24 * HOUR, last, 6 * HOUR)):
        assert replayed.show().events == sum(millis(event.occurred_at) <= at for event in past)


def test_a_deleted_beginning_and_a_gap_are_told(own_kafka, past):
    from kafka import KafkaProducer, TopicPartition
    from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic

    kafka = Kafka(bootstrap=own_kafka().bootstrap)
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    admin.create_topics([NewTopic(topic, 1, 1) for topic in ("crm.lead-created", "crm.deal-won")])
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    created = [event for event in past if event.name == "lead_created"][:20]
    for event in created:
        producer.send("crm.lead-created", encode(event), timestamp_ms=millis(event.occurred_at)).get(10)
    producer.close()
    admin.delete_records({TopicPartition("crm.lead-created", 0): 5})
    admin.close()
    with pytest.raises(TruncatedError, match=r"beginning of crm.lead-created/0 was deleted .*offset 5"):
        list(EventTopics(kafka).records())
    topics = EventTopics(kafka, allow_truncated=True)
    assert len(list(topics.records())) == 15
    assert "was deleted" in topics.warnings[0]
    result = replay("--topics", "--bootstrap", kafka.bootstrap, "--from", iso(0), "--json")
    assert result.exit_code == 2
    assert "--allow-truncated" in result.stderr

    # Of a compacted topic a gap is a loss.
    policy = {"cleanup.policy": "compact"}
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "crm.deal-won", configs=policy)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id="t")
    producer.init_transactions()
    for event in created[:2]:  # the mark of a transaction takes an offset, as what was compacted does
        producer.begin_transaction()
        producer.send("crm.deal-won", encode(event), key=event.key.encode(), partition=0)
        producer.commit_transaction()
    producer.close()
    with pytest.raises(TruncatedError, match=r"crm.deal-won/0 lacks 1 records before offset [23]: the topic is comp"):
        list(EventTopics(kafka, topics=("crm.deal-won",)).records())
    topics = EventTopics(kafka, topics=("crm.deal-won",), allow_truncated=True)
    assert len(list(topics.records())) == 2
    assert "lacks 1 records" in topics.warnings[0]


def test_an_unreachable_broker_is_told():
    result = replay("--topics", "--bootstrap", f"127.0.0.1:{free_port()}", "--json", "--at", "2026-01-01")
    assert result.exit_code == 2
    assert "no Kafka broker answers" in result.stderr


def test_moments_are_exact():
    assert millis(moment(1_772_236_800_123)) == 1_772_236_800_123
    assert math.isclose(moment(1).timestamp(), 0.001)
