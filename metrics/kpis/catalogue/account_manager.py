"""KPIs of the account manager (17 to 21)."""

from __future__ import annotations

from salesgauge.metrics.kpis.formula import Before, In, Opening, Stock
from salesgauge.metrics.kpis.kpi import EVERY, GROWTH, LONG, Direction, Form, Kpi, Role, Stat, Unit
from salesgauge.metrics.measures import registry as m

_ROLE = Role.ACCOUNT_MANAGER

KPIS = (
    Kpi(
        id="referral_customers",
        number=17,
        title="Referral-based customers",
        help="New customers in the window whom somebody referred, and the revenue of their first deals.",
        unit=Unit.COUNT,
        role=_ROLE,
        form=Form.PERIOD,
        words="accounts that became customers in W with a referrer",
        formula=In(m.REFERRED),
        beside=(Stat("revenue", In(m.REFERRED_REVENUE), Unit.MONEY, "Revenue of the deals that made them customers."),),
        breakdowns=(("referrer",),),
        events=("deal_won", "deal_reopened"),
        traps="The referrer is an account id; only the largest are shown.",
    ),
    Kpi(
        id="csat_score",
        number=18,
        title="Customer satisfaction (CSAT)",
        help="Mean score from 1 to 5 of the answers in the window; beside it the share of 4 and 5.",
        unit=Unit.POINTS,
        role=_ROLE,
        form=Form.PERIOD,
        words="sum of scores / answers, in W",
        formula=In(m.CSAT_SUM) / In(m.CSAT_ANSWERS),
        beside=(Stat("satisfied_ratio", In(m.CSAT_SATISFIED) / In(m.CSAT_ANSWERS), Unit.RATIO, "Answers of 4 and 5."),),
        events=("survey_answered",),
        traps="Only those who answer are counted.",
    ),
    Kpi(
        id="customer_churn_ratio",
        number=19,
        title="Customer churn rate",
        help="Customers who left in the window, of the customers at its start.",
        unit=Unit.RATIO,
        role=_ROLE,
        form=Form.PERIOD,
        words="customers churned in W / customers at the start of W",
        formula=In(m.CUSTOMERS_CHURNED) / Opening(m.CUSTOMERS),
        windows=(*LONG, "mtd", "qtd"),
        direction=Direction.DOWN,
        events=("customer_churned", "deal_won", "deal_reopened"),
        traps="Customers won and lost within the window are in the numerator, not in the denominator.",
    ),
    Kpi(
        id="organic_growth_ratio",
        number=20,
        title="Organic growth",
        help="Growth of the revenue from existing customers against the window before.",
        unit=Unit.RATIO,
        role=_ROLE,
        form=Form.PERIOD,
        words="(revenue from existing customers in W - in the W before) / in the W before",
        formula=(In(m.EXISTING_REVENUE) - Before(m.EXISTING_REVENUE)) / Before(m.EXISTING_REVENUE),
        beside=(
            Stat(
                "existing_share",
                In(m.EXISTING_REVENUE) / (In(m.EXISTING_REVENUE) + In(m.NEW_REVENUE)),
                Unit.RATIO,
                "Share of the revenue that comes from existing customers.",
            ),
            Stat(
                "new_share",
                In(m.NEW_REVENUE) / (In(m.EXISTING_REVENUE) + In(m.NEW_REVENUE)),
                Unit.RATIO,
                "Share of the revenue that comes from new customers.",
            ),
        ),
        breakdowns=(("product",),),
        windows=GROWTH,
        events=("deal_won", "deal_reopened", "customer_churned"),
        traps="The deal that makes an account a customer is new revenue, every later one is existing.",
    ),
    Kpi(
        id="customer_outcomes",
        number=21,
        title="Customer outcomes",
        help="Revenue per customer in the window; beside it tickets, minutes in the platform and subscriptions.",
        unit=Unit.MONEY,
        role=_ROLE,
        form=Form.PERIOD,
        words="revenue in W / customers at t",
        formula=In(m.REVENUE) / Stock(m.CUSTOMERS),
        beside=(
            Stat("tickets", In(m.TICKETS) / Stock(m.CUSTOMERS), Unit.RATIO, "Support tickets per customer."),
            Stat(
                "minutes", In(m.USAGE) / 60 / Stock(m.CUSTOMERS), Unit.MINUTES, "Minutes in the platform per customer."
            ),
            Stat("subscriptions", Stock(m.SUBSCRIPTIONS) / Stock(m.CUSTOMERS), Unit.RATIO, "Per customer."),
        ),
        events=("deal_won", "support_ticket_opened", "usage_recorded", "subscription_changed", "customer_churned"),
        traps="Means per customer hide the few who use nothing. A ticket counts once, by its id.",
    ),
    Kpi(
        id="customer_feedback",
        number=21,
        title="Qualitative feedback",
        help="Testimonials, employees' notes and e-mails from customers in the window.",
        unit=Unit.COUNT,
        role=_ROLE,
        form=Form.PERIOD,
        words="feedback received in W, by kind",
        formula=In(m.FEEDBACK),
        breakdowns=(("kind",),),
        windows=EVERY,
        direction=Direction.NEUTRAL,
        events=("feedback_received",),
    ),
)
