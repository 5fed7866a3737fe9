"""KPIs of the open pipeline: what is open, what it is worth, how it moves."""

from __future__ import annotations

from salesgauge.metrics.kpis.formula import AgeQuantile, Stock
from salesgauge.metrics.kpis.kpi import NOW, Dashboard, Direction, Form, Kpi, Place, Role, Shown, Stat, Unit
from salesgauge.metrics.measures import registry as m

_ROLE = Role.SALES_MANAGER
_BOARD = Dashboard.PIPELINE
_PARTS = (("stage",), ("category",), ("rep",), ("team",))
_CLOSES = ("deal_won", "deal_lost", "deal_reopened", "deal_deleted", "deal_restored")
_OPEN = ("opportunity_created", *_CLOSES, "lead_assigned")

KPIS = (
    Kpi(
        id="pipeline_deals",
        title="Open deals",
        help="Deals that are open now.",
        unit=Unit.COUNT,
        role=_ROLE,
        form=Form.STOCK,
        definition="deals opened and neither won nor lost at t",
        formula=Stock(m.PIPELINE_DEALS),
        breakdowns=_PARTS,
        windows=NOW,
        direction=Direction.NEUTRAL,
        requires=("deal_changed",),
        affected_by=_OPEN,
        dashboard=_BOARD,
        caveats="A deal in a stage of the kind won or lost is not open, even if nothing else says that it was closed.",
        shown=(Shown(Place.GLANCE, 3),),
    ),
    Kpi(
        id="pipeline_value",
        title="Open pipeline",
        help="Amount of the deals that are open now.",
        unit=Unit.MONEY,
        role=_ROLE,
        form=Form.STOCK,
        definition="sum of the amounts of open deals at t",
        formula=Stock(m.PIPELINE_VALUE),
        breakdowns=_PARTS,
        windows=NOW,
        requires=("deal_changed",),
        affected_by=_OPEN,
        dashboard=_BOARD,
        caveats="A deal without an amount adds nothing. Amounts are worth what they were when they were set.",
        shown=(Shown(Place.GLANCE, 1),),
    ),
    Kpi(
        id="weighted_pipeline",
        title="Weighted pipeline",
        help="Amount of the open deals, each times the probability that it is won.",
        unit=Unit.MONEY,
        role=_ROLE,
        form=Form.STOCK,
        definition="sum over open deals at t of amount x probability, without omitted ones",
        formula=Stock(m.PIPELINE_WEIGHTED),
        secondary=(
            Stat(
                "unrated",
                Stock(m.PIPELINE_UNRATED),
                Unit.MONEY,
                "Amount of open deals of which no probability is known: it is not in the weighted pipeline.",
                label="of unknown probability",
            ),
        ),
        breakdowns=_PARTS,
        windows=NOW,
        requires=("deal_changed",),
        affected_by=_OPEN,
        dashboard=_BOARD,
        caveats="A deal's own probability holds, else that of its stage in `rules.stages`. It is no forecast.",
        shown=(Shown(Place.GLANCE, 2),),
    ),
    Kpi(
        id="pipeline_age_seconds",
        title="Age of open deals",
        help="Median time since the open deals were opened.",
        unit=Unit.SECONDS,
        role=_ROLE,
        form=Form.STOCK,
        definition="median of t - opening, of the deals open at t",
        empty="No deal open",
        formula=AgeQuantile(m.PIPELINE_SINCE, 0.5),
        secondary=(
            Stat("p90", AgeQuantile(m.PIPELINE_SINCE, 0.9), Unit.SECONDS, "Nine of ten open deals are younger."),
        ),
        breakdowns=_PARTS,
        windows=NOW,
        direction=Direction.DOWN,
        requires=("opportunity_created", "deal_changed"),
        affected_by=_OPEN[1:],
        dashboard=_BOARD,
        caveats="A deal that was re-opened is as old as its first opening. Without a known opening it has no age.",
        shown=(Shown(Place.GLANCE, 4),),
    ),
)
