"""Real programs beside the system under test: Prometheus, Alertmanager, their checkers, a browser.

`tools/fetch.sh` brings them. A test asks with `require`, which skips it with a reason where a program is
missing (and fails it in CI).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.missing import missing
from tests.support.process import Process, free_port
from tests.support.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

# What a program is called on different systems; the first name found is taken.
NAMES = {
    "alertmanager": ("prometheus-alertmanager", "alertmanager"),
    "amtool": ("amtool",),
    "chromium": ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome"),
    "java": ("java",),
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
}

CHROMIUM_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


def find(program: str) -> str | None:
    """The path of a program, or None."""
    return next(filter(None, map(shutil.which, NAMES.get(program, (program,)))), None)


def require(program: str) -> str:
    """The path of a program. Without it the test that asks is skipped, or fails when CI=true."""
    return find(program) or missing(program)


@dataclass(frozen=True, slots=True)
class Said:
    """What a checker answered."""

    code: int
    text: str

    @property
    def ok(self) -> bool:
        """Whether it found nothing wrong."""
        return self.code == 0


def run(program: str, *args: str | Path, cwd: Path | None = None, timeout: float = 180.0) -> Said:
    """Run a program to its end; its output and errors come back as one text."""
    done = subprocess.run(
        [require(program), *map(str, args)],
        cwd=cwd,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return Said(done.returncode, done.stdout)


def promtool(*args: str | Path, cwd: Path | None = None) -> Said:
    """`promtool check config FILE`, `promtool test rules FILE` ..."""
    return run("promtool", *args, cwd=cwd)


def amtool(*args: str | Path, cwd: Path | None = None) -> Said:
    """`amtool check-config FILE`, `amtool config routes test ...`."""
    return run("amtool", *args, cwd=cwd)


def get_json(url: str, timeout: float = 10.0) -> Any:
    """What a GET of a local address answers, decoded."""
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return json.load(answer)


class Prometheus:
    """A running Prometheus with a given configuration file and its data in `folder`."""

    def __init__(self, config: Path, folder: Path, *, port: int | None = None) -> None:
        """Start it and wait until it is ready.

        Args:
            config: configuration file; relative rule files are relative to it.
            folder: for data and the log.
            port: a free one by default.
        """
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = Process(
            [
                require("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--web.enable-lifecycle",
                "--log.level=info",
            ],
            log=folder / "prometheus.log",
        )
        _until_ready(self.process, self.url)

    def query(self, expression: str, *, time: float | None = None) -> list[dict[str, Any]]:
        """An instant query's result: `[{"metric": {...}, "value": [time, "text"]}]`."""
        asked = {"query": expression} | ({} if time is None else {"time": str(time)})
        answer = get_json(f"{self.url}/api/v1/query?{urllib.parse.urlencode(asked)}")
        return list(answer["data"]["result"])

    def value(self, expression: str) -> float | None:
        """The value of an expression that gives one series; None when it gives none."""
        result = self.query(expression)
        return float(result[0]["value"][1]) if result else None

    def alerts(self) -> list[dict[str, Any]]:
        """Pending and firing alerts."""
        return list(get_json(f"{self.url}/api/v1/alerts")["data"]["alerts"])

    def targets(self) -> list[dict[str, Any]]:
        """The scraped targets with their health."""
        return list(get_json(f"{self.url}/api/v1/targets")["data"]["activeTargets"])

    def reload(self) -> None:
        """Read the configuration again."""
        request = urllib.request.Request(f"{self.url}/-/reload", method="POST")
        urllib.request.urlopen(request, timeout=10).close()


class Alertmanager:
    """A running Alertmanager with a given configuration file and its data in `folder`."""

    def __init__(self, config: Path, folder: Path, *, port: int | None = None) -> None:
        """Start it, without a cluster, and wait until it is ready."""
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = Process(
            [
                require("alertmanager"),
                f"--config.file={config}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--cluster.listen-address=",
            ],
            log=folder / "alertmanager.log",
        )
        _until_ready(self.process, self.url)

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts it holds."""
        return list(get_json(f"{self.url}/api/v2/alerts"))


def _until_ready(process: Process, url: str, deadline: float = 30.0) -> None:
    def ready() -> bool:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=2) as answer:
            return bool(answer.status == 200)

    try:
        until(lambda: not process.running or ready(), deadline, f"{process.name} ready at {url}")
        process.check()
    except BaseException:
        process.kill()
        raise


@contextmanager
def prometheus(config: Path, folder: Path, *, port: int | None = None) -> Iterator[Prometheus]:
    """A Prometheus for the length of a `with` block."""
    one = Prometheus(config, folder, port=port)
    with one.process:
        yield one


@contextmanager
def alertmanager(config: Path, folder: Path, *, port: int | None = None) -> Iterator[Alertmanager]:
    """An Alertmanager for the length of a `with` block."""
    one = Alertmanager(config, folder, port=port)
    with one.process:
        yield one


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, headless, by playwright: `with chromium() as browser: browser.new_page()`."""
    from playwright.sync_api import sync_playwright

    executable = require("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, headless=True, args=list(CHROMIUM_FLAGS))
        try:
            yield browser
        finally:
            browser.close()
