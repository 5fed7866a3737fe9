"""The targets that the board judges by."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING

import yaml

from salesgauge.metrics.kpis.targets import Target, TargetError, parse

if TYPE_CHECKING:
    from pathlib import Path

    from salesgauge.metrics.kpis.kpi import Catalogue


def from_file(path: Path, catalogue: Catalogue) -> tuple[Target, ...]:
    """The ``targets`` of a settings file such as ``prometheus/thresholds.yml``.

    Raises:
        TargetError: it cannot be read, has no targets, or one of them cannot be used.
    """
    try:
        known = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TargetError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TargetError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(known, dict) or not isinstance(known.get("targets"), list):
        raise TargetError(f"{path}: there is no list `targets`; see prometheus/thresholds.yml of the project")
    try:
        return parse(known["targets"], catalogue)
    except TargetError as error:
        raise TargetError(f"{path}: {error}") from error


def _shipped() -> tuple[Target, ...]:
    items = json.loads(files(__package__).joinpath("targets.json").read_text("utf-8"))
    return tuple(Target.model_validate(item) for item in items)


DEFAULTS = _shipped()
"""The targets of ``prometheus/thresholds.yml`` as of the last ``salesgauge generate``."""
