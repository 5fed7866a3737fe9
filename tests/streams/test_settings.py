"""Settings: where values come from, what wins, what is wrong with them; secrets are never shown."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from datetime import time, timedelta
from decimal import Decimal

import pytest
import trustme
import yaml
from click.testing import CliRunner

from salesgauge.streams.cli.main import cli
from salesgauge.streams.settings.file import SettingsError
from salesgauge.streams.settings.model import Sasl, Tls, load, origins, unknown_variables

SECRET = "hunter2-geheim"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    """What the developer's shell holds does not matter."""
    for name in unknown_variables():
        monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path):
    def write(content: object) -> object:
        path = tmp_path / "salesgauge.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


# --- what wins


def test_defaults_are_for_a_broker_on_this_machine():
    settings = load()
    assert settings.kafka.bootstrap == "127.0.0.1:9092"
    assert settings.web.host == "127.0.0.1"
    assert settings.application == "salesgauge-v1"


def test_flags_before_variables_before_the_file_before_defaults(file, monkeypatch):
    path = file({"kafka": {"bootstrap": "file:1", "partitions": 3, "replication": 3}, "app_id": "file"})
    monkeypatch.setenv("SALESGAUGE_KAFKA__BOOTSTRAP", "env:1")
    monkeypatch.setenv("SALESGAUGE_KAFKA__PARTITIONS", "5")
    settings = load(path, {"kafka.bootstrap": "flag:1", "kafka.partitions": None})
    assert settings.kafka.bootstrap == "flag:1"
    assert settings.kafka.partitions == 5
    assert settings.kafka.replication == 3
    assert settings.app_id == "file"
    assert settings.kafka.retention_days == -1


def test_a_source_replaces_single_fields_of_a_group(monkeypatch):
    monkeypatch.setenv("SALESGAUGE_WORKER_WEB__HOST", "0.0.0.0")
    assert load().worker_web.port == 9109


def test_a_file_does_not_linger_for_the_next_load(file):
    load(file({"app_id": "once"}))
    assert load().app_id == "salesgauge"


def test_versions_have_their_own_group_and_topics():
    first, second = load(), load(None, {"version": 2})
    assert first.application != second.application
    assert first.windows_topic != second.windows_topic
    assert first.rekey_topic != second.rekey_topic
    assert first.dead_letter_topic == second.dead_letter_topic


def test_the_source_of_each_setting_is_known(file, monkeypatch):
    path = file({"web": {"port": 9999}, "rules": {"zone": "Europe/Berlin"}})
    monkeypatch.setenv("SALESGAUGE_WEB__TOKEN", SECRET)
    flags = {"kafka.bootstrap": "flag:1", "web.host": None}
    known = {one.path: one for one in origins(load(path, flags), path, flags)}
    assert known["kafka.bootstrap"][1:] == ("flag:1", "flag")
    assert known["web.port"][1:] == ("9999", str(path))
    assert known["web.token"][1:] == ("(a secret)", "SALESGAUGE_WEB__TOKEN")
    assert known["rules.zone"].origin == str(path)
    assert known["app_id"][1:] == ("salesgauge", "default")
    assert known["web.host"].origin == "default"


# --- what is wrong


RATES = "write it as [{currency: USD, rate: '0.92', since: '2026-01-01'}]"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("kafka: {partitions: 0}", "kafka.partitions: must be greater than or equal to 1"),
        ("kafka: {partitions: many}", "kafka.partitions: must be a whole number"),
        ("kafka: {bootstap: x}", "kafka.bootstap: there is no such setting; did you mean bootstrap?"),
        ("kafka: {sasl: {mechanism: GSSAPI}}", "kafka.sasl.mechanism: must be 'PLAIN', 'SCRAM-SHA-256',"),
        ("kafka: {sasl: {mechanism: PLAIN}}", "kafka.sasl: username and password are required with PLAIN"),
        ("kafka: {sasl: {mechanism: OAUTHBEARER}}", "kafka.sasl: token_file is required with OAUTHBEARER"),
        ("kafka: {tls: true}", "kafka.tls: must be a group of fields; write it as {ca_file: "),
        ("kafka: {bootstrap: [a, b]}", "kafka.bootstrap: must be text"),
        ("kafka: {bootstrap: kafka}", "kafka.bootstrap: 'kafka' is not host:port; write it as kafka-1:9092,"),
        ("kafka: {bootstrap: 'kafka:9092,kafka:99999'}", "kafka.bootstrap: 'kafka:99999' is not host:port"),
        ("kafka: {bootstrap: ''}", "kafka.bootstrap: '' is not host:port"),
        ("kafka:", "kafka: must be a group of fields"),
        ("kafka.bootstrap: 'x:1'", "kafka.bootstrap: write it as a group: kafka: {bootstrap: ...}"),
        ("web: {username: one}", "web: username and password go together"),
        ("web: {token: ''}", "web: token is empty"),
        ("app_id: Not A Topic", "app_id: String should match pattern"),
        ("thresholds: [a]", "thresholds: must be the path of a file"),
        ("nonsense: 1", "nonsense: there is no such setting; there are app_id, version, kafka, "),
        ("1: 2", "1: there is no such setting"),
        ("rules: {zone: Europe/Atlantis}", "rules.zone: 'Europe/Atlantis' is not an IANA time zone such as"),
        ("rules: {stages: [Demo]}", "rules.stages[1]: must be a group of fields; write it as [{name: Proposal,"),
        (
            "rules: {stages: [{name: Won, kind: won, probability: 1}]}",
            "rules.stages[1]: has a probability that nothing",
        ),
        ("rules: {stages: [{name: Demo, probability: 40}]}", "rules.stages[1].probability: must be less than or equal"),
        ("rules: {stages: [{name: Demo}, {name: demo}]}", "rules.stages: 'demo' is the name of 2 stages; name each"),
        ("rules: {stages: [{name: Demo, kind: lose}]}", "rules.stages[1].kind: must be 'open', 'won' or 'lost'"),
        ("rules: {rates: {USD: 0.9}}", f"rules.rates: must be a list; {RATES}"),
        ("rules: {rates: [USD]}", f"rules.rates[1]: must be a group of fields; {RATES}"),
        ("rules: {rates: [{currency: USD}]}", f"rules.rates[1].rate: is missing; {RATES}"),
        ("rules: {rates: [{currency: USD, rate: x}]}", "rules.rates[1].rate: must be a number"),
        (
            "rules: {rates: [{currency: USD, rate: 1, since: May}]}",
            "rules.rates[1].since: must be a date such as '2026-",
        ),
        ("rules: {rates: [{currency: Dollar, rate: 1}]}", "rules.rates[1].currency: 'Dollar' is not a currency code"),
        (
            "rules: {rates: [{currency: USD, rate: 1}, {currency: usd, rate: 2}]}",
            "rules.rates: USD has 2 rates since ever",
        ),
        ("rules: {rates: [{currency: EUR, rate: 2}]}", "rules: rates must not have one for EUR"),
        ("rules: {currency: euro}", "rules.currency: 'euro' is not a currency code; write three letters"),
        ("rules: {response_sla: soon}", "rules.response_sla: must be a duration such as PT15M"),
        ("rules: {response_sla: -5}", "rules.response_sla: must be greater than 0"),
        ("rules: {fine_retention: PT1H}", "rules.fine_retention: must be greater than or equal to 2 days and 1 hour"),
        ("rules: {growth_target: .nan}", "rules.growth_target: must be a finite number"),
        ("rules: {roster: [a]}", "rules.roster: must be a group of names and values; write it as {rep-01: north}"),
        ("rules: {roster: {1: a}}", "rules.roster.1: must be text"),
        ("rules: {unredacted: rep}", "rules.unredacted: must be a list; write it as [rep]"),
        ("rules: {unredacted: [raps]}", "rules.unredacted: 'raps' is not a dimension; there are "),
        ("rules: {calendar: {holidays: XX}}", "rules.calendar.holidays: no public holidays are known for 'XX'"),
        ("rules: {calendar: {weekdays: Mon-Fri}}", "rules.calendar.weekdays: must be a list; write it as [0, 1, 2"),
        ("rules: {calendar: {weekdays: []}}", "rules.calendar.weekdays: is empty"),
        ("rules: {calendar: {opens: 9}}", "rules.calendar.opens: 9 is not a time of day; write it as '09:00'"),
        ("rules: {calendar: {opens: '09:00Z'}}", "rules.calendar.opens: has a zone of its own"),
        ("rules: {calendar: {opens: 18:00}}", "rules.calendar: closes (17:00) must come after opens (18:00)"),
        ("rules: {team_calendars: {a: {zone: X}}}", "rules.team_calendars.a.zone: 'X' is not an IANA time zone"),
        (
            "rules: {team_calendars: {a: {open: X}}}",
            "rules.team_calendars.a.open: there is no such setting; did you mean",
        ),
        ("rules: {commission_tiers: [{rate: 0.1}, {rate: 0.2}]}", "rules.commission_tiers: 2 tiers begin at"),
        ("- a\n- list", "must hold fields and values"),
        ("[kafka]\nbootstrap = 1", "is not YAML: "),
        ("kafka: {", "is not YAML: "),
        ("web: {port: 1}\nweb: {port: 2}", "is not YAML: web comes twice in line 1, column 1"),
        ("a: !!python/object:os.system x", "is not YAML: "),
    ],
)
def test_bad_values_are_named_with_their_path_and_what_to_write(file, content, said):
    with pytest.raises(SettingsError) as caught:
        load(file(content))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("app_id: caf\xe9".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"latin\.yaml is not UTF-8 text"):
        load(path)


def test_times_countries_and_seconds_may_be_written_as_people_do(file, monkeypatch):
    """YAML 1.1 reads these as the numbers 540 and 1020, and as false."""
    calendar = load(file("rules: {calendar: {opens: 9:00, closes: 17:00, holidays: NO}}")).rules.calendar
    assert (calendar.opens, calendar.closes, calendar.holidays) == (time(9), time(17), "NO")
    monkeypatch.setenv("SALESGAUGE_RULES__RESPONSE_SLA", "900")
    assert load().rules.response_sla == timedelta(minutes=15)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.yaml: No such file"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("KAFKA__PARTITIONS", "many", "kafka.partitions (SALESGAUGE_KAFKA__PARTITIONS): must be a whole number"),
        ("KAFKA", "{", "kafka (SALESGAUGE_KAFKA): must be a group of fields"),
        ("RULES__RATES", "USD=0.9", f"rules.rates (SALESGAUGE_RULES__RATES): must be a list; {RATES}"),
        ("RULES__RATES", "[", f"rules.rates (SALESGAUGE_RULES__RATES): must be a list; {RATES}"),
        ("RULES__CALENDAR", "9-17", "rules.calendar (SALESGAUGE_RULES__CALENDAR): must be a group of fields"),
        ("RULES__CALENDAR__X", "1", "rules.calendar.x (SALESGAUGE_RULES__CALENDAR__X): there is no such setting"),
        ("RULES__UNREDACTED", "rep", "rules.unredacted (SALESGAUGE_RULES__UNREDACTED): must be a list"),
    ],
)
def test_a_bad_variable_is_named(monkeypatch, name, value, said):
    monkeypatch.setenv(f"SALESGAUGE_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    "value", ["[{currency: USD, rate: '0.92', since: 2026-01-01}]", '[{"currency": "usd", "rate": 0.92}]']
)
def test_a_variable_holds_a_list_as_the_file_does_or_as_json(monkeypatch, value):
    monkeypatch.setenv("SALESGAUGE_RULES__RATES", value)
    [rate] = load().rules.rates
    assert (rate.currency, rate.rate) == ("USD", Decimal("0.92"))


@pytest.mark.usefixtures("impatient")
def test_a_bad_flag_is_named_like_any_other_value():
    result = CliRunner().invoke(cli, ["topics", "check", "--bootstrap", "nowhere"])
    assert result.exit_code == 2
    assert "kafka.bootstrap: 'nowhere' is not host:port" in result.output


def test_variables_that_are_no_settings_are_found(monkeypatch):
    monkeypatch.setenv("SALESGAUGE_KAFAK__BOOTSTRAP", "x")
    assert unknown_variables() == ["SALESGAUGE_KAFAK__BOOTSTRAP"]


def test_a_connection_is_closed_without_waiting_for_the_other_side(tmp_path):
    """A broker that does not answer the farewell of TLS would hold up a takeover for half a minute."""
    authority, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    done = threading.Event()

    def serve(listening: socket.socket) -> None:
        with server.wrap_socket(listening.accept()[0], server_side=True):
            done.wait(10)  # and reads nothing

    async def visit(port: int) -> None:
        context = Tls(ca_file=tmp_path / "ca.pem").client_context()
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.close()
        await asyncio.wait_for(writer.wait_closed(), 5)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server_thread = threading.Thread(target=serve, args=[listening])
        server_thread.start()
        try:
            asyncio.run(visit(listening.getsockname()[1]))
        finally:
            done.set()
            server_thread.join()


def test_missing_certificates_are_named(tmp_path):
    with pytest.raises(SettingsError, match="check the paths"):
        Tls(ca_file=tmp_path / "none.pem").client_context()
    with pytest.raises(SettingsError, match="check the paths"):
        Tls(cert_file=tmp_path / "none.pem").server_context()
    with pytest.raises(SettingsError, match="cert_file is required"):
        Tls().server_context()


# --- secrets


SECRETS: dict[str, dict[str, object]] = {
    "kafka": {
        "sasl": {"mechanism": "PLAIN", "username": "one", "password": SECRET},
        "tls": {"key_password": SECRET},
    },
    "web": {"token": SECRET, "username": "one", "password": SECRET},
}


def test_secrets_are_not_in_what_is_printed(file):
    settings = load(file(SECRETS))
    assert settings.web.token is not None
    assert settings.web.token.get_secret_value() == SECRET
    for text in (repr(settings), str(settings), settings.model_dump_json(), str(origins(settings))):
        assert SECRET not in text


@pytest.mark.parametrize(
    "content",
    [
        {**SECRETS, "nonsense": 1},
        {"kafka": {"sasl": {"mechanism": "PLAIN", "password": SECRET}}},
        {"kafka": {"sasl": {"mechanism": "OAUTHBEARER", "password": SECRET}}},
        {"kafka": {"sasl": {"mechanism": SECRET}}},
        {"web": {"password": SECRET}},
        {"web": {"token": {"nested": SECRET}}},
        f"web:\n  token: {SECRET}: {{",
        f"web: {{token: '{SECRET}'\nkafka: ]",
    ],
)
def test_secrets_are_not_in_errors(file, content):
    path = file(content)
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert SECRET not in str(caught.value)
    result = CliRunner().invoke(cli, ["topics", "check", "--config", str(path)])
    assert result.exit_code == 2
    assert SECRET not in result.output


@pytest.mark.usefixtures("impatient")
def test_doctor_shows_that_there_is_a_secret_and_not_which(file):
    path = file({**SECRETS, "kafka": {**SECRETS["kafka"], "bootstrap": "127.0.0.1:1"}})
    for args in ([], ["--json"], ["--all"]):
        result = CliRunner().invoke(cli, ["doctor", "--config", str(path), *args])
        assert result.exit_code == 1
        assert "(a secret)" in result.output
        assert SECRET not in result.output


def test_a_login_is_complete_or_refused():
    with pytest.raises(ValueError, match="username and password"):
        Sasl(mechanism="SCRAM-SHA-512", username="one")
