"""Secrets: tokens that lie in files, and addresses that are shown without theirs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from salesgauge.schemas.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def read_token(path: Path) -> str:
    """A bearer token from a file, as it is now: it may be rotated.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from error


def shown(url: str) -> str:
    """An address for a message: a user name and password in it are left out."""
    return re.sub(r"//[^/?#]*@", "//…@", url)
