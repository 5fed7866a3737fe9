"""What the catalogue demands of an entry, and that an entry is all that a KPI needs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.formula import In, Stock
from salesgauge.metrics.kpis.kpi import Catalogue, CatalogueError, Form, Kpi, Place, Role, Shown, Unit
from salesgauge.metrics.measures import registry as m
from salesgauge.schemas.events import EVENTS

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "adding-a-kpi.md"

ENTRY: dict[str, Any] = {
    "id": "bookings_per_demo",
    "title": "Bookings per demo",
    "help": "Meetings booked in the window per demo held in it.",
    "unit": Unit.QUOTIENT,
    "per": "per demo",
    "role": Role.SALES_DEVELOPMENT,
    "form": Form.PERIOD,
    "definition": "meetings booked in W / demos held in W",
    "formula": In(m.MEETINGS_BOOKED) / In(m.DEMOS_HELD),
    "empty": "No demo held",
    "requires": ("meeting_booked", "meeting_completed"),
}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"per": ""}, "say in `per` what it is per"),
        ({"unit": Unit.SHARE}, "`per` belongs to a unit of Unit.QUOTIENT"),
        ({"empty": ""}, "say why in `empty`"),
        ({"formula": In(m.DEMOS_HELD), "unit": Unit.COUNT, "per": ""}, "leave `empty` out"),
        ({"formula": None}, "give one of `formula` and `samples`"),
        ({"requires": ()}, "name in `requires` the events"),
        ({"requires": ("meeting_boked",)}, "there is no event ['meeting_boked']"),
        ({"windows": ("30d", "31d")}, "`windows` has ['31d']"),
        ({"breakdowns": (("colour",),)}, "none of its measures has the dimension ['colour']"),
        ({"whole": False}, "it has no number at all"),
        ({"id": "Bookings"}, "`id` consists of small letters"),
        ({"shown": (Shown(Place.TERMINAL, 1, stat="p50"),)}, "`shown` names ['p50']"),
    ],
)
def test_what_is_missing_or_wrong_in_an_entry_is_said(change: dict[str, Any], sentence: str):
    Kpi(**ENTRY)
    with pytest.raises(CatalogueError) as refused:
        Kpi(**ENTRY | change)
    assert sentence in str(refused.value)


def test_an_id_is_given_once():
    with pytest.raises(CatalogueError, match="bookings_per_demo"):
        Catalogue((Kpi(**ENTRY), Kpi(**ENTRY)))


def test_the_reason_for_no_value_names_the_window_only_where_the_window_decides():
    by_window = {kpi.id: kpi.headline.formula.empty_by_window() for kpi in CATALOGUE.kpis if kpi.empty}
    assert by_window["win_ratio"]
    assert by_window["lead_response_seconds"]
    assert not by_window["client_engagement"]  # divided by the customers there are
    assert not by_window["customer_churn_ratio"]  # by the customers at the start
    assert not by_window["sales_growth_ratio"]  # by the window before
    assert not (In(m.REVENUE) / Stock(m.CUSTOMERS)).empty_by_window()


def test_a_kpi_is_not_connected_while_a_required_event_was_never_seen():
    win, conversion = CATALOGUE.by_id["win_ratio"], CATALOGUE.by_id["demo_conversion_ratio"]
    assert win.missing({"deal_won"}) == ("deal_lost",)
    assert win.missing({"deal_won", "deal_lost"}) == ()
    assert conversion.missing({"meeting_completed"}) == ("deal_won|lifecycle_stage_changed",)
    assert conversion.missing({"meeting_completed", "lifecycle_stage_changed"}) == ()
    for kpi in CATALOGUE.kpis:
        assert kpi.missing(()) == kpi.requires
        assert kpi.missing(EVENTS) == ()


@pytest.mark.parametrize("place", list(Place))
def test_each_place_has_something_to_show_and_each_rank_once(place: Place):
    shown = CATALOGUE.shown(place)
    assert shown
    ranks = [(kpi.drawn_on if place is Place.GLANCE else None, at.rank) for kpi, at in shown]
    assert len(set(ranks)) == len(ranks)


# --- the walk-through, in a copy of the project

_PROBE = """
import json
from datetime import UTC, datetime, timedelta
from salesgauge.metrics.engine import Machine
from salesgauge.schemas.events import MeetingBooked, MeetingCompleted
from salesgauge.streams.serve.board import api

now = datetime(2026, 3, 12, 14, 37, tzinfo=UTC)
def payload(*events):
    machine = Machine()
    machine.advance(int(now.timestamp() * 1000))
    machine.apply(events)
    list(machine.readings([], frozenset()))
    found = api.board_payload(machine.view)
    described = [k for role in found["roles"] for k in role["kpis"] if k["id"] == "bookings_per_demo"]
    return described + [k for k in found["kpis"] if k["id"] == "bookings_per_demo"]
def meetings(at):
    booked = [MeetingBooked(event_id=f"b{n}", occurred_at=at, lead_id="a", meeting_id=f"m{n}", starts_at=now)
              for n in range(3)]
    held = [MeetingCompleted(event_id=f"h{n}", occurred_at=at, lead_id="a", meeting_id=f"d{n}", kind="demo")
            for n in range(2)]
    return payload(*booked, *held)
print(json.dumps([payload(), meetings(now - timedelta(days=2)), meetings(now - timedelta(hours=1))]))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project to which the guide's KPI was added, in one file."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("schemas", "metrics", "streams", "grafana", "prometheus", "docs", "salesgauge"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    path = copy / "metrics" / "kpis" / "catalogue" / "sales_development.py"
    text = path.read_text()
    path.write_text(text.replace("KPIS = (\n", "KPIS = (\n" + _entry_of_the_guide(), 1))
    return copy


def _entry_of_the_guide() -> str:
    _, _, rest = GUIDE.read_text().partition("```python\n")
    code, _, _ = rest.partition("```")
    assert "bookings_per_demo" in code
    return "\n".join(line.removeprefix("   ") for line in code.splitlines()) + "\n"


def _run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", *arguments]
    environment = {"PYTHONPATH": str(project), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def test_one_entry_makes_a_kpi(project: Path):
    forgotten = _run(project, "-m", "salesgauge", "generate", "--check", "--root", str(project))
    assert forgotten.returncode == 1
    assert "not current: docs/kpis.md" in forgotten.stdout
    assert "run `salesgauge generate`" in forgotten.stderr
    made = _run(project, "-m", "salesgauge", "generate", "--root", str(project))
    assert made.returncode == 0, made.stderr
    assert "### Bookings per demo" in (project / "docs" / "kpis.md").read_text()
    drawn = (project / "grafana" / "dashboards" / "sales" / "business-development.json").read_text()
    assert "crm_bookings_per_demo{" in drawn
    assert "crm_bookings_per_demo_by_rep{" in drawn


def test_the_board_shows_the_new_kpi_as_what_it_is(project: Path):
    done = _run(project, "-c", _PROBE)
    assert done.returncode == 0, done.stderr
    (described, absent), (_, empty), (_, shown) = json.loads(done.stdout)
    assert (described["format"], described["per"]) == ("quotient", "per demo")  # 1.5 per demo, not 150 %
    assert absent["why"] == "Not connected: no meeting_booked, no meeting_completed"
    assert empty["value"] is None
    assert empty["why"] == "No demo held in the last 24 hours"
    assert (shown["value"], shown["n"]) == (1.5, 2)
