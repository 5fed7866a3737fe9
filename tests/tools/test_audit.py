"""The audit of the lock files finds what it is there for."""

from __future__ import annotations

import pytest

from tools import audit

HASH = f"--hash=sha256:{'0' * 64}"
GOOD = f"""\
# made by hand
click==8.1.0 \\
    {HASH} \\
    {HASH}
uvloop==0.21.0 ; sys_platform != 'win32' \\
    {HASH}
"""


@pytest.fixture
def lock(tmp_path):
    def write(text: str) -> audit.Lock:
        path = tmp_path / "some.lock"
        path.write_text(text)
        return audit.read_lock(path)

    return write


def test_a_good_lock_has_no_findings(lock):
    read = lock(GOOD)
    assert read.findings == []
    assert {name: audit.version(one) for name, [one] in read.packages.items()} == {
        "click": "8.1.0",
        "uvloop": "0.21.0",
    }


@pytest.mark.parametrize(
    ("added", "finding"),
    [
        (f"rich>=13 {HASH}", "rich>=13 is not pinned"),
        (f"rich==13.* {HASH}", "is not pinned"),
        ("rich==13.0", "rich has no sha256"),
        ("rich==13.0 --hash=md5:00", "rich has no sha256"),
        ("--extra-index-url somewhere", "an index, host or path"),
        ("-f ./wheels", "an index, host or path"),
        ("# from https://registry.example/simple", "an index, host or path"),
        (f"-e . {HASH}", "an index, host or path"),
        (f"rich @ https://example/rich.whl {HASH}", "an index, host or path"),
    ],
)
def test_a_bad_line_is_found(lock, added, finding):
    findings = lock(GOOD + added + "\n").findings
    assert any(finding in one for one in findings), findings


def test_a_requirement_that_the_lock_does_not_meet_is_found(lock):
    read = lock(GOOD)
    assert audit.check_asked(read, ["click>=8", "UVLoop"]) == []
    [missing, old] = audit.check_asked(read, ["rich", "click>=8.2"])
    assert "rich is missing" in missing
    assert "click==8.1.0 does not meet click>=8.2" in old


def test_locks_that_differ_are_found(lock):
    runtime, developer = lock(GOOD), lock(GOOD.replace("8.1.0", "8.2.0"))
    assert audit.check_agreement(runtime, runtime) == []
    assert "click differs" in audit.check_agreement(runtime, developer)[0]


def test_an_installed_version_that_is_not_locked_is_found(lock):
    [finding] = audit.check_installed(lock(f"pytest==1.0 {HASH}\n"))
    assert "1.0 is locked" in finding
    [finding] = audit.check_installed(lock(f"no-such-package==1.0 {HASH}\n"))
    assert "not installed" in finding
    assert audit.check_installed(lock(f"pytest==1.0 ; sys_platform == 'no-such' {HASH}\n")) == []


def test_our_own_locks_are_good():
    runtime, developer = audit.read_lock(audit.RUNTIME), audit.read_lock(audit.DEVELOPER)
    assert runtime.findings + developer.findings + audit.check_agreement(runtime, developer) == []


def test_advisories_are_told_and_what_was_not_audited_is_not_called_good():
    good = {"name": "click", "version": "8.1.0", "vulns": []}
    skipped = {"name": "uvloop", "skip_reason": "not found"}
    bad = {"name": "old", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
    assert audit.judge([good]) == ("none known of 1 packages", [])
    assert audit.judge([good, skipped]) == ("none known of 1 packages, 1 not audited", [])
    assert audit.judge([skipped]) == ("skipped: the advisory service knows none of the packages", [])
    assert audit.judge([good, bad])[1] == ["old 1.0: PYSEC-1, fixed in 1.1"]
