"""KPIs of the business development representative (12 to 16)."""

from __future__ import annotations

from metrics import measures as m
from metrics.formula import In, Stock
from metrics.kpi import NOW, Form, Kpi, Role, Stat, Unit

_ROLE = Role.BUSINESS_DEVELOPMENT

KPIS = (
    Kpi(
        id="activities",
        number=12,
        title="Activities",
        help="Calls and e-mails made by people, and meetings scheduled, in the window.",
        unit=Unit.COUNT,
        role=_ROLE,
        form=Form.PERIOD,
        words="outbound calls and e-mails that no automation sent, and meetings booked, in W",
        formula=In(m.ACTIVITIES),
        breakdowns=(("kind",), ("rep",), ("team",), ("rep", "kind"), ("team", "kind")),
        events=("activity_logged", "meeting_booked"),
        traps="An activity belongs to the rep who did it, not to the owner of the lead.",
    ),
    Kpi(
        id="opportunities_created",
        number=13,
        title="Opportunities created",
        help="Opportunities created in the window.",
        unit=Unit.COUNT,
        role=_ROLE,
        form=Form.PERIOD,
        words="deals opened in W",
        formula=In(m.OPPORTUNITIES),
        breakdowns=(("rep",), ("team",)),
        events=("opportunity_created",),
        traps="The same deal reported again corrects it and does not count again.",
    ),
    Kpi(
        id="quota_attainment_ratio",
        number=13,
        title="Quota attainment",
        help="Revenue won in the current quota period over the quota; beside it the share of reps at or over quota.",
        unit=Unit.RATIO,
        role=_ROLE,
        form=Form.STOCK,
        words="revenue won in the quota's period by t / quota",
        formula=Stock(m.QUOTA_WON) / Stock(m.QUOTA),
        beside=(
            Stat(
                "reps_at_quota_ratio",
                Stock(m.QUOTA_REACHED) / Stock(m.QUOTA_REPS),
                Unit.RATIO,
                "Reps at or over their quota, of the reps who have one.",
            ),
        ),
        breakdowns=(("rep",), ("team",)),
        windows=NOW,
        events=("quota_set", "deal_won", "deal_reopened", "rep_joined"),
        traps="Only deals that name their rep count. No value between two quota periods.",
    ),
    Kpi(
        id="proposals_sent",
        number=14,
        title="Proposals sent",
        help="Proposals sent in the window.",
        unit=Unit.COUNT,
        role=_ROLE,
        form=Form.PERIOD,
        words="proposals sent in W",
        formula=In(m.PROPOSALS),
        breakdowns=(("rep",),),
        events=("proposal_sent",),
    ),
    Kpi(
        id="deals_won",
        number=15,
        title="Deals won",
        help="Deals won in the window.",
        unit=Unit.COUNT,
        role=_ROLE,
        form=Form.PERIOD,
        words="deals won in W that stand won",
        formula=In(m.DEALS_WON),
        breakdowns=(("rep",), ("team",)),
        events=("deal_won", "deal_reopened"),
        traps="A re-opened deal is taken back; won again, it counts where it was won again.",
    ),
    Kpi(
        id="customer_conversion_ratio",
        number=16,
        title="Customer conversion rate",
        help="Leads first contacted in the window that are customers by now.",
        unit=Unit.RATIO,
        role=_ROLE,
        form=Form.COHORT,
        words="leads first contacted in W that are customers by t / leads first contacted in W",
        formula=In(m.CONTACTED_CUSTOMERS) / In(m.LEADS_CONTACTED),
        breakdowns=(("rep",), ("channel",)),
        events=("activity_logged", "deal_won", "deal_reopened", "lifecycle_stage_changed"),
        traps="A young cohort has had no time to buy. The channel is that of the first contact.",
    ),
)
