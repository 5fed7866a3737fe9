"""Readings to Prometheus (or whatever else speaks remote write 1.0): protobuf, snappy, batches, retries.

The message is small enough to be written by hand:

    WriteRequest { repeated TimeSeries timeseries = 1 }
    TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2 }
    Label        { string name = 1; string value = 2 }
    Sample       { double value = 1; int64 timestamp = 2 }   // ms

Labels are sorted by name, the samples of a series by time. Specification:
https://prometheus.io/docs/specs/prw/remote_write_spec/
"""

from __future__ import annotations

import base64
import random
import struct
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import TYPE_CHECKING, ClassVar

import cramjam

from salesgauge.schemas.errors import InputError, OutputError
from salesgauge.streams.io.secrets import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from salesgauge.metrics.kpis.families import Family, MetricSample

_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500
_EXPLAINED = 500  # characters of an answer that are shown

Post = Callable[[bytes], None]


class RefusedError(OutputError):
    """The receiver will not take these samples, however often they are sent."""


@dataclass(slots=True)
class Endpoint:
    """Where samples go, and how patiently.

    Args:
        url: ``http(s)://[user:password@]host/api/v1/write``.
        token: a bearer token.
        patience: how long an unreachable receiver is tried, in s.

    Raises:
        InputError: the address is no URL.
    """

    url: str
    token: str | None = None
    patience: float = 120.0
    timeout: float = 30.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    retries: int = 0
    _headers: dict[str, str] = field(default_factory=dict)
    _first_wait: ClassVar[float] = 0.5
    _longest_wait: ClassVar[float] = 15.0

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"{shown(self.url)!r} is no address such as http://127.0.0.1:9090/api/v1/write")
        self._headers = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
            "User-Agent": "salesgauge-replay",
        }
        if parts.username is not None:
            pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
            self.url = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        if self.token is not None:
            self._headers["Authorization"] = f"Bearer {self.token}"

    def post(self, message: bytes) -> None:
        """Send a message until it is acknowledged.

        Raises:
            RefusedError: the receiver refused it.
            OutputError: the receiver did not answer for longer than the patience.
        """
        body = bytes(cramjam.snappy.compress_raw(message))
        end, wait = self.clock() + self.patience, self._first_wait
        while True:
            problem, asked = self._try(body)
            if problem is None:
                return
            if self.clock() >= end:
                raise OutputError(f"{self.url}: {problem}; gave up after {self.patience:g} s")
            self.retries += 1
            jittered = wait * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            self.sleep(jittered if asked is None else asked)
            wait = min(2 * wait, self._longest_wait)

    def _try(self, body: bytes) -> tuple[str | None, float | None]:
        """None when acknowledged; else what is wrong, and for how long (s) the receiver wants no more."""
        # The scheme was checked when the address was given.
        request = urllib.request.Request(self.url, body, self._headers, method="POST")  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=self.timeout):  # noqa: S310
                return None, None
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace").strip()[:_EXPLAINED]
            if error.code < _SERVER_ERRORS and error.code != _TOO_MANY_REQUESTS:
                raise RefusedError(f"{self.url} refused the samples ({error.code}): {text}{_advice(text)}") from error
            return f"answered {error.code}: {text}", _retry_after(error.headers.get("Retry-After"))
        except (OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            return f"cannot be reached: {reason}", None


def _advice(text: str) -> str:
    if "out of bounds" in text or "too old" in text or "out of order" in text:
        return "; they are older than it takes: raise out_of_order_time_window, or write blocks with --tsdb"
    if "remote write receiver" in text or "not found" in text.lower():
        return "; is the path /api/v1/write, and Prometheus started with --web.enable-remote-write-receiver?"
    return ""


def _retry_after(value: str | None) -> float | None:
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


class RemoteWrite:
    """Collects samples of several steps and sends them in messages of bounded size.

    Args:
        post: sends one message and returns when it is acknowledged.
        labels: further labels of every sample, such as ``job``.
        acknowledged: called with the latest instant (ms) of which everything has arrived.
        batch: samples per message.
        pending: samples held before they are sent, so that a message holds several instants of a series.
    """

    def __init__(
        self,
        post: Post,
        labels: Mapping[str, str],
        acknowledged: Callable[[int], None] = lambda _: None,
        *,
        batch: int = 5_000,
        pending: int = 50_000,
    ) -> None:
        self._post = post
        self._labels = dict(labels)
        self._acknowledged = acknowledged
        self._batch = batch
        self._limit = pending
        self._held = 0
        self._latest: int | None = None
        self._names: dict[tuple[str, tuple[tuple[str, str], ...]], bytes] = {}
        self._series: dict[bytes, list[bytes]] = {}
        self.samples = 0

    def take(self, at: int, families: Iterable[Family]) -> None:
        """Take the samples of an instant (ms); some or all may be sent now."""
        for family in families:
            for sample in family.samples:
                self._series.setdefault(self._name(sample), []).append(_sample(sample.value, at))
                self._held += 1
        self._latest = at
        if self._held >= self._limit:
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        message: list[bytes] = []
        count = 0
        for labels, samples in self._series.items():
            for start in range(0, len(samples), self._batch):
                part = samples[start : start + self._batch]
                if count and count + len(part) > self._batch:
                    self._send(message, count)
                    message, count = [], 0
                message.append(_field(1, labels + b"".join(part)))
                count += len(part)
        if count:
            self._send(message, count)
        self._series.clear()
        self._held = 0
        if self._latest is not None:
            self._acknowledged(self._latest)

    def _send(self, message: list[bytes], count: int) -> None:
        self._post(b"".join(message))
        self.samples += count

    def _name(self, sample: MetricSample) -> bytes:
        """The encoded labels of a series."""
        key = (sample.name, tuple(sample.labels.items()))
        known = self._names.get(key)
        if known is None:
            labels = sorted({"__name__": sample.name, **sample.labels, **self._labels}.items())
            known = self._names[key] = b"".join(
                _field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in labels if value
            )
        return known


_DOUBLE = struct.Struct("<d")


def _sample(value: float, at: int) -> bytes:
    """A sample as a field of a time series; ``at`` in ms."""
    return _field(2, b"\x09" + _DOUBLE.pack(value) + b"\x10" + _varint(at & 0xFFFF_FFFF_FFFF_FFFF))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return bytes((number << 3 | 2,)) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
