"""Dead letters: counted once per source, shown safely, sent back without harm."""

from __future__ import annotations

import json
import re
import sys
import urllib.request
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from salesgauge.metrics.entities.state import Message
from salesgauge.streams.cli.dead_letters import readable, safe
from salesgauge.streams.cli.main import cli
from salesgauge.streams.kafka import topics
from salesgauge.streams.kafka.connection import partition_of
from salesgauge.streams.kafka.control import read as read_active
from salesgauge.streams.kafka.embedded import EmbeddedBroker
from salesgauge.streams.kafka.publisher import Publisher
from salesgauge.streams.kafka.topics import CARRIED_BYTES
from salesgauge.streams.kafka.whole_topic import read_topic
from salesgauge.streams.operate import dead_letters, doctor
from salesgauge.streams.operate.check import Check
from salesgauge.streams.operate.dead_letters import LetterSource, Selection
from salesgauge.streams.operate.doctor import Report
from salesgauge.streams.settings.model import load
from tests.support.kafka import ROOT
from tests.support.process import Process, free_port
from tests.support.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from salesgauge.streams.settings.model import Settings

pytestmark = pytest.mark.integration

SPEND = b'{"event":"spend_recorded","event_id":"%d","campaign_id":"c","amount":1,"occurred_at":"2026-01-01T00:00:00Z"}'


@pytest.fixture(scope="module")
def settings(embedded_kafka) -> Settings:
    """Topics on a broker; the event topics are shared with other tests, the rest is this module's own."""
    return load(
        None,
        {
            "kafka.bootstrap": embedded_kafka.bootstrap,
            "kafka.partitions": 2,
            "app_id": f"dead-{uuid.uuid4().hex[:8]}",
        },
    )


@pytest.fixture
def own(settings: Settings) -> Settings:
    """Settings whose dead letters no other test has."""
    fresh = settings.model_copy(update={"app_id": f"dead-{uuid.uuid4().hex[:8]}"})
    topics.create(fresh)
    return fresh


def put(
    settings, *letters: tuple[str, LetterSource, bytes | None], detail: str = "because", key: bytes | None = b"k"
) -> None:
    """Set records aside, as a worker does."""
    with Publisher(settings.kafka) as publisher:
        for reason, source, value in letters:
            headers = {
                "reason": reason,
                "detail": detail,
                "topic": source.topic,
                "partition": str(source.partition),
                "offset": str(source.offset),
                "timestamp": "1767225600000",
            }
            encoded = [(name, text.encode()) for name, text in headers.items()]
            publisher.send_raw(settings.dead_letter_topic, key, value, encoded)
            publisher.flush()


def values(settings, topic: str) -> list[bytes]:
    return [record.value for record in read_topic(settings.kafka, topic)]


def run(settings, *args: str, code: int = 0):
    name, *rest = args
    flags = ["--bootstrap", settings.kafka.bootstrap]
    result = CliRunner(env={"SALESGAUGE_APP_ID": settings.app_id, "SALESGAUGE_KAFKA__PARTITIONS": "2"}).invoke(
        cli, ["dead-letters", name, *flags, *rest]
    )
    assert result.exit_code == code, result.output
    return result


def source(offset: int, topic: str = "crm.spend-recorded") -> LetterSource:
    return LetterSource(topic, 0, offset)


def test_a_source_counts_once_however_often_it_was_set_aside(own):
    put(own, ("not_json", source(1), b"x"), ("not_json", source(2), b"y"), ("not_json", source(1), b"x"))
    letters = dead_letters.read(own)
    assert [letter.source.offset for letter in letters.select(Selection())] == [2, 1]
    assert letters.repeated == 1


def test_letters_are_selected_by_reason_topic_and_time(own):
    put(own, ("not_json", source(1), b"x"), ("invalid", source(2, "crm.deal-won"), b"{}"))
    letters = dead_letters.read(own)
    assert [x.reason for x in letters.select(Selection(reasons=frozenset({"invalid"})))] == ["invalid"]
    assert [x.reason for x in letters.select(Selection(topics=frozenset({"crm.spend-recorded"})))] == ["not_json"]
    newest = letters.select(Selection())[-1].at
    assert letters.select(Selection(since=newest + 1)) == []


def test_what_is_redriven_arrives_with_its_key_and_is_marked(own):
    value = SPEND % uuid.uuid4().int
    put(own, ("unknown_currency", source(1), value), key=b"\xff key")
    assert dead_letters.redrive(own, dead_letters.read(own).select(Selection(), only_open=True)) == 1
    arrived = [r for r in read_topic(own.kafka, "crm.spend-recorded") if r.value == value]
    assert [(r.key, r.partition) for r in arrived] == [(b"\xff key", partition_of(b"\xff key", 2))]
    letters = dead_letters.read(own)
    assert letters.marks == {source(1): dead_letters.REDRIVEN}
    assert letters.select(Selection(), only_open=True) == []
    assert len(letters) == 1


def test_redriving_again_sends_nothing_unless_asked(own):
    value = SPEND % uuid.uuid4().int
    put(own, ("future", source(1), value))
    run(own, "redrive")
    run(own, "redrive")
    assert values(own, "crm.spend-recorded").count(value) == 1
    run(own, "redrive", "--again")
    assert values(own, "crm.spend-recorded").count(value) == 2


def test_facts_on_their_way_go_to_their_home_in_the_present_version(own):
    packed = Message("account/acme", ()).pack()
    put(own, ("processing_failed", LetterSource(f"{own.app_id}.rekeyed.v1", -1, -1), packed), key=None)
    later = own.model_copy(update={"version": 3})
    topics.create(later)
    assert dead_letters.redrive(later, dead_letters.read(later).select(Selection())) == 1
    [record] = read_topic(own.kafka, later.rekey_topic)
    assert Message.unpack(record.value).to == "account/acme"
    assert record.key is not None


def test_many_are_sent_in_batches_and_progress_is_told(own, monkeypatch):
    monkeypatch.setattr(dead_letters, "_BATCH", 2)
    put(own, *[("future", source(n), SPEND % uuid.uuid4().int) for n in range(5)])
    told: list[int] = []
    assert dead_letters.redrive(own, dead_letters.read(own).select(Selection()), told.append) == 5
    assert told == [2, 4, 5]
    assert dead_letters.read(own).count(dead_letters.REDRIVEN) == 5


def test_what_cannot_be_redriven_says_why(own):
    put(
        own,
        ("too_large", source(1), b"x" * CARRIED_BYTES),
        ("empty", source(2), None),
        ("not_json", source(3, "somebody.elses"), b"x"),
    )
    said = run(own, "redrive").output
    assert "only the first 512 KiB of the value were kept" in said
    assert "it has no value" in said
    assert "dead-letters close" in said
    assert "somebody.elses is no topic of this application" in said
    assert "0 letters sent" in said


def doctor_on(settings) -> Check:
    report = Report()
    doctor._dead_letters(report, settings)
    return report.checks[0]


def test_what_is_hopeless_can_be_closed(own):
    """A record without a value can become nothing; closed, it is no longer counted as open."""
    put(own, ("empty", source(1), None), ("empty", source(2), b""), ("not_json", source(3), b"x"))
    assert doctor_on(own).state == "warn"
    said = run(own, "close", "--reason", "empty").output
    assert "2 letters closed" in said
    document = json.loads(run(own, "list", "--json").stdout)
    assert (document["count"], document["open"]) == (3, 1)
    assert [item["closed"] for item in document["newest"]] == [False, True, True]
    assert "was closed" in run(own, "show", "crm.spend-recorded:0:1").output
    assert "1 letters closed" in run(own, "close", "crm.spend-recorded:0:3").output
    check = doctor_on(own)
    assert (check.state, check.message) == ("ok", "none open; 0 redriven, 3 closed")


def test_closing_twice_changes_nothing(own):
    put(own, ("empty", source(1), None), ("empty", source(2), None))
    run(own, "close", "0", "crm.spend-recorded:0:2")
    written = len(values(own, own.dead_letter_topic))
    assert "0 letters closed" in run(own, "close", "0", "1").output
    assert "0 letters closed" in run(own, "close", "--all").output
    assert len(values(own, own.dead_letter_topic)) == written
    put(own, ("empty", source(1), None))  # set aside again, by a rebuild
    assert doctor_on(own).state == "ok"


def test_what_is_closed_is_redriven_only_if_asked(own):
    value = SPEND % uuid.uuid4().int
    put(own, ("future", source(1), value))
    run(own, "close", "--all")
    assert "0 letters sent" in run(own, "redrive").output
    assert value not in values(own, "crm.spend-recorded")
    assert "1 letters sent" in run(own, "redrive", "--again").output
    assert "was redriven" in run(own, "show", "0").output


def test_closing_nothing_in_particular_is_refused(own):
    put(own, ("empty", source(1), None))
    assert "--all" in run(own, "close", code=2).output
    assert "there is no dead letter 7" in run(own, "close", "0", "7", code=1).output
    assert "1 letters would be closed" in run(own, "close", "--all", "--dry-run").output
    assert "0 letters would be closed" in run(own, "close", "0", "--reason", "future", "--dry-run").output
    assert doctor_on(own).state == "warn"


def test_a_dry_run_sends_nothing(own):
    value = SPEND % uuid.uuid4().int
    put(own, ("future", source(1), value))
    assert "1 letters would be sent" in run(own, "redrive", "--dry-run").output
    assert value not in values(own, "crm.spend-recorded")
    assert dead_letters.read(own).marks == {}


def test_list_counts_for_programs(own):
    put(own, ("not_json", source(1), b"x"), ("not_json", source(2), b"y"), ("invalid", source(3), b"{}"))
    document = json.loads(run(own, "list", "--json", "--newest", "1").stdout)
    assert document["count"] == document["open"] == 3
    assert [(row["reason"], row["count"]) for row in document["counts"]] == [("not_json", 2), ("invalid", 1)]
    assert [item["offset"] for item in document["newest"]] == [3]


def test_list_and_show_for_people_are_safe(own):
    put(own, ("not_json", source(7), b"\x1b]0;gotcha\x07[bold]\xff"), detail="expected [/] \x1b[31m")
    listed = run(own, "list").output
    assert "not_json" in listed
    assert "\x1b]" not in listed
    assert "\x1b[31m" not in listed
    shown = run(own, "show", "crm.spend-recorded:0:7").output
    assert r"\x1b]0;gotcha\x07[bold]\xff" in shown
    assert "can be redriven" in shown
    assert run(own, "show", "0").output == shown


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("show", "12345"), 1, "there is no dead letter 12345"),
        (("show", "a:b"), 1, "there is no dead letter a:b"),
        (("list", "--reason", "weather"), 2, "is no reason"),
        (("list", "--since", "yesterday"), 2, "is no time such as"),
        (("list",), 0, "no dead letters"),
    ],
)
def test_mistakes_are_explained(own, args, code, said):
    assert said in run(own, *args, code=code).output


def test_a_missing_topic_is_explained(settings):
    lost = settings.model_copy(update={"app_id": f"lost-{uuid.uuid4().hex[:8]}"})
    assert "run `salesgauge topics create`" in run(lost, "list", code=1).output
    assert read_active(lost) is None


def test_text_of_others_cannot_steer_the_terminal():
    assert readable(b"a\x1b[2J\tb\nc\xff\xc2\x9b") == "a\\x1b[2J\tb\nc\\xff\\x9b"
    assert safe("[red]x") == r"\[red]x"


@pytest.mark.timeout(180)
def test_what_is_redriven_counts_once(tmp_path):
    """A currency without a rate: set aside; with a rate: redriven, twice even, and counted once."""
    spend = {
        "event": "spend_recorded", "event_id": "one", "campaign_id": "fair", "amount": 100, "currency": "USD",
        "occurred_at": datetime.now(UTC).isoformat(),
    }  # fmt: skip
    rates = '[{"currency": "USD", "rate": "0.5"}]'
    with EmbeddedBroker() as broker:
        env = {"SALESGAUGE_KAFKA__BOOTSTRAP": broker.bootstrap, "SALESGAUGE_KAFKA__PARTITIONS": "2"}
        made = load(None, {"kafka.bootstrap": broker.bootstrap, "kafka.partitions": 2})
        topics.create(made)
        with Publisher(made.kafka) as publisher:
            publisher.send_raw("crm.spend-recorded", "fair", json.dumps(spend).encode())
            lead = {"event": "lead_created", "event_id": "two", "lead_id": "1", "occurred_at": spend["occurred_at"]}
            publisher.send_raw("crm.lead-created", "1", json.dumps(lead).encode())
        with program(tmp_path, env):
            until(lambda: len(dead_letters.read(made)) == 1, 40, "the dead letter")
        [letter] = dead_letters.read(made).select(Selection())
        assert letter.reason == "unknown_currency"
        port = free_port()
        with program(tmp_path, {**env, "SALESGAUGE_RULES__RATES": rates}, port):
            for _ in range(2):
                assert dead_letters.redrive(made, [letter]) == 1
            until(lambda: spent(port) == 50, 60, "the amount on the gauge")
            until(lambda: shown(port, "salesgauge_repeated_total") == 1, 20, "the second copy")
            assert spent(port) == 50
        assert len(dead_letters.read(made)) == 1


def program(folder: Path, env: dict[str, str], port: int = 0) -> Process:
    argv = [sys.executable, "-m", "salesgauge", "run", "--port", str(port)]
    return Process(argv, log=folder / "run.log", env=env, cwd=ROOT)


def spent(port: int) -> float | None:
    """All money spent, as /metrics has it in the numerator of the cost of a lead."""
    return shown(port, 'crm_cost_per_lead_numerator{window="all"}')


def shown(port: int, series: str) -> float | None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        found = re.search(rf"^{re.escape(series)} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else None
