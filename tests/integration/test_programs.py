"""The real programs that other tests use can be started, asked and stopped."""

from __future__ import annotations

import http.server
import threading

import pytest

from tests.support import programs
from tests.support.process import free_port
from tests.support.wait import until

pytestmark = pytest.mark.integration

RULES = """\
groups:
  - name: example
    rules:
      - alert: Always
        expr: vector(1)
"""


def test_prometheus_scrapes_and_answers(tmp_path):
    port = free_port()
    (tmp_path / "rules.yml").write_text(RULES)
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        "rule_files: [rules.yml]\n"
        f"scrape_configs: [{{job_name: self, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    )
    with programs.prometheus(config, tmp_path, port=port) as one:
        assert until(lambda: one.value('up{job="self"}'), 20, "the first scrape") == 1
        assert until(one.alerts, 20, "the alert")[0]["labels"]["alertname"] == "Always"
        assert one.value("nothing_of_that_name") is None
    assert not one.process.running


def test_promtool_checks_rules(tmp_path):
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES)
    assert programs.promtool("check", "rules", rules).ok
    rules.write_text(RULES.replace("vector(1)", "vector(1"))
    refused = programs.promtool("check", "rules", rules)
    assert not refused.ok
    assert "parse error" in refused.text


def test_alertmanager_starts_and_amtool_reads_its_configuration(tmp_path):
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    assert programs.amtool("check-config", config).ok
    with programs.alertmanager(config, tmp_path) as one:
        assert one.alerts() == []


def test_a_program_that_ends_tells_its_log(tmp_path):
    config = tmp_path / "prometheus.yml"
    config.write_text("no such setting: 1\n")
    with pytest.raises(AssertionError, match="no such setting"), programs.prometheus(config, tmp_path):
        pass


def test_chromium_shows_a_page(tmp_path):
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>gauge</title><p id=n>1</p><script>n.textContent = 1 + 1</script>")

        def log_message(self, *_args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with programs.chromium() as browser:
            page = browser.new_page(viewport={"width": 390, "height": 844})
            page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
            assert page.title() == "gauge"
            assert page.inner_text("#n") == "2"
            shot = page.screenshot(path=str(tmp_path / "page.png"))
            assert shot.startswith(b"\x89PNG")
        server.shutdown()
