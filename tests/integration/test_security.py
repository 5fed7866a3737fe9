"""Security: logging in to Kafka, what the exporter shows to whom, and that nothing personal is among it."""

from __future__ import annotations

import base64
import json
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme

from salesgauge.streams.kafka.embedded import EmbeddedBroker
from salesgauge.streams.settings.model import Web, load
from tests.support.kafka import ROOT, Security
from tests.support.process import Process, free_port
from tests.support.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

LOGINS = [
    Security("SASL_SSL", "SCRAM-SHA-512"),
    Security("SASL_SSL", "OAUTHBEARER"),
    Security("SASL_PLAINTEXT", "SCRAM-SHA-256"),
    Security("SSL"),
]
HELD = {"outcome": "held"}
PASSWORD = "a test's secret"
TOKEN = "the readers' token"


def lead(n: int, **fields: object) -> dict[str, object]:
    at = datetime.now(UTC) - timedelta(minutes=5)
    return {
        "event": "lead_created",
        "event_id": f"e-{n}",
        "lead_id": f"lead-{n}",
        "occurred_at": at.isoformat(),
        **fields,
    }


def write_events(path: Path, events: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def jwt(seconds: int = 3600) -> str:
    """A token as Kafka's unsecured handler takes it."""
    now = int(time.time())
    parts = {"alg": "none"}, {"sub": "salesgauge", "iat": now, "exp": now + seconds}
    return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts) + "."


def variables(kafka, folder: Path) -> dict[str, str]:
    """The settings of a client of this cluster."""
    security = kafka.security
    env = {"SALESGAUGE_KAFKA__BOOTSTRAP": kafka.bootstrap, "SALESGAUGE_KAFKA__PARTITIONS": "2", "COLUMNS": "200"}
    if security.tls:
        env["SALESGAUGE_KAFKA__TLS__CA_FILE"] = str(kafka.ca_file)
    if security.sasl:
        env["SALESGAUGE_KAFKA__SASL__MECHANISM"] = security.mechanism
    if security.sasl and security.mechanism == "OAUTHBEARER":
        token = folder / "token"
        token.write_text(jwt())
        env["SALESGAUGE_KAFKA__SASL__TOKEN_FILE"] = str(token)
    elif security.sasl:
        [(name, secret)] = security.users.items()
        env |= {"SALESGAUGE_KAFKA__SASL__USERNAME": name, "SALESGAUGE_KAFKA__SASL__PASSWORD": secret}
    return env


def command(env: dict[str, str], *args: str, code: int = 0) -> str:
    """Run a command to its end; what it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "salesgauge", *args],
        capture_output=True, text=True, timeout=90, cwd=ROOT, env={"PATH": "/usr/bin:/bin", **env}, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    return said


def program(name: str, folder: Path, env: dict[str, str], *args: str) -> Process:
    return Process(
        [sys.executable, "-m", "salesgauge", *args], log=folder / f"{name}.log", name=name, env=env, cwd=ROOT
    )


def get(url: str, *, headers: dict[str, str] | None = None, context: ssl.SSLContext | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


# --- Kafka


@pytest.mark.kafka
@pytest.mark.timeout(240)
@pytest.mark.parametrize("security", LOGINS, ids=lambda one: f"{one.protocol}-{one.mechanism if one.sasl else 'none'}")
def test_everything_logs_in(own_kafka, security, tmp_path):
    """Administration, publishing, replay, the Faust worker, the exporter and doctor, all through the same settings."""
    kafka = own_kafka(security=security)
    env = variables(kafka, tmp_path)
    assert "topics created" in command(env, "topics", "create")
    events = write_events(tmp_path / "events.jsonl", [lead(n, source="web") for n in range(20)])
    assert "20 events published" in command(env, "publish", str(events))
    assert "20 events applied" in command(env, "replay", "--topics", "--kpi", "new_leads")
    port = free_port()
    with (
        program("worker", tmp_path, env, "worker", "--port", "0") as worker,
        program("exporter", tmp_path, env, "exporter", "--port", str(port)) as exporter,
    ):
        url = f"http://127.0.0.1:{port}"
        until(lambda: 'crm_new_leads{window="all"} 20.0' in get(f"{url}/metrics")[1], 60, "the leads on /metrics")
        until(lambda: get(f"{url}/readyz")[0] == 200, 30, "ready")
        said = command(env, "doctor", "--exporter", url)
        worker.stop()
        exporter.stop()
    said += worker.log.read_text() + exporter.log.read_text()
    assert PASSWORD not in said
    assert "Traceback" not in said


@pytest.mark.kafka
@pytest.mark.timeout(120)
def test_a_refused_login_is_explained_without_the_password(own_kafka, tmp_path):
    kafka = own_kafka(security=Security("SASL_PLAINTEXT"))
    wrong = {"SALESGAUGE_KAFKA__SASL__PASSWORD": "not the pass", "SALESGAUGE_KAFKA__START_SECONDS": "0"}
    env = variables(kafka, tmp_path) | wrong
    events = write_events(tmp_path / "events.jsonl", [lead(1)])
    commands = (("topics", "create"), ("publish", str(events)), ("worker",), ("rebuild", "status"))
    for args in commands:
        said = command(env, *args, code=1)
        assert "refused the login" in said, args
        assert "check kafka.sasl" in said
        assert "not the pass" not in said
        assert "Traceback" not in said
    assert "refused the login" in command(env, "doctor", code=1)


# --- the exporter


@pytest.fixture
def broker_env() -> Iterator[dict[str, str]]:
    """Topics on an embedded broker of the test's own."""
    with EmbeddedBroker() as broker:
        env = {"SALESGAUGE_KAFKA__BOOTSTRAP": broker.bootstrap, "SALESGAUGE_KAFKA__PARTITIONS": "2"}
        command(env, "topics", "create")
        yield env


def test_listens_on_this_machine_alone_by_default():
    settings = load()
    assert settings.web.host == settings.worker_web.host == "127.0.0.1"


def test_the_door_opens_to_token_and_password_alone(broker_env, tmp_path):
    port = free_port()
    env = broker_env | {
        "SALESGAUGE_WEB__TOKEN": TOKEN,
        "SALESGAUGE_WEB__USERNAME": "prometheus",
        "SALESGAUGE_WEB__PASSWORD": PASSWORD,
    }
    with program("exporter", tmp_path, env, "exporter", "--port", str(port)) as exporter:
        url = f"http://127.0.0.1:{port}"
        until(lambda: get(f"{url}/healthz")[0] == 200, 30, "alive")
        basic = base64.b64encode(f"prometheus:{PASSWORD}".encode()).decode()
        wrong = base64.b64encode(b"prometheus:wrong").decode()
        for path in ("/metrics", "/api/kpis", "/", "/api/board"):
            assert get(url + path)[0] == 401, path
            assert get(url + path, headers={"Authorization": f"Bearer {TOKEN}x"})[0] == 401
            assert get(url + path, headers={"Authorization": f"Basic {wrong}"})[0] == 401
            assert get(url + path, headers={"Authorization": f"Bearer {TOKEN}"})[0] == 200
            assert get(url + path, headers={"Authorization": f"Basic {basic}"})[0] == 200
        assert get(f"{url}/readyz")[0] in {200, 503}
    said = exporter.log.read_text()
    assert TOKEN not in said
    assert PASSWORD not in said


def test_serves_with_tls(broker_env, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    port = free_port()
    env = broker_env | {
        "SALESGAUGE_WEB__TLS__CERT_FILE": str(tmp_path / "server.pem"),
        "SALESGAUGE_WEB__TLS__CA_FILE": str(tmp_path / "ca.pem"),
        "SALESGAUGE_WEB__PORT": str(port),
    }
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    with program("exporter", tmp_path, env, "exporter"):
        url = f"https://127.0.0.1:{port}"
        until(lambda: get(f"{url}/healthz", context=trusting)[0] == 200, 30, "alive")
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            get(f"{url}/healthz", context=ssl.create_default_context())
        assert f"{url} is" in command(env | {"COLUMNS": "200"}, "doctor", code=1)  # not ready: there is no worker


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"username": "one"}, "go together"),
        ({"port": 70_000}, "less than or equal to 65535"),
    ],
)
def test_half_a_login_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        Web(**fields)


# --- what is shown


def test_nothing_personal_is_on_metrics(broker_env, tmp_path):
    """Ids of leads, accounts, events and meetings are no labels; addresses and numbers in other fields are hidden."""
    at = datetime.now(UTC) - timedelta(minutes=30)

    def event(name: str, n: int, **fields: object) -> dict[str, object]:
        moment = (at + timedelta(seconds=n)).isoformat()
        return {"event": name, "event_id": f"eventid-{n}", "occurred_at": moment, **fields}

    private = {"lead_id": "leadid-ann@example.org", "account_id": "accountid-7"}
    rep = {"rep_id": "ann.sales@example.org", "team": "+49 30 1234567"}
    events = [
        event("lead_created", 1, lead_id=private["lead_id"], source="b@example.org", campaign_id="(030) 123456", **rep),
        event("activity_logged", 2, lead_id=private["lead_id"], kind="call", **rep),
        event("reply_received", 3, lead_id=private["lead_id"], channel="cal@example.org", sentiment="positive"),
        event("meeting_booked", 4, lead_id=private["lead_id"], meeting_id="meetingid-1", kind="demo", **rep),
        event("meeting_completed", 5, lead_id=private["lead_id"], meeting_id="meetingid-1", kind="demo", **HELD),
        event(
            "deal_won", 6, deal_id="dealid-1", amount="12.50", location="dan@example.org",
            lines=[{"product": "+1 555 0100999", "amount": "12.50"}], **private, **rep,
        ),
        event("survey_answered", 7, respondent_id="respondentid-1", kind="csat", score=5, account_id="accountid-7"),
        event("support_ticket_opened", 8, ticket_id="ticketid-1", account_id="accountid-7"),
        event("spend_recorded", 9, campaign_id="eve@example.org", amount=10, channel="eve@example.org"),
    ]  # fmt: skip
    text, kpis = shown(broker_env, tmp_path, events)
    for secret in ("@example", "leadid", "accountid", "eventid", "meetingid", "dealid", "respondentid", "ticketid",
                   "1234567", "123456", "0100999"):  # fmt: skip
        assert secret not in text, secret
        assert secret not in kpis, secret
    assert 'source="redacted"' in text


def test_label_values_cannot_break_the_exposition(broker_env, tmp_path):
    hostile = 'a"b\\c{d="e"} 1'
    text, _ = shown(
        broker_env, tmp_path, [lead(1, source=hostile), lead(2, source="two\nlines"), lead(3, source="x" * 201)]
    )
    assert 'source="a\\"b\\\\c{d=\\"e\\"} 1"' in text
    assert 'crm_new_leads{window="all"} 1.0' in text  # control characters and long values are refused by the schema
    assert all(re.fullmatch(r"(#.*|[a-zA-Z_:][\w:]*(\{.*\})? \S+)", line) for line in text.splitlines())
    letters = json.loads(command(broker_env, "dead-letters", "list", "--json"))
    assert [(row["reason"], row["open"]) for row in letters["counts"]] == [("invalid", 2)]


def shown(env: dict[str, str], folder: Path, events: list[dict[str, object]]) -> tuple[str, str]:
    """/metrics and /api/kpis once a worker has taken these events; what `publish` refuses is sent all the same."""
    from salesgauge.streams.kafka.publisher import Publisher

    settings = load(None, {"kafka.bootstrap": env["SALESGAUGE_KAFKA__BOOTSTRAP"]})
    with Publisher(settings.kafka) as publisher:
        for one in events:
            key = str(one.get("lead_id") or one.get("account_id") or "key")
            publisher.send_raw(f"crm.{str(one['event']).replace('_', '-')}", key, json.dumps(one).encode())
    port = free_port()
    with program("run", folder, env, "run", "--port", str(port)):
        url = f"http://127.0.0.1:{port}"

        def done() -> bool:
            status, answer = get(f"{url}/api/kpis")
            counts = json.loads(answer) if status == 200 else {"events": 0, "rejected": 0}
            return counts["events"] + counts["rejected"] >= len(events) and get(f"{url}/readyz")[0] == 200

        until(done, 60, "all events are shown")
        return get(f"{url}/metrics")[1], get(f"{url}/api/kpis")[1]
