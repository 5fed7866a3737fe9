"""KPIs of recurring revenue: retention, movements, churn, what a customer is worth. Not numbered in the original list.

What they are made of, and the rules: docs/recurring-revenue.md.
"""

from __future__ import annotations

from salesgauge.metrics.kpis.formula import (
    FX,
    Compared,
    ComparedInCurrencies,
    Expr,
    In,
    Monthly,
    Movement,
    Parameter,
    Stock,
    StockInCurrencies,
    Sum,
)
from salesgauge.metrics.kpis.kpi import (
    COMPARED,
    LONGEST,
    NOW,
    Dashboard,
    Direction,
    Form,
    Kpi,
    Role,
    Stat,
    Unit,
    age,
)
from salesgauge.metrics.measures import registry as m

_ROLE = Role.ACCOUNT_MANAGER
BILLING = "deal_won|subscription_changed"
"""What makes an account a customer."""
LEAVING = "customer_churned|subscription_changed"
"""What ends it."""
_AFFECTED = ("deal_reopened", "deal_deleted", "deal_restored", "deal_credited", "account_merged")
_NOBODY = "No customers at the start of the window"
_NO_MRR = "No recurring revenue at the start of the window"

MRR = StockInCurrencies(m.MRR)
OPENING_MRR = ComparedInCurrencies(m.MRR_OPENING)
MRR_LOST = ComparedInCurrencies(m.MRR_LOST)
MRR_GAINED = ComparedInCurrencies(m.MRR_GAINED)
OPENING_CUSTOMERS = Compared(m.CUSTOMERS_OPENING)
CUSTOMERS_LOST = Compared(m.CUSTOMERS_LOST)
CUSTOMER_CHURN = CUSTOMERS_LOST / OPENING_CUSTOMERS
MRR_PER_CUSTOMER = MRR / Stock(m.CUSTOMERS)
MONTHLY_CHURN = Monthly(CUSTOMER_CHURN)
LIFETIME_VALUE = MRR_PER_CUSTOMER * Parameter("gross_margin") / MONTHLY_CHURN
"""What a customer brings until it leaves: margin a month over the share of customers who leave in a month."""
ACQUISITION_COST = (In(m.SPEND) + In(m.SPEND_SALES)) / In(m.NEW_CUSTOMERS)


def _moved(movement: str) -> Expr:
    return ComparedInCurrencies(m.MRR_MOVED, (("movement", movement),))


_GAINS = Sum(Sum(_moved("new"), _moved("reactivation"), 1), _moved("expansion"), 1)
_LOSSES = Sum(_moved("contraction"), _moved("churn"), 1)

KPIS = (
    Kpi(
        id="mrr",
        title="Monthly recurring revenue",
        help="What all subscriptions bring in a month now, at the exchange rates of now.",
        unit=Unit.MONEY,
        role=_ROLE,
        form=Form.STOCK,
        definition="sum of the levels of all subscriptions at t",
        formula=MRR,
        windows=NOW,
        requires=(BILLING,),
        affected_by=("customer_churned", *_AFFECTED),
        caveats="Without trials, paused subscriptions, one-off sales and usage; a year's contract counts a twelfth.",
    ),
    Kpi(
        id="mrr_movement",
        title="Movements of recurring revenue",
        help="Recurring revenue gained and lost in the window, by kind of movement. Contraction and churn are losses.",
        unit=Unit.MONEY,
        role=_ROLE,
        form=Form.PERIOD,
        definition="sum of the movements of the kind in W; changes of one account within an hour are one",
        formula=Movement(m.MRR_MOVED, m.MRR),
        secondary=(Stat("accounts", Compared(m.MRR_MOVED_ACCOUNTS), Unit.COUNT, "Accounts with such a movement."),),
        breakdowns=(("movement",),),
        values=("new", "reactivation", "expansion", "contraction", "churn", FX),
        whole=False,
        windows=COMPARED,
        direction=Direction.NEUTRAL,
        requires=(BILLING,),
        affected_by=("customer_churned", *_AFFECTED),
        caveats=(
            "Start + new + reactivation + expansion - contraction - churn + fx is the level at t. Movements "
            "are at the exchange rates of the window's start; fx is what the rates have changed since."
        ),
    ),
    Kpi(
        id="gross_revenue_retention_ratio",
        title="Gross revenue retention",
        help="What the accounts that paid at the start of the window still pay of it; what they pay more is left out.",
        unit=Unit.SHARE,
        role=_ROLE,
        form=Form.RETENTION,
        definition="sum over accounts that paid at the start s of W of min(MRR at s, MRR at t) / MRR at s",
        empty=_NO_MRR,
        formula=(OPENING_MRR - MRR_LOST) / OPENING_MRR,
        windows=COMPARED,
        requires=(BILLING, LEAVING),
        affected_by=_AFFECTED,
        caveats="New customers are in neither part. Both ends are at the exchange rates of the start.",
    ),
    Kpi(
        id="net_revenue_retention_ratio",
        title="Net revenue retention",
        help="What the accounts that paid at the start of the window pay now, of what they paid then.",
        unit=Unit.SHARE,
        role=_ROLE,
        form=Form.RETENTION,
        definition="sum over accounts that paid at the start s of W of MRR at t / MRR at s",
        empty=_NO_MRR,
        formula=(OPENING_MRR - MRR_LOST + MRR_GAINED) / OPENING_MRR,
        windows=COMPARED,
        requires=(BILLING, LEAVING),
        affected_by=_AFFECTED,
        caveats="May be above 1. New customers are in neither part; one that left and came back counts as it is now.",
    ),
    Kpi(
        id="early_churn_ratio",
        title="Early churn",
        help="Customers that came in the window and are gone by now, of those that came.",
        unit=Unit.SHARE,
        role=_ROLE,
        form=Form.COHORT,
        definition="accounts that became customers in W and are none at t / accounts that became customers in W",
        empty="No new customer",
        formula=Compared(m.CUSTOMERS_NEW_LOST) / Compared(m.CUSTOMERS_NEW),
        secondary=(age(m.CUSTOMERS_NEW, m.CUSTOMERS_NEW_AT, Compared),),
        breakdowns=(("source",),),
        windows=COMPARED,
        direction=Direction.DOWN,
        requires=(BILLING, LEAVING),
        affected_by=("lead_created", *_AFFECTED),
        caveats="Customers that come back are not new. Young ones have had no time to leave.",
    ),
    Kpi(
        id="churn_events",
        title="Departures of customers",
        help="How often customers left in the window, repeated departures included.",
        unit=Unit.COUNT,
        role=_ROLE,
        form=Form.PERIOD,
        definition="departures in W",
        formula=In(m.CHURN_EVENTS),
        breakdowns=(("reason",),),
        direction=Direction.DOWN,
        requires=(BILLING, LEAVING),
        affected_by=_AFFECTED,
        caveats="Who is back within an hour has not left. The reason is the first one given until it is back.",
    ),
    Kpi(
        id="trial_conversion_ratio",
        title="Trial conversion",
        help="Trials that ended in the window and whose account has come to pay, of all that ended.",
        unit=Unit.SHARE,
        role=_ROLE,
        form=Form.COHORT,
        definition="trials ended in W of accounts that pay by t / trials ended in W",
        empty="No trial ended",
        formula=In(m.TRIALS_CONVERTED) / In(m.TRIALS_ENDED),
        secondary=(age(m.TRIALS_ENDED, m.TRIALS_ENDED_AT),),
        breakdowns=(("source",),),
        windows=COMPARED,
        requires=("subscription_changed",),
        affected_by=("customer_churned", "deal_won", "lead_created"),
        caveats="A trial ends when its status changes, at its announced end, or when the account leaves.",
    ),
    Kpi(
        id="quick_ratio",
        title="Quick ratio",
        help="Recurring revenue gained in the window per unit lost.",
        unit=Unit.QUOTIENT,
        role=_ROLE,
        form=Form.PERIOD,
        definition="(new + reactivation + expansion) / (contraction + churn), in W",
        per="gained per lost",
        empty="No recurring revenue was lost",
        formula=_GAINS / _LOSSES,
        windows=COMPARED,
        requires=(BILLING, LEAVING),
        affected_by=_AFFECTED,
        caveats="Movements of exchange rates are left out.",
    ),
    Kpi(
        id="scheduled_churn_mrr",
        title="Recurring revenue that will end",
        help="Recurring revenue of subscriptions whose end is announced and has not come yet.",
        unit=Unit.MONEY,
        role=_ROLE,
        form=Form.STOCK,
        definition="sum of the levels at t of subscriptions with a future `cancels_at`",
        formula=StockInCurrencies(m.MRR_SCHEDULED),
        windows=NOW,
        direction=Direction.DOWN,
        requires=("subscription_changed",),
        affected_by=("customer_churned",),
        caveats="Leaving counts at the announced end, not at the announcement.",
    ),
    Kpi(
        id="mrr_mismatch",
        title="Billing that contradicts itself",
        help="Billing facts in the window that state another earlier level than the one known.",
        unit=Unit.COUNT,
        role=_ROLE,
        form=Form.PERIOD,
        definition="subscription_changed in W with an `mrr_before` that is not the known level",
        formula=In(m.MRR_MISMATCHES),
        windows=COMPARED,
        direction=Direction.DOWN,
        requires=("subscription_changed",),
        affected_by=("deal_won", "customer_churned"),
        caveats="The known level is kept: the movement is the new level less it.",
    ),
    Kpi(
        id="cac_payback_months",
        title="Payback time of acquisition costs",
        help="Months until the margin of a new customer has paid what winning it cost.",
        unit=Unit.MONTHS,
        role=_ROLE,
        form=Form.PERIOD,
        definition="CAC / (new MRR per new customer x gross margin), in W",
        empty="Needs a new customer that pays every month",
        formula=ACQUISITION_COST / (_moved("new") / In(m.NEW_CUSTOMERS) * Parameter("gross_margin")),
        windows=LONGEST,
        direction=Direction.DOWN,
        requires=("spend_recorded", BILLING),
        affected_by=_AFFECTED,
        caveats="Spend and customers of one window: use one longer than the sales cycle.",
        dashboard=Dashboard.MARKETING,
    ),
)
