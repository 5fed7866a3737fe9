"""`salesgauge generate [--check]`: everything that is made from the catalogue and the events."""

from __future__ import annotations

import json
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import click
from pydantic import TypeAdapter

from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.schemas.events import EVENT_UNION, EVENTS
from salesgauge.streams.cli.common import FAILURE, Failed, err, explained, out
from salesgauge.streams.cli.reference import event_contract, kpi_reference, settings_page

THRESHOLDS = "prometheus/thresholds.yml"
_SHIPPED = (
    "docker-compose.yml",
    "prometheus/prometheus.yml",
    "prometheus/secrets/README.md",
    "prometheus/targets/exporter.yml",
    "prometheus/targets/ingest.yml",
    "prometheus/targets/worker.yml",
    "prometheus/templates/salesgauge.tmpl",
    "sources/README.md",
    THRESHOLDS,
)
"""What a folder of one's own begins with, from the package's folder ``deployment``."""
_PROVISIONING = tuple(f"grafana/provisioning/{kind}/salesgauge.yml" for kind in ("dashboards", "datasources"))
"""The same, from the package itself."""


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file is not current.")
@click.option(
    "--new", is_flag=True, help="First write the files of a new folder, such as thresholds.yml, where they are missing."
)
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The project's folder, or your own with prometheus/thresholds.yml in it.",
)
@explained
def generate_command(root: Path, *, check: bool, new: bool) -> None:
    """Write dashboards, alert rules and their documentation from ROOT's prometheus/thresholds.yml.

    In the project's folder it also writes JSON Schemas and the reference pages of docs/.
    """
    if new and check:
        raise Failed("--new writes files and --check writes none; give one of the two")
    if new:
        _begin(root)
    stale = []
    for path, content in sorted(files(root).items()):
        target = root / path
        if target.is_file() and target.read_text(encoding="utf-8") == content:
            continue
        stale.append(path)
        if not check:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8")
    for path in stale:
        out.print(f"{'not current' if check else 'written'}: {path}")
    if stale and check:
        err.print("run `salesgauge generate` and commit the result")
        raise SystemExit(FAILURE)
    err.print("everything is current" if not stale else f"{len(stale)} files written")


def _begin(root: Path) -> None:
    """Write what a folder of one's own begins with; a file that is there is left alone."""
    package = resources.files("salesgauge")
    shipped = {path: package.joinpath("deployment", path) for path in _SHIPPED}
    for path, source in {**shipped, **{path: package.joinpath(path) for path in _PROVISIONING}}.items():
        target = root / path
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
        out.print(f"written: {path}")


def files(root: Path) -> dict[str, str]:
    """Relative path -> content of all files that are generated in a folder.

    Raises:
        Failed: the folder has no thresholds, or they cannot be used.
    """
    if not (root / THRESHOLDS).is_file():
        advice = "go to the project's folder, name yours with --root, or begin one with --new"
        raise Failed(f"there is no {THRESHOLDS} in {root.resolve()}; {advice}")
    project = (root / "metrics" / "kpis" / "catalogue").is_dir()
    makers = (json_schemas, event_contract, kpi_reference, settings_page) if project else ()
    made: dict[str, str] = {}
    for maker in makers:
        made |= maker()
    return made | _from_thresholds(root, project=project)


def _from_thresholds(root: Path, *, project: bool) -> dict[str, str]:
    from salesgauge.grafana import generate
    from salesgauge.grafana.thresholds import ThresholdsError, load

    try:
        thresholds = load(root / THRESHOLDS, CATALOGUE)
    except ThresholdsError as error:
        raise Failed(str(error)) from error
    made = generate.rule_files(thresholds, CATALOGUE)
    if project:
        made |= generate.board_targets(thresholds)
    if find_spec("grafana_foundation_sdk") is None:
        err.print("dashboards are left as they are; to generate them: pip install 'salesgauge[boards]'")
        return made
    return made | generate.dashboard_files(thresholds, CATALOGUE)


def json_schemas() -> dict[str, str]:
    """A JSON Schema per event, and one of all."""
    made = {
        f"schemas/json/{name}.schema.json": _json(model.model_json_schema()) for name, model in sorted(EVENTS.items())
    }
    made["schemas/json/event.schema.json"] = _json(TypeAdapter(EVENT_UNION).json_schema())
    return made


def _json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
