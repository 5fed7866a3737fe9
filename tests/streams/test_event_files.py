"""One reader for files of events: whatever packs, encodes or cuts them."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections import deque
from typing import Any

import duckdb
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from salesgauge.schemas.codec import decode
from salesgauge.schemas.errors import InputError, TruncatedError
from salesgauge.schemas.sources.unpacking import open_lines
from salesgauge.streams.io.event_files import EventFiles
from salesgauge.streams.io.records import NOWHERE, RawRecord
from salesgauge.streams.io.rejects import reject

OBJECTS = [{"event_id": str(n), "name": "Łódź 東京 🙂"} for n in range(2000)]
TEXT = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in OBJECTS)
PLAIN = TEXT.encode()
MARK = b"\xef\xbb\xbf"


def in_frames(content: bytes) -> bytes:
    """As parallel compressors write it: a frame to skip, then several frames."""
    skipped = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"size"
    return skipped + zstandard.compress(content[:5000]) + skipped + zstandard.compress(content[5000:])


KINDS = {
    "plain": PLAIN,
    "without a last newline": PLAIN.rstrip(b"\n"),
    "windows": MARK + PLAIN.replace(b"\n", b"\r\n"),
    "put together": MARK + PLAIN[: PLAIN.index(b"\n") + 1] + MARK + PLAIN[PLAIN.index(b"\n") + 1 :],
    "gzip": gzip.compress(PLAIN),
    "gzip in members": gzip.compress(MARK + PLAIN[:4000]) + gzip.compress(PLAIN[4000:]),
    "zstandard": zstandard.compress(PLAIN),
    "zstandard in frames": in_frames(PLAIN),
    "utf-16 with a mark": TEXT.encode("utf-16"),
    "utf-16, big end first": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "utf-32": TEXT.encode("utf-32"),
    "gzip of utf-16": gzip.compress(TEXT.encode("utf-16")),
    "zstandard of utf-16": in_frames(TEXT.encode("utf-16")),
}


def payloads(*names: object, **options: Any) -> list[Any]:
    files = EventFiles([str(name) for name in names], **options)
    try:
        return [json.loads(record.payload or b"null") for record in files.records()]
    finally:
        files.close()


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Any:
    def given(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return given


@pytest.mark.parametrize("kind", KINDS)
def test_files_and_standard_input_are_read_alike(kind, tmp_path, stdin):
    (tmp_path / "events").write_bytes(KINDS[kind])  # no suffix says what it is
    assert payloads(tmp_path / "events") == OBJECTS
    stdin(KINDS[kind])
    assert payloads("-") == OBJECTS


@pytest.mark.parametrize("kind", ["gzip", "zstandard in frames", "gzip of utf-16", "utf-16 with a mark"])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.9])
def test_what_is_cut_is_noticed_and_may_be_taken(kind, share, tmp_path):
    whole = KINDS[kind]
    end = round(len(whole) * share) | 1  # in the middle of a character of two bytes
    (tmp_path / "cut").write_bytes(whole[:end])
    with pytest.raises(TruncatedError, match="ends too early"):
        payloads(tmp_path / "cut")
    taken = payloads(tmp_path / "cut", allow_truncated=True)
    assert taken == OBJECTS[: len(taken)]
    assert len(taken) < len(OBJECTS)


@pytest.mark.parametrize("kind", ["gzip", "zstandard", "utf-16 with a mark"])
def test_what_is_damaged_is_told(kind, tmp_path):
    content = bytearray(KINDS[kind])
    content[len(content) // 2 : len(content) // 2 + 8] = b"\xd8" * 8
    (tmp_path / "damaged").write_bytes(content)
    with pytest.raises(InputError, match=r"damaged|ends too early"):
        deque(EventFiles([str(tmp_path / "damaged")]).records(), 0)


def test_rows_of_parquet_are_events(tmp_path, stdin):
    path = tmp_path / "events"
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE e (event_id VARCHAR, name VARCHAR)")
        connection.executemany("INSERT INTO e VALUES (?, ?)", [list(one.values()) for one in OBJECTS[:50]])
        connection.execute(f"COPY e TO '{path}' (FORMAT parquet)")
    assert payloads(path) == OBJECTS[:50]
    stdin(path.read_bytes())
    assert payloads("-") == OBJECTS[:50]


def test_patterns_and_files_named_twice(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_bytes(PLAIN)
    assert len(payloads(tmp_path / "*.jsonl")) == 2 * len(OBJECTS)
    assert len(payloads(tmp_path / "a.jsonl", tmp_path / "a.jsonl")) == len(OBJECTS)
    with pytest.raises(InputError, match="does not exist"):
        payloads(tmp_path / "*.nothing")


@given(
    content=st.lists(st.binary(max_size=40), max_size=20).map(b"\n".join),
    limit=st.integers(1, 50),
    pack=st.sampled_from([bytes, gzip.compress, zstandard.compress, in_frames]),
)
def test_lines_are_those_of_the_file(content: bytes, limit: int, pack: Any) -> None:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b") or content[:4] == b"\x00\x00\xfe\xff":
        return
    expected, plain = [], io.BytesIO(content)
    while line := plain.readline(limit):
        expected.append(line)
    found, reader = [], open_lines(io.BufferedReader(io.BytesIO(pack(content))))
    while line := reader.readline(limit):
        found.append(line)
    assert found == expected


# --- what is refused


@pytest.mark.parametrize(
    ("payload", "event", "event_id", "shown"),
    [
        (b'{"event":"x","event_id":"7","n":1.10}', "x", "7", {"event": "x", "event_id": "7", "n": 1.1}),
        (b'{"event":5,\n"event_id":null}', None, None, {"event": 5, "event_id": None}),
        (b"{", None, None, "{"),
        (b"[1]", None, None, "[1]"),
        (b'{"event":"caf\xe9"}', None, None, '{"event":"caf\\xe9"}'),
        (None, None, None, None),
    ],
)
def test_what_is_refused_is_listed_on_one_line(payload, event, event_id, shown):
    rejection = decode(payload)
    line = reject(RawRecord(payload, "crm.leads/3", 0), rejection).line()  # type: ignore[arg-type]
    assert line.count(b"\n") == 1
    row = json.loads(line)
    assert list(row) == ["origin", "position", "event", "event_id", "reason", "detail", "payload"]
    assert (row["origin"], row["position"]) == ("crm.leads/3", 0)
    assert (row["event"], row["event_id"], row["payload"]) == (event, event_id, shown)


def test_numbers_are_listed_as_they_were():
    payload = b'{"event": "x", "amount": 12345678901234567890.10}'
    line = reject(RawRecord(payload, "f", NOWHERE), decode(payload)).line()  # type: ignore[arg-type]
    assert b'"amount":12345678901234567890.10' in line
    assert json.loads(line)["position"] is None
