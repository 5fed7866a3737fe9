"""docker-compose.yml against the Compose Specification, more strictly for the part that it uses, and this repository.

`compose-spec.json` is the specification's JSON Schema, as github.com/compose-spec/compose-go v2.16.2 has it (Apache
License 2.0). That containers start cannot be tried here: there is no container runtime.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Annotated, Literal

import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from pydantic import BaseModel, ConfigDict, Field

from tests.grafana.names import ROOT

COMPOSE = ROOT / "docker-compose.yml"
DOCUMENT = yaml.safe_load(COMPOSE.read_text())
SERVICES = DOCUMENT["services"]
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("salesgauge")}

Span = Annotated[str, Field(pattern=r"^(\d+(s|m|h|ms))+$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Healthcheck(Strict):
    test: list[str]
    interval: Span
    timeout: Span
    retries: int
    start_period: Span | None = None


class Limits(Strict):
    cpus: str
    memory: Annotated[str, Field(pattern=r"^\d+[mg]$")]
    pids: int


class Resources(Strict):
    limits: Limits


class Deploy(Strict):
    resources: Resources


class Condition(Strict):
    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]


class Logging(Strict):
    driver: str
    options: dict[str, str]


class EnvFile(Strict):
    path: str
    required: bool


class Service(Strict):
    image: Annotated[str, Field(pattern=r"^[a-z0-9./-]+:v?\d+\.\d+\.\d+$")]
    build: Literal["."] | None = None
    command: list[str] | None = None
    env_file: list[EnvFile] = []
    environment: dict[str, str] = {}
    depends_on: dict[str, Condition] = {}
    deploy: Deploy
    healthcheck: Healthcheck | None = None
    ports: list[Annotated[str, Field(pattern=r"^127\.0\.0\.1:\d+:\d+$")]] = []
    expose: list[Annotated[str, Field(pattern=r"^\d+$")]] = []
    volumes: list[Annotated[str, Field(pattern=r"^[^:]+:/[^:]+(:ro)?$")]] = []
    tmpfs: list[str] = []
    profiles: list[str] = []
    user: Annotated[str, Field(pattern=r"^[1-9]\d*:\d+$")]
    read_only: bool = False
    init: bool = False
    restart: Literal["unless-stopped", "no"]
    security_opt: list[str]
    cap_drop: list[str]
    logging: Logging
    stop_grace_period: Span | None = None


class Compose(Strict):
    name: str
    services: dict[Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]+$")], Service]
    volumes: dict[str, None]


every_service = pytest.mark.parametrize("name", SERVICES)


def test_it_follows_the_specification():
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
    check = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in check.iter_errors(DOCUMENT)] == []
    assert not check.is_valid({**DOCUMENT, "services": {"kafka": {"image": "kafka", "health": {}}}})


def test_it_is_a_compose_file():
    Compose.model_validate({key: value for key, value in DOCUMENT.items() if not key.startswith("x-")})


@every_service
def test_it_is_hardened(name):
    service = SERVICES[name]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    assert int(service["user"].split(":")[0]) > 0
    # Kafka's image writes its configuration at the start
    assert service.get("read_only", False) is (name != "kafka")


@every_service
def test_it_says_whether_it_is_healthy(name):
    runs_to_its_end, watched_by_nobody = name == "topics-init", name == "simulator"
    assert ("healthcheck" in SERVICES[name]) is not (runs_to_its_end or watched_by_nobody)


@every_service
def test_what_it_waits_for_exists_and_can_be_waited_for(name):
    for other, how in SERVICES[name].get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        if how["condition"] == "service_completed_successfully":
            assert SERVICES[other]["restart"] == "no"


def test_mounted_files_exist_and_volumes_are_declared():
    used = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source, _, target = volume.partition(":")
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
                assert target.endswith(":ro"), "what lies in the repository is not written"
            else:
                used.add(source)
    assert used == set(DOCUMENT["volumes"])


def mounted(name: str) -> dict[str, str]:
    """Path in the container -> path in the repository."""
    volumes = (v.split(":") for v in SERVICES[name]["volumes"])
    return {target: source for source, target, *_ in volumes if source.startswith("./")}


def test_paths_that_configurations_name_are_mounted():
    prometheus = mounted("prometheus")
    assert "--config.file=/etc/prometheus/prometheus.yml" in SERVICES["prometheus"]["command"]
    assert prometheus["/etc/prometheus/prometheus.yml"] == "./prometheus/prometheus.yml"
    config = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())
    assert config["rule_files"] == ["rules/*.yml"]
    assert prometheus["/etc/prometheus/rules"] == "./prometheus/rules"

    alertmanager = mounted("alertmanager")
    routes = (ROOT / "prometheus/alertmanager.yml").read_text()
    assert "templates/*.tmpl" in routes
    for path in re.findall(r"_file: (\S+)/\w+", routes):
        assert path in alertmanager

    grafana = mounted("grafana")
    providers = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/salesgauge.yml").read_text())["providers"]
    folder = "/etc/salesgauge/dashboards"
    boards = {p.parent for p in (ROOT / "grafana/dashboards").rglob("*.json")}
    assert {p["options"]["path"] for p in providers} == {f"{folder}/{b.name}" for b in boards}
    assert grafana[folder] == "./grafana/dashboards"
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "grafana/dashboards" / home.removeprefix(f"{folder}/")).is_file()


def test_addresses_that_configurations_name_are_services():
    config = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    variables = {
        "exporter": "SALESGAUGE_WEB__PORT", "worker": "SALESGAUGE_WORKER_WEB__PORT",
        "ingest": "SALESGAUGE_INGEST__METRICS_WEB__PORT",
    }  # fmt: skip
    for name, variable in variables.items():
        (found,) = jobs[f"salesgauge-{name}"]["dns_sd_configs"]
        assert found["names"] == [name]
        assert SERVICES[name]["environment"][variable] == str(found["port"])
    for target in re.findall(r"\w+:\d+", str(config["alerting"])):
        assert target.split(":")[0] in SERVICES
    sources = yaml.safe_load((ROOT / "grafana/provisioning/datasources/salesgauge.yml").read_text())["datasources"]
    for source in sources:
        variable = source["url"].removeprefix("${").removesuffix("}")
        host = SERVICES["grafana"]["environment"][variable].split("//")[1].split(":")[0]
        assert host in SERVICES


def test_boards_use_the_provisioned_data_source():
    sources = yaml.safe_load((ROOT / "grafana/provisioning/datasources/salesgauge.yml").read_text())["datasources"]
    (default,) = [s for s in sources if s.get("isDefault")]
    board = yaml.safe_load((ROOT / "grafana/dashboards/sales/speed-to-lead.json").read_text())
    (variable,) = [v for v in board["templating"]["list"] if v["name"] == "datasource"]
    assert variable["current"]["value"] == default["uid"]
    assert variable["query"] == default["type"] == "prometheus"
    config = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())
    assert default["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def test_ports_are_open_to_this_machine_only_and_unique():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len({port.split(":")[1] for port in ports}) == len(ports)


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_commands_exist(name):
    from salesgauge.streams.cli.main import cli

    command = SERVICES[name]["command"]
    words = [word for word in command if not word.startswith("-")][:2]
    asked = CliRunner().invoke(cli, [*words[: 2 if words[0] == "topics" else 1], "--help"])
    assert asked.exit_code == 0, asked.output
    for option in (word for word in command if word.startswith("--")):
        assert option in asked.output


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_variables_are_settings(name, monkeypatch):
    from salesgauge.streams.settings.model import load

    for variable, value in SERVICES[name]["environment"].items():
        monkeypatch.setenv(variable, re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value))
    settings = load()
    assert settings.kafka.bootstrap == "kafka:9092"
    if name == "exporter":
        assert (settings.web.host, settings.web.port) == ("0.0.0.0", 9108)
    if name == "worker":
        assert (settings.worker_web.host, settings.worker_web.port) == ("0.0.0.0", 9109)


@pytest.mark.parametrize("name", sorted(OURS))
def test_settings_of_an_env_file_reach_every_process(name):
    assert SERVICES[name]["env_file"] == [{"path": ".env", "required": False}]


def test_the_image_is_the_one_of_the_dockerfile():
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r'ENTRYPOINT \["salesgauge"\]', text)
    assert re.findall(r"^ARG PYTHON=(\d+\.\d+)\.\d+$", text, re.MULTILINE) == ["3.11"]
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == [
        "python:${PYTHON}-bookworm",
        "python:${PYTHON}-slim-bookworm",
    ]
    (uid,) = re.findall(r"^USER (\d+:\d+)$", text, re.MULTILINE)
    project = (ROOT / "pyproject.toml").read_text()
    (version,) = re.findall(r'^fallback-version = "([\d.]+)\.dev0"', project, re.MULTILINE)  # the next release's
    for name in OURS:
        assert SERVICES[name]["user"] == uid
        assert SERVICES[name]["image"] == f"salesgauge:{version}"
        check = SERVICES[name].get("healthcheck", {"test": ["CMD", "python"]})["test"]
        assert shlex.join(check[:2]) == "CMD python"


def test_prometheus_keeps_what_alerts_look_back_at():
    (option,) = [o for o in SERVICES["prometheus"]["command"] if o.startswith("--storage.tsdb.retention.time=")]
    days = int(option.split("=")[1].removesuffix("d"))
    from salesgauge.grafana.thresholds import seconds
    from tests.grafana.names import thresholds

    reply = thresholds().positive_reply
    assert days * 86_400 > seconds(reply.baseline) + seconds(reply.window)
