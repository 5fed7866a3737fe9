"""Which kinds of events ever came, as far as the windows tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salesgauge.metrics.measures import registry as m
from salesgauge.schemas.events import EVENTS

if TYPE_CHECKING:
    from salesgauge.metrics.kpis.readings import View
    from salesgauge.metrics.measures.registry import Measure

_TRACES: dict[str, tuple[Measure, ...]] = {
    "activity_logged": (m.ACTIVITIES, m.INTERACTIONS, m.TOUCHES, m.RESPONSE),
    "competitor_price_observed": (m.PRICES,),
    "customer_churned": (m.CHURN_EVENTS,),
    "deal_lost": (m.DEALS_LOST,),
    "deal_won": (m.DEALS_WON,),
    "feedback_received": (m.FEEDBACK,),
    "lead_created": (m.LEADS_CREATED,),
    "meeting_booked": (m.MEETINGS_BOOKED,),
    "opportunity_created": (m.OPPORTUNITIES,),
    "proposal_sent": (m.PROPOSALS,),
    "rep_joined": (m.HEADCOUNT, m.REP_TEAM),
    "rep_left": (m.REPS_LEFT,),
    "reply_received": (m.REPLIES,),
    "spend_recorded": (m.SPEND, m.SPEND_SALES),
    "survey_answered": (m.NPS_ANSWERS, m.CSAT_ANSWERS, m.ENPS_ANSWERS),
}
"""Kind of event -> the measures in one of which each event of it leaves a trace. Others are taken to have come."""


def seen(view: View) -> frozenset[str]:
    """The kinds of events that have left a trace in the windows, and those that need not leave one."""
    families = view.sums.index.family
    return frozenset(
        name for name in EVENTS if name not in _TRACES or any(families(measure.name, ()) for measure in _TRACES[name])
    )
