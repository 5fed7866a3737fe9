"""Checks the lock files, without a network.

    python tools/audit.py

1. Every package is pinned to one version and has at least one sha256. No lock holds an index, host or path.
2. What pyproject.toml asks for is in the lock, in a version that it allows; both locks agree.
3. What is installed is what the lock says.
4. The installed packages fit together (`pip check`).
5. Known vulnerabilities, if pip-audit is on the PATH and reaches an advisory service; otherwise the step says
   that it was skipped. It needs a network, so its absence is no failure.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
RUNTIME, DEVELOPER = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
FOREIGN = re.compile(r"://|^\s*-(?!-hash=)|(?:^|\s)(?:/|~/|file:)\S|\bgit\+")
SHA256 = re.compile(r"--hash=sha256:([0-9a-f]{64})\b")


@dataclass(slots=True)
class Lock:
    """A lock file's packages (name, version, marker) by name, and the findings made while reading it."""

    name: str
    packages: dict[str, list[Requirement]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)


def read_lock(path: Path) -> Lock:
    """Read a lock file.

    Returns:
        Its packages by canonical name, which may be there once a platform. Findings are those of step 1.
    """
    lock = Lock(path.name)
    text = path.read_text()
    code = [line for line in text.splitlines() if not line.lstrip().startswith("#") and not FOREIGN.search(line)]
    lock.findings += [
        f"{lock.name}:{number}: an index, host or path: {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        if FOREIGN.search(line)
    ]
    for entry in "\n".join(code).replace("\\\n", " ").splitlines():
        if entry.strip():
            _read_entry(lock, entry)
    return lock


def _read_entry(lock: Lock, entry: str) -> None:
    requirement = Requirement(entry.partition(" --hash=")[0].strip())
    pins = list(requirement.specifier)
    if len(pins) != 1 or pins[0].operator != "==" or "*" in pins[0].version:
        lock.findings.append(f"{lock.name}: {requirement} is not pinned to one version")
    if not SHA256.search(entry):
        lock.findings.append(f"{lock.name}: {requirement.name} has no sha256")
    lock.packages.setdefault(canonicalize_name(requirement.name), []).append(requirement)


def version(requirement: Requirement) -> str:
    """The version a locked requirement is pinned to."""
    return next(iter(requirement.specifier)).version


def check_asked(lock: Lock, asked: list[str]) -> list[str]:
    """Which of pyproject.toml's requirements the lock does not meet."""
    findings = []
    for requirement in map(Requirement, asked):
        name = canonicalize_name(requirement.name)
        if name == "salesgauge":
            continue
        locked = lock.packages.get(name, [])
        if not locked:
            findings.append(f"{lock.name}: {requirement} is missing; run `make lock`")
        findings += [
            f"{lock.name}: {one} does not meet {requirement}; run `make lock`"
            for one in locked
            if not requirement.specifier.contains(version(one), prereleases=True)
        ]
    return findings


def check_agreement(runtime: Lock, developer: Lock) -> list[str]:
    """Where the developers' lock has another version than the runtime's. It may need a package on more platforms."""
    return [
        f"{developer.name}: {name} differs from {runtime.name}; run `make lock`"
        for name, locked in runtime.packages.items()
        if set(map(version, locked)) != set(map(version, developer.packages.get(name, [])))
    ]


def check_installed(lock: Lock) -> list[str]:
    """Which installed packages are not those of the lock."""
    findings = []
    for name, locked in lock.packages.items():
        wanted = [version(one) for one in locked if one.marker is None or one.marker.evaluate()]
        if not wanted:
            continue
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            findings.append(f"{name} is not installed; run `make setup`")
            continue
        if here not in wanted:
            findings.append(f"{name} {here} is installed, {wanted[0]} is locked; run `make setup`")
    return findings


def check_fit() -> list[str]:
    """What `pip check` finds."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"],
        capture_output=True,
        text=True,
        check=False,
    )
    return [] if done.returncode == 0 else done.stdout.splitlines()


def advisories() -> tuple[str, list[str]]:
    """Ask for known vulnerabilities where that is possible. Returns what to say and what was found."""
    program = shutil.which("pip-audit")
    if program is None:
        return "skipped: pip-audit is not installed (it needs an advisory service on the network)", []
    options = ["--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json"]
    try:
        done = subprocess.run(
            [program, *options, "-r", str(RUNTIME)], capture_output=True, text=True, check=False, timeout=180
        )
        return judge(json.loads(done.stdout)["dependencies"])
    except subprocess.TimeoutExpired:
        return "skipped: the advisory service does not answer", []
    except (ValueError, KeyError):
        return "skipped: the advisory service is unreachable", []


def judge(dependencies: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """What to say of pip-audit's answer, and the vulnerabilities in it. A package that it skipped was not audited."""
    audited = [one for one in dependencies if "skip_reason" not in one]
    found = [
        f"{one['name']} {one['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version'}"
        for one in audited
        for flaw in one["vulns"]
    ]
    skipped = len(dependencies) - len(audited)
    if not audited:
        return "skipped: the advisory service knows none of the packages", []
    return f"none known of {len(audited)} packages" + (f", {skipped} not audited" if skipped else ""), found


def main() -> int:
    """Run all steps, print a line for each, and return the exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    runtime, developer = read_lock(RUNTIME), read_lock(DEVELOPER)
    everything = project["dependencies"] + [one for group in extras.values() for one in group]
    said, vulnerable = advisories()
    steps = [
        ("pinned and hashed", f"{len(developer.packages)} packages", runtime.findings + developer.findings),
        (
            "complete",
            f"{len(everything)} requirements met",
            check_asked(runtime, project["dependencies"] + extras["boards"] + extras["build"] + extras["demo"])
            + check_asked(developer, everything)
            + check_agreement(runtime, developer),
        ),
        ("installed as locked", "yes", check_installed(developer)),
        ("fit together", "yes", check_fit()),
        ("advisories", said, vulnerable),
    ]
    for title, good, findings in steps:
        print(f"audit: {title}: {good if not findings else f'{len(findings)} findings'}")
        for finding in findings:
            print(f"  {finding}")
    return int(any(findings for _, _, findings in steps))


if __name__ == "__main__":
    sys.exit(main())
