"""`make` says clearly what it offers and what is missing."""

from __future__ import annotations

import re
import subprocess

from tests.support.shared import ROOT


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


def test_the_image_holds_every_package_of_the_project():
    project = (ROOT / "pyproject.toml").read_text()
    [listed] = re.findall(r"^packages = \[(.*)\]$", project, re.MULTILINE)
    image, ignored = ((ROOT / name).read_text() for name in ("Dockerfile", ".dockerignore"))
    for package in re.findall(r'"(\w+)"', listed):
        assert f"COPY {package} ./{package}\n" in image
        assert f"!{package}\n" in ignored
