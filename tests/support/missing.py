"""What tests need besides Python packages: without it they are skipped with a reason, or fail in CI."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

PREFIX = "missing part: "


def in_ci() -> bool:
    """Whether this run has to be complete."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def missing(what: str, remedy: str = "tools/fetch.sh", *, fail: bool | None = None) -> NoReturn:
    """Skip the test that asks, because a part is missing; fail it in CI.

    Args:
        what: the part.
        remedy: what brings it.
        fail: whether to fail; by default in CI only.
    """
    reason = f"{PREFIX}{what} ({remedy})"
    if in_ci() if fail is None else fail:
        pytest.fail(f"{reason}; CI=true, so this is an error", pytrace=False)
    pytest.skip(reason)
