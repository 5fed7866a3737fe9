"""Prometheus and Alertmanager with the shipped configuration, only faster, and somebody who receives the notices."""

from __future__ import annotations

import http.server
import json
import shutil
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from salesgauge.grafana.routes import alertmanager as alertmanager_document
from salesgauge.grafana.thresholds import seconds
from tests.grafana.names import ROOT, TOLD, notifying
from tests.support.process import free_ports
from tests.support.programs import Alertmanager, Prometheus, alertmanager, prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FASTER = 30
"""A minute of the shipped configuration is two seconds here."""


@dataclass
class Inbox:
    """What was delivered, by path: `/webhook`, `/heartbeat` and `/slack`, each a decoded JSON."""

    url: str = ""
    delivered: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)

    def alerts(self, name: str, status: str, path: str = "/webhook") -> list[dict[str, Any]]:
        return [
            alert
            for where, body, _ in self.delivered
            if where == path
            for alert in body.get("alerts", [])
            if alert["labels"]["alertname"] == name and alert["status"] == status
        ]

    def texts(self, path: str) -> str:
        return json.dumps([body for where, body, _ in self.delivered if where == path])


@contextmanager
def inbox() -> Iterator[Inbox]:
    """A local HTTP server that keeps what it is sent."""
    box = Inbox()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            box.delivered.append((self.path, json.loads(body), self.headers.get("authorization", "")))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        box.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield box
        server.shutdown()


@dataclass
class Exposition:
    """A stand-in for exporter and worker: serves the text it is given."""

    text: str = ""
    port: int = 0
    up: bool = True


@contextmanager
def exposition() -> Iterator[Exposition]:
    stub = Exposition()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if stub.up else 503)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(stub.text.encode())

        def log_message(self, *_args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield stub
        server.shutdown()


def faster(document: Any, keys: tuple[str, ...], by: int = FASTER) -> Any:
    """A copy in which the durations under these keys are so many times shorter."""
    if isinstance(document, dict):
        return {
            k: _shorter(v, by) if k in keys and isinstance(v, str) else faster(v, keys, by) for k, v in document.items()
        }
    return [faster(item, keys, by) for item in document] if isinstance(document, list) else document


def _shorter(duration: str, by: int) -> str:
    return f"{max(0 if seconds(duration) == 0 else 1000, round(1000 * seconds(duration) / by))}ms"


def write_prometheus(folder: Path, targets: dict[str, list[int]], alertmanager_port: int, every: str = "1s") -> Path:
    """The shipped prometheus.yml and rules: other addresses, shorter times, nothing else."""
    config = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every}
    (config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]) = [f"127.0.0.1:{alertmanager_port}"]
    jobs = []
    for job in config["scrape_configs"]:
        if job["job_name"] in targets:
            job.pop("dns_sd_configs", None)
            job.pop("file_sd_configs", None)
            job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in targets[job["job_name"]]]}]
            jobs.append(job)
    config["scrape_configs"] = jobs
    (folder / "rules").mkdir()
    for file in (ROOT / "prometheus/rules").glob("*.yml"):
        rules = faster(yaml.safe_load(file.read_text()), ("for", "keep_firing_for", "interval"))
        (folder / "rules" / file.name).write_text(yaml.safe_dump(rules, sort_keys=False))
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def write_alertmanager(folder: Path, box: Inbox) -> Path:
    """The routes with every channel: notices go to the inbox, sooner; its secrets are files of the test."""
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "slack_url").write_text(f"{box.url}/slack")
    (secrets / "webhook_token").write_text("token-of-the-test")
    (secrets / "smtp_password").write_text("unused")
    shipped = alertmanager_document(notifying(**TOLD, secrets=str(secrets)))
    config = faster(shipped, ("group_wait", "group_interval", "repeat_interval"))
    config["global"]["smtp_smarthost"] = "127.0.0.1:1"
    for receiver in config["receivers"]:
        for hook in receiver.get("webhook_configs", []):
            hook["url"] = f"{box.url}/{'heartbeat' if receiver['name'] == 'heartbeat' else 'webhook'}"
    shutil.copytree(ROOT / "prometheus/templates", folder / "templates")
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


@contextmanager
def watching(folder: Path, targets: dict[str, list[int]], box: Inbox) -> Iterator[tuple[Prometheus, Alertmanager]]:
    """Both programs, running."""
    (port,) = free_ports(1)
    with (
        alertmanager(write_alertmanager(folder, box), folder, port=port) as told,
        prometheus(write_prometheus(folder, targets, port), folder) as watch,
    ):
        yield watch, told
