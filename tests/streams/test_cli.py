"""The command line's manners: help everywhere, exit codes, a message instead of a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from salesgauge.streams.cli.main import _COMMANDS, cli
from salesgauge.streams.kafka.embedded import EmbeddedBroker
from salesgauge.streams.version import VERSION
from tests.support.kafka import ROOT
from tests.support.process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = "127.0.0.1:1"
FULL = Path("/dev/full")


def every_command() -> list[list[str]]:
    """The path of each command and subcommand."""
    paths = []
    for name in _COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        paths.append([name])
        if isinstance(command, click.Group):
            paths += [[name, sub] for sub in command.commands]
    return paths


def run(*args: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a command in this process; a fault is raised."""
    result = CliRunner(env=env).invoke(cli, list(args))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def spawn(
    *args: str, env: dict[str, str] | None = None, timeout: float = 60, **streams
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "salesgauge", *args],
        stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **(env or {})}, timeout=timeout, check=False,
        **{"stdout": subprocess.PIPE, **streams},
    )  # fmt: skip


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    event = {
        "event": "lead_created", "event_id": "1", "lead_id": "1", "occurred_at": datetime.now(UTC).isoformat(),
    }  # fmt: skip
    path.write_text(json.dumps(event) + "\n")
    return path


# --- without a broker


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_each_command_has_help(path):
    for option in ("--help", "-h"):
        code, said = run(*path, option)
        assert code == 0
        assert "Usage:" in said
        assert len(said.splitlines()) > 3
        assert "..." not in said.partition("Commands:")[2]  # of a sentence that was too long


def test_the_list_of_commands_and_the_version():
    code, said = run("--help")
    assert code == 0
    assert all(name in said for name in _COMMANDS)
    assert run("--version") == (0, f"salesgauge, version {VERSION}\n")


def test_help_loads_neither_faust_nor_kafka():
    code = "import sys; from salesgauge.streams.cli.main import cli; cli.main(['--help'], standalone_mode=False); "
    code += "print([m for m in ('faust', 'kafka', 'aiokafka', 'duckdb') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert said.stdout.splitlines()[-1] == "[]"


def imported(*args: str, until: str) -> set[str]:
    """The modules that a program has imported when it says that it listens; it is stopped then."""
    traced = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    command = [sys.executable, "-m", "salesgauge", *args]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=traced) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if until in line:
                process.send_signal(signal.SIGTERM)
    return {line.rpartition("|")[2].strip() for line in said if line.startswith("import time:")}


@pytest.mark.integration
def test_an_exporter_does_not_load_faust(ready):
    modules = imported("exporter", "--port", "0", "--bootstrap", ready, until="listening on")
    assert "salesgauge.streams.serve.exporter" in modules
    assert not {"faust", "mode", "aiokafka", "duckdb"} & modules


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["worker", "--nonsense"],
        ["exporter", "--port", "99999"],
        ["exporter", "--port", "x"],
        ["topics", "create", "--partitions", "0"],
        ["publish"],
        ["rebuild", "switch", "zero"],
        ["dead-letters", "show"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(args):
    code, said = run(*args)
    assert code == 2
    assert "Error:" in said


CONNECTING = [
    "topics create", "topics check", "worker", "exporter", "run", "doctor", "dead-letters list", "rebuild status",
]  # fmt: skip


@pytest.fixture(scope="module")
def to_nobody() -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """What each command does without a broker. All at once, as each waits some seconds for one."""
    env = {"SALESGAUGE_KAFKA__START_SECONDS": "2"}
    with ThreadPoolExecutor() as pool:
        yield {args: pool.submit(spawn, *args.split(), "--bootstrap", NOBODY, env=env) for args in CONNECTING}


@pytest.mark.parametrize("args", CONNECTING)
def test_a_dead_broker_is_1_with_a_remedy(args, to_nobody):
    done = to_nobody[args].result()
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "no Kafka broker answers at" in said
    assert "--bootstrap" in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("impatient")
def test_publishing_to_a_dead_broker(events):
    code, said = run("publish", str(events), "--bootstrap", NOBODY)
    assert code == 1
    assert "no Kafka broker answers" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("kafka: {partitions: many}", "kafka.partitions: must be a whole number"),
        ("kafka: [", "is not YAML"),
        ("colour: red", "colour: there is no such setting"),
    ],
)
def test_a_bad_settings_file_is_2(tmp_path, content, said):
    path = tmp_path / "salesgauge.yaml"
    path.write_text(content)
    for command in (["topics", "check"], ["worker"], ["exporter"], ["doctor"]):
        code, told = run(*command, "--config", str(path))
        assert code == 2
        assert said in told


def test_a_missing_settings_file_is_2(tmp_path):
    assert run("doctor", "--config", str(tmp_path / "none.yaml"))[0] == 2


def test_missing_input_is_named(tmp_path):
    code, said = run("publish", str(tmp_path / "none.jsonl"))
    assert code == 1
    assert "does not exist" in said


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("args", [["kpis", "--json"], ["kpis"], ["--help"]], ids=" ".join)
def test_a_full_disk_is_told(args):
    with FULL.open("w") as full:
        done = spawn(*args, stdout=full)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_ends_quietly():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as broken:
        done = spawn("kpis", "--json", stdout=broken)
    assert done.returncode == 1
    assert done.stderr == ""


def test_the_settings_file_counts_for_all_commands(events, tmp_path):
    path = tmp_path / "salesgauge.yaml"
    path.write_text("kafka: {bootstrap: nowhere}")
    for args in (["simulate", "--publish"], ["convert", "sales-pipeline", "--out", "-"], ["publish", str(events)]):
        code, said = run(*args, "--config", str(path))
        assert code == 2
        assert "kafka.bootstrap: 'nowhere' is not host:port" in said


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
@pytest.mark.parametrize("args", [["kpis"], ["simulate", "--days", "1"], ["replay", "--json", "EVENTS"]], ids=" ".join)
def test_standard_streams_may_be_closed(args, closed, events):
    command = [sys.executable, "-m", "salesgauge", *(str(events) if arg == "EVENTS" else arg for arg in args)]
    done = subprocess.run(
        ["bash", "-c", f'"$@" {closed}', "bash", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("args", [["kpis"], ["replay", "EVENTS"]], ids=" ".join)
def test_a_terminal_without_unicode_gets_escapes(args, events):
    plain = {"PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = spawn(*(str(events) if arg == "EVENTS" else arg for arg in args), env=plain)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


@pytest.mark.parametrize(
    "args", [["simulate", "--publish"], ["replay", "--topics"], ["publish", "EVENTS"]], ids=" ".join
)
def test_a_bootstrap_that_is_no_address_is_told_by_all_alike(args, events):
    code, said = run(*(str(events) if arg == "EVENTS" else arg for arg in args), "--bootstrap", "nowhere")
    assert code == 2
    assert "kafka.bootstrap: 'nowhere' is not host:port" in said


WRITING = [
    ["simulate", "--days", "1", "--quiet", "--out"],
    ["replay", "--quiet", "--events", "EVENTS", "--openmetrics"],
    ["replay", "--quiet", "--events", "EVENTS", "--parquet"],
    ["replay", "--quiet", "--events", "EVENTS", "--rejects"],
]


def written(args: list[str], events: Path, path: Path) -> None:
    assert run(*(str(events) if arg == "EVENTS" else arg for arg in args), str(path))[0] == 0


@pytest.mark.parametrize("args", WRITING, ids=" ".join)
def test_a_pipe_or_device_is_written_to_and_not_replaced(args, events, tmp_path):
    """`/dev/stdout` is one; as root, replacing it by a file would take it from the whole machine."""
    pipe, regular = tmp_path / "pipe", tmp_path / "regular"
    written([*args], events, regular)
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(pipe.read_bytes)
        written([*args], events, pipe)
        content = reading.result(20)
    assert pipe.is_fifo()
    assert bool(content) == bool(regular.read_bytes())
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "regular", events.name}


@pytest.mark.parametrize("args", WRITING, ids=" ".join)
def test_a_link_stays_one(args, events, tmp_path):
    (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to("target")
    written(args, events, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").is_file()


SLOW = """
import time

class Slow:
    def __set_name__(self, owner, name):
        print("importing", flush=True)
        time.sleep(60)

class Owner:
    slow = Slow()
"""


@pytest.mark.parametrize("module", ["click", "kafka"])
def test_ctrl_c_while_modules_are_loaded_ends_quietly(module, tmp_path):
    """Of the command line itself and of a command; some places turn Ctrl-C into other errors."""
    (tmp_path / f"{module}.py").write_text(SLOW)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "salesgauge", "doctor", "--bootstrap", NOBODY]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[1]
    assert (process.returncode, said) == (130, "")


# --- with one


@pytest.fixture(scope="module")
def empty() -> Iterator[str]:
    """A broker without topics."""
    with EmbeddedBroker() as broker:
        yield broker.bootstrap


@pytest.mark.integration
@pytest.mark.parametrize("args", [["worker", "--port", "0"], ["exporter", "--port", "0"]], ids=" ".join)
def test_missing_topics_are_named_with_the_remedy(empty, args):
    done = spawn(*args, "--bootstrap", empty)
    assert done.returncode == 1
    assert "topics are missing" in done.stderr
    assert "run `salesgauge topics create`" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.integration
def test_check_finds_missing_topics(empty):
    code, said = run("topics", "check", "--bootstrap", empty)
    assert code == 1
    assert "crm.lead-created" in said


@pytest.fixture(scope="module")
def ready() -> Iterator[str]:
    """A broker with topics."""
    with EmbeddedBroker() as broker:
        assert run("topics", "create", "--bootstrap", broker.bootstrap, "--partitions", "2")[0] == 0
        yield broker.bootstrap


@pytest.mark.integration
def test_creating_again_changes_nothing(ready):
    code, said = run("topics", "create", "--bootstrap", ready)
    assert code == 0
    assert "0 topics created" in said


@pytest.mark.integration
def test_a_taken_port_is_named(ready):
    with EmbeddedBroker(port=free_port()) as other:
        port = other.bootstrap.rpartition(":")[2]
        done = spawn("exporter", "--bootstrap", ready, "--port", port, env={"SALESGAUGE_KAFKA__PARTITIONS": "2"})
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "choose another --port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.integration
def test_a_foreign_address_is_named(ready):
    done = spawn("exporter", "--bootstrap", ready, "--host", "203.0.113.1", "--port", "0")
    assert done.returncode == 1
    assert "cannot listen on 203.0.113.1" in done.stderr


@pytest.mark.integration
@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_rejects_on_a_full_disk_are_told(ready, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text("not an event\n" * 10_000)
    done = spawn("publish", str(path), "--bootstrap", ready, "--rejects", "/dev/full")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
