"""Measures: the additive quantities that KPIs are made of.

A measure is a sum of integers over entities and time, so it merges over panes, partitions and workers and can be
taken back exactly. Three kinds exist:

* ``SUM``: a count, or a sum of milliseconds or of the smallest units of money that the rules keep.
* ``DISTRIBUTION``: samples in milliseconds, kept as a count per logarithmic bucket beside their exact sum.
* ``ROSTER``: who is in a state now, with the exact instant since when.

Dimensions are the labels a contribution carries; a breakdown uses one or two of them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

UNKNOWN = "unknown"
"""The label value where no event says which."""


class Kind(enum.Enum):
    """What a measure stores."""

    SUM = "sum"
    DISTRIBUTION = "distribution"
    ROSTER = "roster"


class MeasureUnit(enum.Enum):
    """What one integer of a measure stands for."""

    ONE = "one"
    MILLISECOND = "millisecond"
    INSTANT = "second since the epoch"
    MINOR = "smallest unit of the reporting currency that the rules keep"


@dataclass(frozen=True, eq=False)
class Measure:
    """One additive quantity; ``dims`` are the dimensions of its contributions, in order.

    ``exact``: of a distribution each sample is kept, beside the buckets.
    """

    name: str
    help: str
    dims: tuple[str, ...] = ()
    kind: Kind = Kind.SUM
    unit: MeasureUnit = MeasureUnit.ONE
    exact: bool = False

    def __repr__(self) -> str:
        return f"<measure {self.name}>"


def count(name: str, help_: str, *dims: str) -> Measure:
    """A sum of things."""
    return Measure(name, help_, dims)


def money(name: str, help_: str, *dims: str) -> Measure:
    """A sum of amounts in the reporting currency."""
    return Measure(name, help_, dims, unit=MeasureUnit.MINOR)


def duration(name: str, help_: str, *dims: str) -> Measure:
    """A sum of milliseconds."""
    return Measure(name, help_, dims, unit=MeasureUnit.MILLISECOND)


def distribution(name: str, help_: str, *dims: str, exact: bool = False) -> Measure:
    """A distribution of milliseconds."""
    return Measure(name, help_, dims, Kind.DISTRIBUTION, MeasureUnit.MILLISECOND, exact)


def entered(name: str, cohort: str, *dims: str) -> Measure:
    """A sum of the instants, in seconds since the epoch, at which the members of a cohort entered it."""
    return Measure(name, f"sum of the instants of {cohort}", dims, unit=MeasureUnit.INSTANT)


def roster(name: str, help_: str, *dims: str) -> Measure:
    """A roster of instants."""
    return Measure(name, help_, dims, Kind.ROSTER, MeasureUnit.MILLISECOND)


# Events
EVENTS_SEEN = count("events_seen", "entities with an event of the kind, at its earliest", "event")

# Leads: arrival, response, waiting
LEADS_CREATED = count("leads_created", "leads created", "source", "campaign", "location", "rep", "channel")
LEADS_QUALIFIED = count("leads_qualified", "qualified leads created", "rep", "source")
LEADS_FOLLOWED_UP = count("leads_followed_up", "qualified leads created, with a human touch by now", "rep", "source")
QUALIFIED_AT = entered("qualified_at", "leads_qualified", "rep", "source")
REQUESTS = count("requests", "requests that need an answer by a person", "source", "policy")
REQUESTS_REPEATED = count("requests_repeated", "requests that came while another waited", "source", "policy")
REQUESTS_EXEMPT = count("requests_exempt", "requests that need no answer", "source", "policy")
RESPONSE = distribution("response", "request to answer by a person, at the answer", "rep", "team", "source")
RESPONSE_BUSINESS = distribution("response_business", "the same in business hours", "rep", "team", "source")
RESPONSE_ASSIGNED = distribution("response_assigned", "last assignment to the answer", "rep", "team", "source")
RESPONSE_ASSIGNED_BUSINESS = distribution(
    "response_assigned_business", "the same in business hours", "rep", "team", "source"
)
RESPONSE_COHORT = distribution(
    "response_cohort", "request to answer by a person, at the request", "rep", "team", "source", exact=True
)
RESPONSE_CENSORED = distribution(
    "response_censored",
    "request to its close without an answer, or to a pause without an end, at the request",
    "rep",
    "team",
    "source",
    exact=True,
)
RESPONSE_BAND = count("response_band", "answers by a person per band of response time", "band", "rep", "team", "source")
RESPONSE_STATES = count("response_states", "requests in a state", "state", "rep", "team", "policy")
NEXT_RESPONSE = distribution("next_response", "reply of a lead to our next touch", "rep", "team", "channel")
EMAILS_SENT = count("emails_sent", "e-mails sent", "rep", "team")
EMAILS_BOUNCED = count("emails_bounced", "of those, not delivered", "rep", "team")
CONTACT = distribution("contact", "creation to first conversation (reply or meeting)", "rep", "team", "source")
QUALIFICATION = distribution("qualification", "creation to first qualification", "rep", "team", "source")
SLA_DUE = count("sla_due", "requests whose answer was due, at the deadline", "rep", "team", "source", "policy")
SLA_MET = count("sla_met", "requests answered by their deadline, at the deadline", "rep", "team", "source", "policy")
WAITING = count("waiting", "requests that wait for an answer, without paused ones", "rep", "team", "source")
WAITING_LATE = count("waiting_late", "requests that wait past their deadline", "rep", "team", "source")
WAITING_SINCE = roster("waiting_since", "since when requests wait, later by their pauses", "rep", "team", "source")
WAITING_ON_CLOCK = roster("waiting_on_clock", "the same on the clock of their SLA", "rep", "team", "source", "clock")
UNOWNED_WAITING = count("unowned_waiting", "requests that wait without a rep", "team", "source")
STAGE = count("stage", "leads in a lifecycle stage", "stage")

# Cohorts of leads
LEADS_CONTACTED = count("leads_contacted", "leads first contacted", "rep", "channel", "source")
CONTACTED_AT = entered("contacted_at", "leads_contacted", "rep", "channel", "source")
CONTACTED_CUSTOMERS = count("contacted_customers", "of those, customers by now", "rep", "channel", "source")
CONTACTED_POSITIVE = count("contacted_positive", "of those, with a positive reply", "rep", "channel", "source")
CONTACTED_NEGATIVE = count("contacted_negative", "of those, with a negative reply", "rep", "channel", "source")
LEADS_SQL = count("leads_sql", "leads that became SQL", "rep", "source")
SQL_AT = entered("sql_at", "leads_sql", "rep", "source")
SQL_CUSTOMERS = count("sql_customers", "of those, customers by now", "rep", "source")
LEADS_MQL = count("leads_mql", "leads that became MQL", "source", "campaign")
MQL_AT = entered("mql_at", "leads_mql", "source", "campaign")
MQL_CUSTOMERS = count("mql_customers", "of those, customers by now", "source", "campaign")
DEMO_LEADS = count("demo_leads", "leads, at their latest demo held", "rep")
DEMO_AT = entered("demo_at", "demo_leads", "rep")
DEMO_CUSTOMERS = count("demo_customers", "of those, customers by now", "rep")
CUSTOMER_LIFECYCLE = distribution("customer_lifecycle", "first known event to first purchase", "source")
LEADS_CONVERTED = count("leads_converted", "leads, at their first purchase", "source", "campaign")

# Activity
ACTIVITIES = count("activities", "human outbound activities", "kind", "rep", "team")
REPLIES = count("replies", "replies received, without auto-replies", "rep", "channel")
MEETINGS_BOOKED = count("meetings_booked", "meetings booked", "rep")
DEMOS_HELD = count("demos_held", "demos held", "rep")
PROPOSALS = count("proposals", "proposals sent", "rep")
INTERACTIONS = count("interactions", "interactions with customers", "rep")

# Deals
OPPORTUNITIES = count("opportunities", "opportunities created", "rep", "team", "source")
OPPORTUNITY_AMOUNT = money("opportunity_amount", "amount of opportunities created", "rep", "team", "source")
OPENED_AT = entered("opened_at", "opportunities", "rep", "team", "source")
OPPORTUNITIES_WON = count("opportunities_won", "opportunities created that are won by now", "rep", "team", "source")
DEALS_WON = count("deals_won", "deals won", "rep", "team", "source", "product", "kind")
DEALS_PAID = count("deals_paid", "deals won for more than nothing", "rep", "team", "kind")
DEALS_LOST = count("deals_lost", "deals lost", "rep", "team", "source", "product", "reason")
LOST_AMOUNT = money("lost_amount", "amount of deals lost", "product", "reason")
DEALS_WON_AFTER_DEMO = count("deals_won_after_demo", "deals won whose lead had a demo held", "rep")
REVENUE = money("revenue", "revenue won less credits", "rep", "team", "product", "location")
GROSS_REVENUE = money("gross_revenue", "revenue won", "rep", "team", "product", "location", "kind")
CREDITS = money("credits", "revenue given back, at the credit", "product", "reason")
SALES_CYCLE = distribution("sales_cycle", "lead created to deal won", "rep", "product")
DEALS_CLOSED = count("deals_closed", "deals closed of known leads", "outcome", "rep")
TOUCHES = count("touches", "human touches before the close", "outcome", "kind", "rep")

# The open pipeline
PIPELINE_DEALS = count("pipeline_deals", "open deals", "stage", "category", "rep", "team")
PIPELINE_VALUE = money("pipeline_value", "amount of open deals", "stage", "category", "rep", "team")
PIPELINE_WEIGHTED = money("pipeline_weighted", "the same times their probability", "stage", "category", "rep", "team")
PIPELINE_UNRATED = money(
    "pipeline_unrated", "amount of open deals of unknown probability", "stage", "category", "rep", "team"
)
STAGE_TIME = distribution(
    "stage_time", "length of a visit to a stage, at its start", "stage", "rep", "team", exact=True
)
STAGE_SINCE = roster("stage_since", "since when open deals are in their stage", "stage", "rep", "team")
STAGE_ENTERED = count("stage_entered", "deals that first came to a stage or past it", "stage", "rep", "team")
STAGE_ENTERED_AT = entered("stage_entered_at", "stage_entered", "stage", "rep", "team")
STAGE_ADVANCED = count("stage_advanced", "of those, past it or won by now", "stage", "rep", "team")
STALLED_DEALS = count("stalled_deals", "open deals past the limit of their stage", "stage", "rep", "team")
STALLED_VALUE = money("stalled_value", "their amount", "stage", "rep", "team")
PUSHES = count("pushes", "expected closes moved to a later period", "stage", "rep", "team")
PULLED_IN = count("pulled_in", "expected closes moved to an earlier period", "stage", "rep", "team")
SLIP_DUE = count("slip_due", "deals open and due in a period at its start, at its end", "rep", "team")
SLIPPED = count("slipped", "of those, open at its end", "rep", "team")
PIPELINE_DUE = money("pipeline_due", "amount of open deals due in the current period", "rep", "team")
PIPELINE_MOVED = money("pipeline_moved", "what changed in that since the period began", "change", "rep", "team")
PIPELINE_SINCE = roster("pipeline_since", "when open deals were opened", "stage", "category", "rep", "team")

# Accounts
CUSTOMERS = count("customers", "customers")
CUSTOMERS_DATED = count("customers_dated", "customers of whom it is known since when")
CUSTOMER_SINCE = duration("customer_since", "sum of the instants since when they are")
NEW_CUSTOMERS = count("new_customers", "accounts that became customers for the first time", "campaign")
CHURN_EVENTS = count("churn_events", "departures of customers", "reason")
REFERRED = count("referred", "new customers with a referrer", "referrer")
REFERRED_REVENUE = money("referred_revenue", "revenue of their first deals", "referrer")
ACCOUNTS_WITH_REVENUE = count("accounts_with_revenue", "accounts, at their latest revenue")
UPSOLD = count("upsold", "customers, at their latest upsell", "rep", "product")
CROSS_SOLD = count("cross_sold", "customers, at their latest cross-sell", "rep", "product")
UPSELL_REVENUE = money("upsell_revenue", "revenue of upsells", "rep", "product")
CROSS_SELL_REVENUE = money("cross_sell_revenue", "revenue of cross-sells", "rep", "product")
NEW_REVENUE = money("new_revenue", "revenue of deals that made a customer", "product")
EXISTING_REVENUE = money("existing_revenue", "revenue from existing customers", "product")
CONTRACTS_DUE = count("contracts_due", "contracts, at the end of their term", "product")
CONTRACTS_DUE_AT = entered("contracts_due_at", "contracts_due", "product")
CONTRACTS_RENEWED = count("contracts_renewed", "of those, renewed by now", "product")
SUBSCRIPTIONS = count("subscriptions", "subscriptions")
TRIALS_ENDED = count("trials_ended", "trials, at their end", "source")
TRIALS_ENDED_AT = entered("trials_ended_at", "trials_ended", "source")
TRIALS_CONVERTED = count("trials_converted", "of those, of accounts that have paid since", "source")

# Recurring revenue, in the currency of its label
MRR = money("mrr", "monthly recurring revenue", "currency")
MRR_SCHEDULED = money("mrr_scheduled", "recurring revenue that is announced to end", "currency")
MRR_MISMATCHES = count("mrr_mismatches", "billing facts whose earlier level is not the known one")

# Accounts at both ends of a window: the stock under the window's name is what is so in that window now
CUSTOMERS_OPENING = count("customers_opening", "customers at the start", "window")
CUSTOMERS_LOST = count("customers_lost", "of those, customers no more", "window")
CUSTOMERS_NEW = count("customers_new", "accounts that became customers for the first time", "window", "source")
CUSTOMERS_NEW_AT = entered("customers_new_at", "customers_new", "window", "source")
CUSTOMERS_NEW_LOST = count("customers_new_lost", "of those, customers no more", "window", "source")
MRR_OPENING = money("mrr_opening", "recurring revenue at the start", "window", "currency")
MRR_LOST = money("mrr_lost", "what accounts that paid at the start pay less", "window", "currency")
MRR_GAINED = money("mrr_gained", "what accounts that paid at the start pay more", "window", "currency")
MRR_MOVED = money("mrr_moved", "movements of recurring revenue", "window", "movement", "currency")
MRR_MOVED_ACCOUNTS = count("mrr_moved_accounts", "accounts with a movement", "window", "movement")

# Ledgers
SPEND = money("spend", "marketing spend", "campaign", "channel")
SPEND_SALES = money("spend_sales", "sales spend", "campaign", "channel")
PRICES = count("prices", "price observations", "product", "competitor")
PRICE_THEIRS = money("price_theirs", "sum of competitors' prices", "product", "competitor")
PRICE_OWN = money("price_own", "sum of own prices", "product", "competitor")
TICKETS = count("tickets", "support tickets opened")
USAGE = duration("usage", "time in the platform")
FEEDBACK = count("feedback", "qualitative feedback", "kind")
NPS_ANSWERS = count("nps_answers", "NPS answers")
NPS_PROMOTERS = count("nps_promoters", "NPS answers of 9 and 10")
NPS_DETRACTORS = count("nps_detractors", "NPS answers of 0 to 6")
CSAT_ANSWERS = count("csat_answers", "CSAT answers")
CSAT_SUM = count("csat_sum", "sum of CSAT scores")
CSAT_SATISFIED = count("csat_satisfied", "CSAT answers of 4 and 5")

# Reps
ENPS_ANSWERS = count("enps_answers", "eNPS answers", "team")
ENPS_PROMOTERS = count("enps_promoters", "eNPS answers of 9 and 10", "team")
ENPS_DETRACTORS = count("enps_detractors", "eNPS answers of 0 to 6", "team")
REP_TEAM = roster("rep_team", "reps that joined a team, since when", "rep", "team")
HEADCOUNT = count("headcount", "reps employed", "team")
REPS_LEFT = count("reps_left", "reps who left", "team")
QUOTA = money("quota", "quota of the current period", "rep", "team")
QUOTA_WON = money("quota_won", "revenue won in the current quota period", "rep", "team")
QUOTA_REPS = count("quota_reps", "reps with a quota in the current period", "rep", "team")
QUOTA_REACHED = count("quota_reached", "of those, at or over it", "rep", "team")
COMMISSION = money("commission", "commission earned in the current quota period", "rep", "team")

MEASURES: dict[str, Measure] = {m.name: m for m in list(globals().values()) if isinstance(m, Measure)}
"""All measures by name."""
