"""Publishing: validated, keyed, acknowledged, with line numbers of what is no event."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import zstandard
from click.testing import CliRunner

from salesgauge.schemas.codec import Reason, Rejection, decode
from salesgauge.schemas.values import MAX_EVENT_BYTES, MAX_ID_LENGTH
from salesgauge.streams.cli.main import cli
from salesgauge.streams.kafka import topics
from salesgauge.streams.kafka.connection import BrokerError, partition_of
from salesgauge.streams.kafka.embedded import EmbeddedBroker
from salesgauge.streams.kafka.publisher import Publisher
from salesgauge.streams.kafka.whole_topic import read_topic
from salesgauge.streams.settings.model import Settings, load

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration


@pytest.fixture
def settings() -> Iterator[Settings]:
    """Topics on a broker of the test's own."""
    with EmbeddedBroker() as broker:
        made = load(None, {"kafka.bootstrap": broker.bootstrap, "kafka.partitions": 3})
        topics.create(made)
        yield made


def event(n: int, **fields: object) -> dict[str, object]:
    now = datetime.now(UTC).isoformat()
    return {"event": "lead_created", "event_id": f"e{n}", "lead_id": f"lead-{n}", "occurred_at": now, **fields}


def lines(*items: object) -> bytes:
    return b"".join((item if isinstance(item, bytes) else json.dumps(item).encode()) + b"\n" for item in items)


def publish(settings: Settings, *args: object, stdin: bytes | None = None, code: int = 0) -> str:
    flags = ["--bootstrap", settings.kafka.bootstrap]
    result = CliRunner().invoke(cli, ["publish", *map(str, args), *flags], input=stdin)
    assert result.exit_code == code, result.output
    return result.output


def stored(settings: Settings, topic: str = "crm.lead-created") -> list[Any]:
    return list(read_topic(settings.kafka, topic))


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "jsonl.zst"])
def test_files_reach_their_topics_with_their_keys(settings, tmp_path, suffix):
    content = lines(*[event(n) for n in range(20)], event(20, event="rep_joined", rep_id="rep-1"))
    packed = {"jsonl": content, "jsonl.gz": gzip.compress(content), "jsonl.zst": zstandard.compress(content)}
    (tmp_path / f"events.{suffix}").write_bytes(packed[suffix])
    said = publish(settings, tmp_path / f"events.{suffix}")
    assert "21 events published and acknowledged" in said
    records = stored(settings)
    assert {record.key.decode() for record in records} == {f"lead-{n}" for n in range(20)}
    assert all(record.partition == partition_of(record.key, 3) for record in records)
    assert [record.key for record in stored(settings, "crm.rep-joined")] == [b"rep-1"]


def test_events_of_one_key_keep_their_order(settings):
    content = lines(*[event(n, lead_id="same") for n in range(500)])
    publish(settings, "-", stdin=content)
    ids = [json.loads(record.value)["event_id"] for record in stored(settings)]
    assert ids == [f"e{n}" for n in range(500)]


def test_what_is_no_event_is_counted_and_written_with_its_line(settings, tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(lines(event(1), b"", b"not json", event(2, event="lead_exploded"), event(3)))
    said = publish(settings, path, "--rejects", tmp_path / "rejects")
    assert "2 events published" in said
    assert "1 records rejected: not_json" in said
    assert "1 records rejected: unknown_event" in said
    first, second = map(json.loads, (tmp_path / "rejects").read_text().splitlines())
    assert first | {"detail": ""} == {
        "origin": str(path), "position": 3, "event": None, "event_id": None,
        "reason": "not_json", "detail": "", "payload": "not json",
    }  # fmt: skip
    assert (second["position"], second["event"], second["event_id"]) == (4, "lead_exploded", "e2")
    assert second["payload"]["lead_id"] == "lead-2"


def test_strict_stops_at_the_first_bad_line(settings, tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(lines(event(1), b"not json", event(2)))
    said = publish(settings, path, "--strict", "--rejects", tmp_path / "rejects", code=1)
    assert f"{path}:2: not_json" in said
    assert "1 events before that are published" in said
    assert len(stored(settings)) == 1
    assert json.loads((tmp_path / "rejects").read_text())["position"] == 2


def test_strict_publishes_nothing_of_files_with_unknown_fields(settings, tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(lines(event(1), event(2, sorce="web"), event(3, sorce="web", rep="ann")))
    named = "lead_created.sorce (2), lead_created.rep (1)"
    assert f"{named} (--strict)" in publish(settings, path, "--strict", code=1)
    assert stored(settings) == []
    said = publish(settings, "-", "--strict", stdin=path.read_bytes(), code=1)
    assert "lead_created.sorce (1) (--strict); 1 events before that are published" in said
    assert f"warning: fields that no event of the kind has: {named}" in publish(settings, path)
    assert len(stored(settings)) == 4


def test_nothing_published_is_a_failure(settings):
    assert "nothing was published" in publish(settings, "-", stdin=b"not json\n", code=1)


@pytest.mark.parametrize(("bad", "code"), [(2, 0), (3, 1)])
def test_more_than_half_rejected_is_a_failure(settings, bad, code):
    said = publish(settings, "-", stdin=lines(event(1), event(2), *[b"not json"] * bad), code=code)
    assert ("more than half" in said) == bool(code)
    assert len(stored(settings)) == 2


def test_files_of_windows_programs_patterns_and_parquet_are_read_whole(settings, tmp_path):
    (tmp_path / "1.jsonl").write_bytes(b"\xef\xbb\xbf" + lines(event(1), event(2)).replace(b"\n", b"\r\n"))
    (tmp_path / "2.jsonl").write_text(lines(event(3), event(4)).decode(), encoding="utf-16")
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT '{json.dumps(event(5))}' AS event) TO '{tmp_path / 'events.parquet'}'")
    said = publish(settings, f"{tmp_path}/*.jsonl", tmp_path / "events.parquet")
    assert "5 events published" in said
    assert "rejected" not in said
    assert {record.key for record in stored(settings)} == {f"lead-{n}".encode() for n in range(1, 6)}


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_truncated_file_is_told(settings, tmp_path, suffix):
    content = lines(*[event(n) for n in range(3000)])
    packed = gzip.compress(content) if suffix == "gz" else zstandard.compress(content)
    path = tmp_path / f"events.jsonl.{suffix}"
    path.write_bytes(packed[: len(packed) // 2])
    said = publish(settings, path, code=1)
    assert "ends too early" in said
    assert f"{len(stored(settings)):,} events before that are published" in said
    assert "warning" in publish(settings, path, "--allow-truncated")


def test_a_dying_broker_is_told(monkeypatch):
    monkeypatch.setattr("salesgauge.streams.kafka.publisher._TIMEOUT", 3)
    with EmbeddedBroker() as broker:
        made = load(None, {"kafka.bootstrap": broker.bootstrap, "kafka.partitions": 1})
        topics.create(made)
        publisher = Publisher(made.kafka, delivery_timeout_ms=2000, request_timeout_ms=1000)
        publisher.send_raw("crm.lead-created", "k", b"{}")
        publisher.flush()
        broker.stop()
        publisher.send_raw("crm.lead-created", "k", b"{}")
        with pytest.raises(BrokerError):
            publisher.flush()


# --- limits


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"source": "x" * MAX_EVENT_BYTES}, Reason.TOO_LARGE),
        ({"event_id": "x" * (MAX_ID_LENGTH + 1)}, Reason.INVALID),
        ({"lead_id": "x" * (MAX_ID_LENGTH + 1)}, Reason.INVALID),
        ({"lead_id": ""}, Reason.INVALID),
        ({"source": "x" * (MAX_ID_LENGTH + 1)}, Reason.INVALID),
        ({"source": "bell \x07"}, Reason.INVALID),
        ({"occurred_at": "2026-01-01T00:00:00"}, Reason.INVALID),
        ({"schema_version": 99}, Reason.UNSUPPORTED_VERSION),
    ],
)
def test_limits_of_an_event(fields, reason):
    found = decode(json.dumps(event(1, **fields)).encode())
    assert isinstance(found, Rejection)
    assert found.reason is reason
    assert len(found.detail) <= 500


def test_values_at_the_limit_pass():
    assert not isinstance(decode(json.dumps(event(1, lead_id="x" * MAX_ID_LENGTH)).encode()), Rejection)
