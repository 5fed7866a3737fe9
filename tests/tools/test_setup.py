"""`make` says clearly what it offers and what is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

from tests.support.shared import ROOT

WHOLE = ROOT / "tools" / "whole.py"


def make(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *args], cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_lists_every_target():
    described = re.findall(r"^  make ([a-z-]+) ", make("help").stdout, re.MULTILINE)
    phony = re.findall(r"^\.PHONY: ([a-z-]+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert described == phony
    assert {"setup", "demo", "test", "check", "lint", "types", "bench", "lock", "clean"} <= set(described)


def test_setup_tells_when_python_is_missing(tmp_path):
    done = subprocess.run(
        [ROOT / "tools" / "setup.sh", tmp_path / "venv", ROOT / "requirements.lock"],
        env={"PATH": "/usr/bin:/bin", "PYTHON": "no-such-python"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "setup: PYTHON=no-such-python is no Python 3.11 or newer\n"
    assert not (tmp_path / "venv").exists()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with pip, in a folder with a space, as `make setup` leaves one."""
    folder = tmp_path_factory.mktemp("a project") / "venv"
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin" / "python", WHOLE, "note", folder, ".dev"], check=True)
    return folder


def check(folder: Path, python: str = "") -> str:
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": python}
    return subprocess.run(
        [ROOT / "tools" / "setup.sh", "--check", folder], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_setup_sees_whether_an_environment_is_of_use(made, tmp_path):
    assert check(made) == ""
    assert check(made, python=str(made / "bin" / "python")) == ""
    assert "is another Python" in check(made, python="no-such-python")
    assert check(tmp_path / "none") == ""


def test_setup_sees_that_an_environment_is_damaged(made, tmp_path):
    copy = tmp_path / "venv"
    shutil.copytree(made, copy, symlinks=True)
    assert check(copy) == f"it was made as {made}\n"
    subprocess.run([copy / "bin" / "python", WHOLE, "note", copy, ".dev"], check=True)
    assert check(copy) == ""
    [module] = copy.glob("lib/*/site-packages/pip/__main__.py")
    module.unlink()
    assert check(copy) == "pip/__main__.py is missing\n"
    (copy / ".dev").unlink()  # as if it had been killed before the end
    assert check(copy) == "pip/__main__.py is missing\n"
    (copy / "bin" / "python").unlink()
    assert check(copy) == "its Python does not run\n"
