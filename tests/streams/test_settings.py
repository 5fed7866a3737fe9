"""Settings: where values come from, what wins, what is wrong with them; secrets are never shown."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading

import pytest
import trustme
import yaml
from click.testing import CliRunner

from streams.cli import cli
from streams.settings import Sasl, SettingsError, Tls, load, origins, unknown_variables

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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"kafka": {"partitions": 0}}, "kafka.partitions: Input should be greater than or equal to 1"),
        ({"kafka": {"bootstap": "x"}}, "kafka.bootstap: Extra inputs are not permitted"),
        ({"kafka": {"sasl": {"mechanism": "GSSAPI"}}}, "kafka.sasl.mechanism: Input should be 'PLAIN'"),
        ({"kafka": {"sasl": {"mechanism": "PLAIN"}}}, "username and password are required with PLAIN"),
        ({"kafka": {"sasl": {"mechanism": "OAUTHBEARER"}}}, "token_file is required with OAUTHBEARER"),
        ({"web": {"username": "one"}}, "username and password go together"),
        ({"app_id": "Not A Topic"}, "app_id: String should match pattern"),
        ({"rules": {"zone": "Europe/Atlantis"}}, "'Europe/Atlantis' is not an IANA time zone"),
        ({"nonsense": 1}, "nonsense: Extra inputs are not permitted"),
        ("- a\n- list", "must hold fields and values"),
        ("kafka: {", "is not YAML: "),
    ],
)
def test_bad_values_are_named_with_their_path(file, content, said):
    with pytest.raises(SettingsError) as caught:
        load(file(content))
    assert said in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.yaml: No such file"):
        load(tmp_path / "none.yaml")


def test_a_bad_variable_is_named(monkeypatch):
    monkeypatch.setenv("SALESGAUGE_KAFKA__PARTITIONS", "many")
    with pytest.raises(SettingsError, match=r"kafka\.partitions: .*integer"):
        load()


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
