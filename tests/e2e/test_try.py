"""``salesgauge try``: from a file to one's own board, with nothing prepared."""

# ruff: noqa: E501 (commands in one line)

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.schemas.test_drafting import COPPER, HUBSPOT, PIPEDRIVE
from tests.support.shared import require_shared
from tests.support.wait import until

pytestmark = pytest.mark.e2e

COMMAND = [sys.executable, "-m", "salesgauge", "try"]
PATIENCE = 100.0


@contextmanager
def board(*arguments: str) -> Iterator[str]:
    """The address of the board that the command shows."""
    with subprocess.Popen(
        [*COMMAND, *arguments, "--yes", "--port", "0", "--for", "200"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if found := re.search(r"board +(http://\S+)", line):
                    yield found[1]
                    break
            else:
                raise AssertionError(said)
        finally:
            process.terminate()


def readings(address: str) -> dict[tuple[str, str, str], float]:
    with urllib.request.urlopen(f"{address}api/kpis", timeout=30) as response:
        found: list[dict[str, Any]] = json.load(response)["readings"]
    return {(r["kpi"], r["window"], r["stat"]): r["value"] for r in found if not r["labels"]}


def settled(address: str, kpi: str, expected: float) -> dict[tuple[str, str, str], float]:
    """The readings once the exporter shows what the workers have published."""

    def shown() -> dict[tuple[str, str, str], float] | None:
        found = readings(address)
        return found if found.get((kpi, "all", "value")) == expected else None

    found = until(shown, PATIENCE, f"{kpi} is {expected}", every=0.5)
    assert found is not None
    return found


def test_an_export_becomes_a_board_at_its_own_time(tmp_path: Path) -> None:
    (tmp_path / "deals.csv").write_text(PIPEDRIVE)
    (tmp_path / "deals.salesgauge.yaml").write_text("mine")
    with board(str(tmp_path / "deals.csv")) as address:
        shown = settled(address, "sales_revenue", 12_000)
    assert shown["deals_won", "all", "value"] == 1
    assert shown["win_ratio", "all", "value"] == 0.5
    assert shown["deals_won", "today", "value"] == 1  # the win is the latest event: its day is today
    assert (tmp_path / "deals.salesgauge.yaml").read_text() == "mine"
    assert "won is Won (1)" in (tmp_path / "deals-2.salesgauge.yaml").read_text()


def test_the_real_pipeline(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("sales_pipeline.csv", "sales_teams.csv")]
    for file in files:
        file.symlink_to(require_shared("maven_crm") / file.name)
    with board(*map(str, files)) as address:
        shown = settled(address, "sales_revenue", 10_005_534)
    assert (shown["sales_revenue", "all", "value"], shown["deals_won", "all", "value"]) == (10_005_534, 4238)


def test_a_doubt_that_matters_ends_the_command_with_the_question(tmp_path: Path) -> None:
    (tmp_path / "deals.csv").write_text(HUBSPOT.replace("Closed won", "Payment Done").replace("Is Closed Won", "x"))
    done = subprocess.run([*COMMAND, str(tmp_path / "deals.csv"), "--yes"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--answer 'won=Payment Done'" in done.stderr
    assert not list(tmp_path.glob("*.yaml"))


def test_questions_are_asked_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "deals.csv").write_text(COPPER)
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, str(tmp_path / "deals.csv"), "--draft-only"], stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    ) as process:  # fmt: skip
        os.close(theirs)
        said = _until(terminal, "none of them", "numbers, with commas")
        os.write(terminal, b"2\n")
        said += _until(terminal, "lost?", "numbers, with commas")
        os.write(terminal, b"1\n")
        said += _until(terminal, "mapping: ")
        assert process.wait(PATIENCE) == 0
    assert "mean that a deal is won?" in said
    mapping = (tmp_path / "deals.salesgauge.yaml").read_text()
    assert "lost is Abandoned (1), Lost (1)" in mapping or "lost is Lost (1), Abandoned (1)" in mapping


def _until(terminal: int, *texts: str) -> str:
    said, until = "", time.monotonic() + PATIENCE
    while time.monotonic() < until and not all(text in said for text in texts):
        if select.select([terminal], [], [], 1.0)[0]:
            try:
                said += os.read(terminal, 65_536).decode(errors="replace")
            except OSError:
                break
    assert all(text in said for text in texts), said
    return said
