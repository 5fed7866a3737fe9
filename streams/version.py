"""The version of this installation."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("salesgauge")
except PackageNotFoundError:  # running from a checkout that is not installed
    VERSION = "0+unknown"
