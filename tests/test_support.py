"""The suite's own tools."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import missing, process, programs, shared, wait


def test_until_gives_the_answer():
    answers = iter([0, None, "", 7])
    assert wait.until(lambda: next(answers), 5, every=0) == 7


def test_until_survives_errors_and_tells_the_last_one():
    def broken() -> bool:
        raise OSError("connection refused")

    with pytest.raises(wait.NeverTrueError, match=r"the moon.*connection refused"):
        wait.until(broken, 0.05, "the moon", every=0.01)


def test_ports_are_different():
    assert len(set(process.free_ports(50))) == 50


def test_a_process_is_stopped_and_its_log_kept(tmp_path):
    code = "import time; print('hello', flush=True); time.sleep(60)"
    with process.Process([sys.executable, "-c", code], log=tmp_path / "log") as child:
        wait.until(lambda: "hello" in child.tail(), 10)
        child.check()
    assert child.returncode == -15


def test_a_frozen_process_is_stopped_too(tmp_path):
    with process.Process([sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "log") as child:
        child.pause()
    assert not child.running


def test_a_process_that_dies_tells_why(tmp_path):
    child = process.Process([sys.executable, "-c", "raise SystemExit('no such thing')"], log=tmp_path / "log")
    assert child.wait(10) == 1
    with pytest.raises(process.ProcessDiedError, match="no such thing"):
        child.check()


def test_a_missing_part_skips(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="missing part: no-such-program"):
        programs.require("no-such-program")


def test_a_missing_part_fails_in_ci(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="missing part: no-such-program"):
        programs.require("no-such-program")
    assert missing.in_ci()


def test_absent_real_data_skips(monkeypatch, tmp_path):
    monkeypatch.setenv(shared.VARIABLE, str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="real data"):
        shared.require_shared("school_crm")


def test_fetch_lists_without_changing():
    said = subprocess.run([shared.ROOT / "tools" / "fetch.sh", "--list"], capture_output=True, text=True, check=False)
    assert said.stdout.startswith("fetch: ")
    assert "installing" not in said.stdout
