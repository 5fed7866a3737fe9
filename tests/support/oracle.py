"""The whole catalogue a second time: a batch computation in SQL over a list of events, for comparison.

It shares no code with `metrics/`. It reads events as JSON, keeps no state and takes nothing back: at an instant it
looks at all events until then, draws up tables (leads, touches, deals, spans as a customer ...) and counts rows with
DuckDB. Distinct things are counted as distinct things, stocks by their spans, quantiles from the samples themselves.

A result is ``{(kpi, stat, window, labels): number}``; labels are sorted pairs. Quantiles are the exact ones.
"""

# ruff: noqa: E501 - SQL reads best in its own lines

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import holidays

from tests.support import pipeline, waiting
from tests.support import recurring as batch
from tests.support.waiting import Policy, Terms

MIN, HOUR, DAY = 60_000, 3_600_000, 86_400_000
MICROS = 1_000_000
ZERO = Fraction(0)
ROLLING = {"1h": HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "90d": 90 * DAY, "365d": 365 * DAY}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LINES = "STRUCT(product VARCHAR, quantity DECIMAL(18,6), unit_price DECIMAL(18,6))[]"
_TYPES = {
    "lines": _LINES, "amount": "DECIMAL(18,6)", "mrr": "DECIMAL(18,6)", "mrr_lost": "DECIMAL(18,6)",
    "mrr_before": "DECIMAL(18,6)", "mrr_after": "DECIMAL(18,6)", "price": "DECIMAL(18,6)",
    "own_price": "DECIMAL(18,6)", "minutes": "DECIMAL(18,6)", "score": "BIGINT", "subscriptions": "BIGINT",
    "probability": "DOUBLE", "needs_response": "BOOLEAN", "qualified": "BOOLEAN", "automated": "BOOLEAN", "auto_reply": "BOOLEAN",
}  # fmt: skip
_COLUMNS = (
    "event_id", "event", "occurred_at", "recorded_at", "lead_id", "account_id", "source", "campaign_id", "location",
    "rep_id", "team", "qualified", "survivor_id", "stage", "kind", "direction", "automated", "channel", "sentiment",
    "auto_reply", "meeting_id", "outcome", "deal_id", "amount", "lines", "mrr", "referred_by", "product", "mrr_lost",
    "mrr_before", "mrr_after", "reason", "subscriptions", "respondent_id", "score", "minutes", "category", "competitor",
    "price", "own_price", "period_start", "period_end", "ticket_id", "activity_id", "request_id", "tier", "needs_response",
    "scheduled_for", "booked_by", "probability", "expected_close", "currency",
)  # fmt: skip

Labels = tuple[str, ...]
Key = tuple[str, str, str, tuple[tuple[str, str], ...]]
"""KPI, stat, window, labels."""
Table = dict[str, dict[Labels, Fraction]]
"""Window -> labels -> value."""


@dataclass(frozen=True)
class Settings:
    """The business's rules, in the oracle's own terms."""

    zone: str = "UTC"
    country: str = ""
    opens: time = time(9)
    closes: time = time(17)
    sla: int = 15 * MIN
    sla_in_business_hours: bool = False
    contact_includes_automated: bool = True
    growth_target: Fraction = Fraction(1, 10)
    stages: tuple[pipeline.Stage, ...] = ()
    tiers: tuple[tuple[Fraction, Fraction], ...] = (
        (Fraction(0), Fraction(5, 100)),
        (Fraction(1), Fraction(8, 100)),
        (Fraction(3, 2), Fraction(10, 100)),
    )


def _shifts(settings: Settings, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Opening and closing of each working day, Monday to Friday without public holidays."""
    zone = ZoneInfo(settings.zone)
    day, end = _date(first, zone) - timedelta(2), _date(last, zone) + timedelta(40)
    closed = holidays.country_holidays(settings.country) if settings.country else {}
    while day <= end:
        if day.weekday() < 5 and day not in closed:
            yield _ms(datetime.combine(day, settings.opens, zone)), _ms(datetime.combine(day, settings.closes, zone))
        day += timedelta(1)


_BUSINESS_TIME = (
    """CREATE MACRO work_between(a, b) AS (
        SELECT coalesce(sum(greatest(0, least(closes, b) - greatest(opens, a))), 0)::BIGINT
        FROM shifts WHERE closes > a AND opens < b)""",
    """CREATE MACRO work_after(a, ms) AS (
        SELECT min(opens + ms - done) FROM (
            SELECT greatest(opens, a) AS opens, closes - greatest(opens, a) AS available,
                coalesce(sum(closes - greatest(opens, a)) OVER (
                    ORDER BY closes ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::BIGINT AS done
            FROM shifts WHERE closes > a) WHERE done < ms AND ms <= done + available)""",
)


class Oracle:
    """All events, as JSON lines; `at` computes the catalogue as of an instant."""

    def __init__(self, lines: Iterable[bytes | str], settings: Settings = Settings()) -> None:
        self.settings = settings
        self.db = duckdb.connect()
        self.db.execute("SET threads = 1; SET TimeZone = 'UTC'")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "events.jsonl"
            path.write_text("\n".join(line if isinstance(line, str) else line.decode() for line in lines))
            columns = ", ".join(f"'{name}': '{_TYPES.get(name, 'VARCHAR')}'" for name in _COLUMNS)
            self.db.execute(f"""
                CREATE TABLE arrived AS
                SELECT * REPLACE (round(epoch_us(occurred_at::TIMESTAMPTZ) / 1000)::BIGINT AS occurred_at,
                                  round(epoch_us(recorded_at::TIMESTAMPTZ) / 1000)::BIGINT AS recorded_at,
                                  round(epoch_us(period_start::TIMESTAMPTZ) / 1000)::BIGINT AS period_start,
                                  round(epoch_us(period_end::TIMESTAMPTZ) / 1000)::BIGINT AS period_end,
                                  round(epoch_us(scheduled_for::TIMESTAMPTZ) / 1000)::BIGINT AS scheduled_for,
                                  round(epoch_us(expected_close::TIMESTAMPTZ) / 1000)::BIGINT AS expected_close)
                FROM read_json('{path}', format = 'newline_delimited', columns = {{{columns}}})
                QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY occurred_at) = 1""")
        first, last = self.db.execute("SELECT min(occurred_at), max(occurred_at) FROM arrived").fetchall()[0]
        shifts = list(_shifts(settings, first, last))
        self._store("shifts", "opens BIGINT, closes BIGINT", shifts)
        default = Policy("default", settings.sla, business=settings.sla_in_business_hours)
        self._terms = Terms((default,), sorted(shifts))
        self._stages = pipeline.Terms(settings.stages, settings.zone)
        for statement in _BUSINESS_TIME:
            self.db.execute(statement)

    def at(self, t: int, shape: Shape) -> dict[Key, float]:
        """The KPIs of ``shape`` at ``t`` (ms), which is to be a full hour."""
        assert t % HOUR == 0
        windows = {name: (t - span, t - 2 * span) for name, span in ROLLING.items()}
        zone = ZoneInfo(self.settings.zone)
        midnight = datetime.combine(_date(t, zone), time(), zone)
        month = midnight.replace(day=1)
        windows["today"] = (_ms(midnight), 0)
        windows["mtd"] = (_ms(month), 0)
        windows["qtd"] = (_ms(month.replace(month=(month.month - 1) // 3 * 3 + 1)), 0)
        windows["all"] = (-(2**60), -(2**61))
        rows = ", ".join(f"('{name}', {lo}, {before})" for name, (lo, before) in windows.items())
        self.db.execute(f"CREATE OR REPLACE TABLE windows AS SELECT * FROM (VALUES {rows}) w(name, lo, before)")
        self.db.execute(f"CREATE OR REPLACE MACRO t() AS {t}::BIGINT")
        accounts: dict[str, batch.Account] = {}
        for statement in _tables(self.settings):
            if statement is _RESPONSES:
                self._draw_up_responses(t)
            elif statement is ACCOUNTS:
                accounts = self._draw_up_accounts()
            elif statement is _PIPELINE:
                self._draw_up_pipeline(t)
            else:
                self.db.execute(statement)
        self._draw_up_commission(t)
        counter = _Counter(self.db, t, {name: lo for name, (lo, _) in windows.items()})
        counter.draw_up_figures(accounts, self.settings.zone)
        return dict(_readings(counter, shape))

    def _draw_up_responses(self, t: int) -> None:
        """Each lead's requests as they stand at ``t`` (:mod:`.waiting`)."""
        closes: dict[str, list[tuple[int, str]]] = {}
        for lead, ts, event in self.db.execute("SELECT lead, ts, event FROM deals WHERE lead IS NOT NULL").fetchall():
            closes.setdefault(lead, []).append((ts, event.removeprefix("deal_")))
        found = self.db.execute("SELECT *, occurred_at AS ts FROM ev WHERE lead IS NOT NULL")
        names = [column[0] for column in found.description or ()]
        by_lead: dict[str, list[dict[str, object]]] = {}
        for row in found.fetchall():
            event = dict(zip(names, row, strict=True))
            by_lead.setdefault(str(event["lead"]), []).append(event)
        cases, repeats, replies = [], [], []
        for lead, events in by_lead.items():
            for case in waiting.cases(events, closes.get(lead, ()), self._terms, t):
                cases.append((
                    lead, case.asked, case.source, case.policy.name, case.state, case.rep, case.team, case.answered,
                    case.waited, case.worked, case.on_clock, case.since_assigned, case.worked_since_assigned,
                    case.deadline, case.met, case.due_rep, case.due_team,
                ))  # fmt: skip
                repeats += [(ts, case.source or "unknown", case.policy.name) for ts in case.repeats]
            replies += [(lead, *row) for row in waiting.next_responses(events, t)]
        self._store(
            "cases",
            "lead VARCHAR, asked BIGINT, asked_source VARCHAR, policy VARCHAR, state VARCHAR, drep VARCHAR, dteam VARCHAR, "
            "answered BIGINT, waited BIGINT, worked BIGINT, on_clock BIGINT, since_assigned BIGINT, "
            "worked_since_assigned BIGINT, deadline BIGINT, met BOOLEAN, due_rep VARCHAR, due_team VARCHAR",
            cases,
        )
        self._store("repeats", "ts BIGINT, source VARCHAR, policy VARCHAR", repeats)
        self._store(
            "reply_answers", "lead VARCHAR, ts BIGINT, ms BIGINT, drep VARCHAR, dteam VARCHAR, said VARCHAR", replies
        )

    def _draw_up_pipeline(self, t: int) -> None:  # noqa: C901 - a table a line
        """The deals that are open at ``t`` (:mod:`.pipeline`)."""
        owners: dict[str, list[tuple[int, str, str]]] = {}
        for lead, *claim in self.db.execute("SELECT lead, since, rep, team FROM ownership ORDER BY since").fetchall():
            owners.setdefault(lead, []).append(tuple(claim))
        open_now, visits, funnel, losses, pushes, slips, due, moves = ([] for _ in range(8))
        touched = self.db.execute(
            "SELECT lead, ts FROM touches WHERE kind <> 'note' UNION SELECT lead, ts FROM held_meetings"
        )
        touches: dict[str, list[int]] = {}
        for lead, at in touched.fetchall():
            touches.setdefault(lead, []).append(at)
        period = self._stages.period(t)[0]
        for lead, events in self._by_deal():
            deal = pipeline.Deal(events, owners.get(lead, ()), self._stages, touches.get(lead, ()))
            now, lost = deal.at(t), deal.lost()
            if now is not None:
                weighted = None if now.probability is None else now.amount * now.probability
                open_now.append((
                    lead, t, now.rep, now.team, now.stage, now.category, now.opened, *map(
                        _micros, (now.amount, weighted or ZERO, now.amount if weighted is None else ZERO)), deal.stalled(t),
                ))  # fmt: skip
            for visit in deal.visits():
                ms = (visit.until or t) - visit.since
                visits.append((lead, visit.since, visit.rep, visit.team, visit.stage, ms, visit.until is None))
            funnel += [(lead, at, rep, team, stage, passed) for stage, at, passed, rep, team in deal.funnel()]
            for at, later, then in deal.pushes():
                pushes.append((lead, at, then.rep, then.team, then.stage, later))
            for at, slipped, then in deal.slips():
                slips.append((lead, at, then.rep, then.team, slipped))
            if (now_due := deal.due(t, period)) is not None:
                due.append((lead, t, now_due.rep, now_due.team, _micros(now_due.amount)))
            for change, amount, whose in deal.moves(t):
                moves.append((lead, t, whose.rep, whose.team, change, _micros(amount)))
            if lost is not None:
                losses.append((events[0]["deal_id"], _micros(lost[1])))
        of_deal = "lead VARCHAR, ts BIGINT, drep VARCHAR, dteam VARCHAR, stage VARCHAR"
        self._store(
            "open_now",
            f"{of_deal}, category VARCHAR, opened BIGINT, amount BIGINT, weighted BIGINT, unrated BIGINT, stalled BOOLEAN",
            open_now,
        )
        self._store("visits", f"{of_deal}, ms BIGINT, still BOOLEAN", visits)
        self._store("pushed", f"{of_deal}, later BOOLEAN", pushes)
        owned = "lead VARCHAR, ts BIGINT, drep VARCHAR, dteam VARCHAR"
        self._store("slips", f"{owned}, slipped BOOLEAN", slips)
        self._store("due_now", f"{owned}, value BIGINT", due)
        self._store("moved", f"{owned}, change VARCHAR, value BIGINT", moves)
        self._store("funnel", f"{of_deal}, passed BOOLEAN", funnel)
        self._store("lost_amounts", "deal_id VARCHAR, value BIGINT", losses)

    def _by_deal(self) -> Iterator[tuple[str, list[dict[str, object]]]]:
        """What is said of each deal, and its lead."""
        found = self.db.execute("""
            SELECT n.lead, e.* FROM ev e JOIN named n USING (deal_id) WHERE event <> 'proposal_sent' ORDER BY deal_id""")
        names = [column[0] for column in found.description or ()]
        by_deal: dict[object, list[dict[str, object]]] = {}
        for row in found.fetchall():
            event = {k: v for k, v in zip(names, row, strict=True) if v is not None}
            event |= {"at": event["occurred_at"]}
            by_deal.setdefault(event["deal_id"], []).append(event)
        yield from ((str(events[0].get("lead")), events) for events in by_deal.values())

    def _draw_up_accounts(self) -> dict[str, batch.Account]:
        """What accounts paid and when they were customers, by the plain computation of recurring revenue."""
        found = self.db.execute("""
            SELECT 'deal_won', deal_id, account, ts, mrr, kind, NULL, NULL, NULL FROM won WHERE account IS NOT NULL
            UNION ALL SELECT event, event_id, account_id, occurred_at, NULL, NULL, micros(mrr_before), micros(mrr_after),
                micros(mrr_lost) FROM ev WHERE event IN ('subscription_changed', 'customer_churned')""").fetchall()
        facts = [
            {
                "event": event, "id": f"{event} {name}", "deal": name, "account": account, "at": at, "recorded": at,
                "order": _hash(name), "mrr": _major(mrr), "kind": kind, "before": _major(before), "after": _major(after),
                "mrr_lost": _major(lost), "delta": None, "status": "", "subscription": "", "cancels_at": 0,
            }
            for event, name, account, at, mrr, kind, before, after, lost in found
        ]  # fmt: skip
        accounts = batch.read(facts)
        first: dict[tuple[str, int], str] = {}
        for fact in sorted(facts, key=lambda fact: str(fact["deal"]), reverse=True):
            if fact["event"] == "deal_won":
                first[fact["account"], fact["at"]] = fact["deal"]
        spans = [
            (name, since, until, first.get((name, since)) if since > 0 else None, number == 0)
            for name, account in accounts.items()
            for number, (since, until) in enumerate(account.stays())
        ]
        columns = "account VARCHAR, since BIGINT, until BIGINT, deal_id VARCHAR, is_first BOOLEAN"
        self._store("customer_spans", columns, spans)
        moves = [(at, round(change * MICROS)) for account in accounts.values() for at, _, change in account.paid]
        self._store("mrr_moves", "ts BIGINT, value BIGINT", moves)
        trials = [(at, "unknown") for account in accounts.values() for at in account.trials]
        self._store("trials", "ts BIGINT, source VARCHAR", trials)
        return accounts

    def _draw_up_commission(self, t: int) -> None:
        quotas = self.db.execute("SELECT rep, team, target, won FROM current_quotas").fetchall()
        rows = []
        for rep, team, target, won in quotas:
            earned = Fraction(0)
            bounds = [attainment * target for attainment, _ in self.settings.tiers]
            for (_, rate), low, high in zip(self.settings.tiers, bounds, [*bounds[1:], None], strict=True):
                upper = Fraction(won) if high is None else min(Fraction(won), high)
                earned += rate * max(Fraction(0), upper - low)
            rows.append((rep, team, t, round(earned)))
        self._store("commission", "rep VARCHAR, team VARCHAR, ts BIGINT, value BIGINT", rows)

    def _store(self, name: str, columns: str, rows: Sequence[Sequence[object]]) -> None:
        self.db.execute(f"CREATE OR REPLACE TABLE {name} ({columns})")
        if rows:
            self.db.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def _hash(event_id: str) -> int:
    """Of facts of one instant, the one whose id has the smaller hash comes first."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=8).digest(), "big")


def _major(micros: int | None) -> Fraction | None:
    return None if micros is None else Fraction(micros, MICROS)


def _micros(amount: Fraction) -> int:
    return round(amount * MICROS)


ACCOUNTS = "accounts"
"""Stands for the step that draws up accounts, among the statements."""


_RESPONSES = "-- the requests of each lead"
_PIPELINE = "-- the open deals"


def owned(query: str) -> str:
    """Add (orep, oteam): who owned the lead at the row's instant; before the first owner, the first."""
    return f"""(
        SELECT x.*, coalesce(o.rep, f.rep, '') AS orep, coalesce(o.team, f.team, '') AS oteam
        FROM ({query}) x
        ASOF LEFT JOIN ownership o ON o.lead = x.lead AND o.since <= x.ts
        LEFT JOIN ownership f ON f.lead = x.lead AND f.place = 1)"""


def owned_then(query: str) -> str:
    """Add (orep, oteam): who owned the lead at the row's instant; before its record was made, whose it was made."""
    return f"""(
        SELECT x.* EXCLUDE own_at, coalesce(o.rep, '') AS orep, coalesce(o.team, '') AS oteam
        FROM (SELECT y.*, greatest(y.ts, coalesce(c.ts, y.ts)) AS own_at
              FROM ({query}) y LEFT JOIN created c ON c.lead = y.lead) x
        ASOF LEFT JOIN ownership o ON o.lead = x.lead AND o.since <= x.own_at)"""


def teamed(query: str, rep: str, said: str, owners: Callable[[str], str] = owned) -> str:
    """Add the rep's team: what was said, else what the lead knows of that rep, else what the rep joined last."""
    return f"""(
        SELECT y.* EXCLUDE (orep, oteam), known({rep}) AS rep, known(coalesce(nullif({said}, ''), k.team, j.team)) AS team,
            coalesce(c.source, 'unknown') AS source, coalesce(c.campaign, 'unknown') AS campaign,
            coalesce(c.location, 'unknown') AS lead_location, c.ts AS created_at, orep
        FROM {owners(query)} y
        LEFT JOIN rep_teams k ON k.lead = y.lead AND k.rep = {rep}
        LEFT JOIN joined_teams j ON j.rep = {rep}
        LEFT JOIN created c ON c.lead = y.lead)"""


def doer(query: str) -> str:
    """Rows with (drep, dteam) who did it; else it is the owner's."""
    return teamed(query, "coalesce(nullif(drep, ''), orep)", "dteam")


def dealt(query: str) -> str:
    """Rows with (drep, dteam) of deals; else they are the owner's then."""
    return teamed(query, "coalesce(nullif(drep, ''), orep)", "dteam", owned_then)


def credited(query: str) -> str:
    """Rows that belong to the owner then; where there was none, to (drep, dteam) who did it."""
    rep, team = (
        "CASE WHEN orep = '' THEN drep ELSE orep END",
        "CASE WHEN orep = '' THEN coalesce(nullif(oteam, ''), dteam) ELSE oteam END",
    )
    return teamed(query, rep, team, owned_then)


def owner(query: str) -> str:
    """Rows that belong to the owner at that instant."""
    return teamed(query, "orep", "oteam")


def of_cases(columns: str, where: str, rep: str = "drep", team: str = "dteam") -> str:
    """Requests with the team of a rep and their own source."""
    cases = teamed(f"SELECT *, {columns} FROM cases WHERE {where}", rep, team)
    return f"(SELECT * REPLACE (known(asked_source) AS source) FROM {cases})"


def _macros() -> Iterator[str]:
    """Macros."""
    yield "CREATE OR REPLACE MACRO micros(amount) AS round_even(amount::DECIMAL(38,12) * 1000000, 0)::BIGINT"
    yield "CREATE OR REPLACE MACRO known(text) AS coalesce(nullif(text, ''), 'unknown')"


def _identities() -> Iterator[str]:
    """Identities: a merged lead is its survivor, through chains."""
    yield """
        CREATE OR REPLACE TABLE ident AS
        WITH RECURSIVE merges AS (
            SELECT lead_id, arg_max(survivor_id, occurred_at) AS survivor FROM arrived
            WHERE event = 'lead_merged' AND occurred_at <= t() GROUP BY 1),
        walk(lead, now, step) AS (
            SELECT lead_id, survivor, 1 FROM merges
            UNION ALL SELECT lead, survivor, step + 1 FROM walk JOIN merges ON now = lead_id WHERE step < 50)
        SELECT lead, arg_max(now, step) AS now FROM walk GROUP BY 1"""
    yield """
        CREATE OR REPLACE TABLE ev AS
        SELECT e.*, coalesce(i.now, e.lead_id) AS lead, coalesce(recorded_at, occurred_at) AS rec
        FROM arrived e LEFT JOIN ident i ON i.lead = e.lead_id WHERE occurred_at <= t()"""
    yield """
        CREATE OR REPLACE TABLE ownership AS
        WITH claims AS (
            SELECT lead, occurred_at AS since, coalesce(rep_id, '') AS rep, team, event, min(occurred_at) OVER (PARTITION BY lead) AS earliest
            FROM ev WHERE event = 'lead_assigned' OR (event = 'lead_created' AND concat(rep_id, team) <> ''))
        SELECT lead, since, rep, coalesce(team, '') AS team,
            row_number() OVER (PARTITION BY lead ORDER BY since) AS place
        FROM claims WHERE event = 'lead_assigned' OR since = earliest"""
    yield """
        CREATE OR REPLACE TABLE rep_teams AS
        SELECT lead, rep, arg_max(team, since) AS team FROM ownership WHERE team <> '' GROUP BY 1, 2"""
    yield """
        CREATE OR REPLACE TABLE joined_teams AS
        SELECT rep_id AS rep, arg_max(team, (occurred_at, team)) AS team FROM ev
        WHERE event = 'rep_joined' AND team <> '' GROUP BY 1"""
    yield """
        CREATE OR REPLACE TABLE created AS
        SELECT lead, min(occurred_at) AS ts, known(arg_min(coalesce(source, ''), occurred_at)) AS source,
            known(arg_min(coalesce(campaign_id, ''), occurred_at)) AS campaign,
            known(arg_min(coalesce(location, ''), occurred_at)) AS location,
            arg_min({'q': qualified}, occurred_at).q AS qualified
        FROM ev WHERE event = 'lead_created' GROUP BY 1"""

    yield "CREATE OR REPLACE TABLE new_leads AS SELECT *, lead_location AS location FROM " + owner(
        "SELECT lead, ts, source AS channel FROM created"
    )


def _deals() -> Iterator[str]:
    """Deals: the close that stands is the one learnt last, unless a re-opening was learnt after it."""
    yield """
        CREATE OR REPLACE TABLE closes AS
        WITH latest AS (
            SELECT * FROM ev WHERE event IN ('deal_won', 'deal_lost', 'deal_reopened')
            QUALIFY row_number() OVER (PARTITION BY deal_id ORDER BY rec DESC, occurred_at DESC, event DESC) = 1)
        SELECT *, occurred_at AS ts,
            coalesce(list_sum([micros(l.quantity * l.unit_price) for l in lines]), 0) < 0 AS is_credit
        FROM latest WHERE event <> 'deal_reopened'"""
    yield """
        CREATE OR REPLACE TABLE named AS
        SELECT deal_id, any_value(nullif(account_id, '')) AS account, any_value(lead) AS lead FROM ev
        WHERE deal_id IS NOT NULL AND event <> 'proposal_sent' GROUP BY 1"""
    yield """
        CREATE OR REPLACE TABLE opened AS
        SELECT lead, deal_id, min(occurred_at) AS ts, arg_max(coalesce(rep_id, ''), rec) AS drep,
            arg_max(coalesce(team, ''), rec) AS dteam, arg_max(micros(coalesce(amount, 0)), rec) AS amount,
            arg_max(account_id, rec) AS account
        FROM ev WHERE event = 'opportunity_created' GROUP BY 1, 2"""
    yield "CREATE OR REPLACE TABLE deals AS SELECT * FROM " + dealt("""
        SELECT c.deal_id, n.lead, c.ts, c.event, c.is_credit,
            coalesce(nullif(c.rep_id, ''), p.rep_id) AS drep,
            coalesce(nullif(c.team, ''), CASE WHEN coalesce(c.rep_id, '') = '' THEN p.team END) AS dteam, c.kind, c.location, c.product AS lost_product, c.reason AS lost_reason, c.lines, micros(c.mrr) AS mrr, c.referred_by,
            coalesce(n.account, n.lead) AS account,
            CASE WHEN c.event = 'deal_won' AND len(c.lines) > 0 THEN list_sort(list_distinct([l.product for l in c.lines]))
                 WHEN c.event = 'deal_lost' AND c.product <> '' THEN [c.product] ELSE ['unknown'] END AS products
        FROM closes c JOIN named n USING (deal_id)
        ASOF LEFT JOIN (FROM ev WHERE event = 'opportunity_created' AND rep_id <> '') p
            ON p.deal_id = c.deal_id AND p.occurred_at <= c.ts""")
    yield "CREATE OR REPLACE TABLE won AS SELECT *, rep AS named_rep FROM deals WHERE event = 'deal_won' AND NOT is_credit"
    yield "CREATE OR REPLACE TABLE lost AS SELECT * FROM deals WHERE event = 'deal_lost'"
    yield "CREATE OR REPLACE TABLE won_products AS SELECT *, unnest(products) AS product FROM won"
    yield "CREATE OR REPLACE TABLE lost_products AS SELECT *, unnest(products) AS product FROM lost"
    yield """
        CREATE OR REPLACE TABLE revenue AS
        SELECT deal_id, account, ts, rep, team, kind, is_credit, 'unknown' AS reason, rep AS named_rep, line.product AS product, referred_by,
            coalesce(nullif(location, ''), lead_location) AS location, micros(line.quantity * line.unit_price) AS value
        FROM (SELECT *, unnest(lines) AS line FROM deals WHERE event = 'deal_won' AND len(lines) > 0)"""
    yield "CREATE OR REPLACE TABLE opportunities AS SELECT * FROM " + dealt("""
        SELECT o.*, EXISTS (FROM won w WHERE w.deal_id = o.deal_id AND w.lead = o.lead) AS is_won FROM opened o""")


def _pipeline() -> Iterator[str]:
    """The open pipeline."""
    yield _PIPELINE
    yield (
        "CREATE OR REPLACE TABLE open_deals AS SELECT * REPLACE (known(stage) AS stage, known(category) AS category), "
        "t() - opened AS ms FROM "
    ) + teamed("SELECT * FROM open_now", "drep", "dteam")
    for name, still in (("ended_visits", "false"), ("lasting_visits", "true")):
        yield f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM " + teamed(
            f"SELECT * FROM visits WHERE still = {still}", "drep", "dteam"
        )
    yield "CREATE OR REPLACE TABLE stalled AS SELECT * FROM open_deals WHERE stalled"
    for name, table in (
        ("stage_entries", "funnel"),
        ("expected_closes", "slips"),
        ("due_deals", "due_now"),
        ("moved_amounts", "moved"),
    ):
        yield f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM " + teamed(f"SELECT * FROM {table}", "drep", "dteam")
    yield "CREATE OR REPLACE TABLE pushes AS SELECT * REPLACE (known(stage) AS stage) FROM " + teamed(
        "SELECT * FROM pushed", "drep", "dteam"
    )
    yield "CREATE OR REPLACE TABLE closed_all AS SELECT ts FROM won UNION ALL SELECT ts FROM lost"
    yield """
        CREATE OR REPLACE TABLE losses AS
        SELECT l.*, l.products[1] AS product, known(l.lost_reason) AS reason, a.value
        FROM lost l JOIN lost_amounts a USING (deal_id)"""


def _customers() -> Iterator[str]:
    """Who is a customer: leads by a standing deal or their latest stage, accounts by their spans."""
    yield """
        CREATE OR REPLACE TABLE stages AS
        SELECT lead, arg_max(stage, occurred_at) AS stage FROM ev WHERE event = 'lifecycle_stage_changed' GROUP BY 1"""
    yield """
        CREATE OR REPLACE TABLE customer_leads AS
        SELECT lead FROM won WHERE lead IS NOT NULL
        UNION SELECT lead FROM stages WHERE stage IN ('customer', 'evangelist')"""
    yield ACCOUNTS
    yield "CREATE OR REPLACE TABLE contracts (ts BIGINT, product VARCHAR, renewed BOOLEAN)"
    yield """
        CREATE OR REPLACE TABLE account_deals AS
        SELECT w.account, w.ts, w.deal_id, w.mrr, s.deal_id IS NOT NULL AS is_entry
        FROM won w LEFT JOIN customer_spans s ON s.deal_id = w.deal_id"""
    yield """
        CREATE OR REPLACE TABLE entries AS
        SELECT s.account, s.since AS ts, coalesce(w.campaign, 'unknown') AS campaign, w.referred_by AS referrer,
            (SELECT sum(value) FROM revenue r WHERE r.deal_id = s.deal_id) AS revenue
        FROM customer_spans s LEFT JOIN won w ON w.deal_id = s.deal_id WHERE s.since > 0 AND s.is_first"""
    yield "CREATE OR REPLACE TABLE dated_spans AS SELECT * FROM customer_spans WHERE since > 0"
    yield """
        CREATE OR REPLACE TABLE churned AS
        SELECT account, until AS ts, known((SELECT arg_min(reason, occurred_at) FROM ev
            WHERE event = 'customer_churned' AND account_id = account AND reason <> '' AND occurred_at >= until
                AND occurred_at < coalesce(next, t() + 1))) AS reason
        FROM (SELECT *, lead(since) OVER (PARTITION BY account ORDER BY since) AS next FROM customer_spans)
        WHERE until IS NOT NULL"""
    yield """
        CREATE OR REPLACE TABLE account_revenue AS
        SELECT r.*, d.is_entry FROM revenue r JOIN account_deals d USING (deal_id)"""
    yield """
        CREATE OR REPLACE TABLE more_sold AS
        SELECT account, ts, kind, known(named_rep) AS rep, deal_id, unnest(products) AS product FROM won
        WHERE kind IN ('upsell', 'cross_sell')"""
    yield """
        CREATE OR REPLACE TABLE more_revenue AS
        SELECT r.ts, r.kind, known(r.named_rep) AS rep, r.product, r.value FROM revenue r JOIN won USING (deal_id)
        WHERE r.kind IN ('upsell', 'cross_sell')"""
    yield """
        CREATE OR REPLACE TABLE subscription_spans AS
        WITH steps AS (
            SELECT account_id AS account, occurred_at AS ts, subscriptions AS n FROM ev
            WHERE event = 'subscription_changed' AND subscriptions IS NOT NULL
            UNION ALL SELECT account_id, occurred_at, 0 FROM ev WHERE event = 'customer_churned')
        SELECT account, ts AS since, n, lead(ts) OVER (PARTITION BY account ORDER BY ts, n) AS until FROM steps"""


def _response_tables() -> Iterator[str]:
    """Responses."""
    yield """
        CREATE OR REPLACE TABLE touches AS
        SELECT lead, occurred_at AS ts, coalesce(rep_id, '') AS drep, coalesce(team, '') AS dteam, kind FROM ev
        WHERE event = 'activity_logged' AND lead IS NOT NULL AND direction = 'outbound' AND NOT automated"""
    yield _RESPONSES

    yield "CREATE OR REPLACE TABLE requests AS SELECT * FROM " + of_cases("asked AS ts", "state <> 'exempt'")
    yield "CREATE OR REPLACE TABLE exempt AS SELECT * FROM " + of_cases("asked AS ts", "state = 'exempt'")
    yield "CREATE OR REPLACE TABLE states AS SELECT * FROM " + of_cases("t() AS ts", "true")
    yield "CREATE OR REPLACE TABLE responses AS SELECT * FROM " + of_cases(
        "answered AS ts, asked AS cohort_at, waited AS ms, worked AS business_ms", "state = 'answered'"
    )
    yield """
        CREATE OR REPLACE TABLE assigned AS
        SELECT * REPLACE (since_assigned AS ms, worked_since_assigned AS business_ms) FROM responses
        WHERE since_assigned IS NOT NULL"""
    yield """
        CREATE OR REPLACE TABLE bands AS
        SELECT *, CASE WHEN ms <= 300000 THEN '0-5m' WHEN ms <= 900000 THEN '5-15m' WHEN ms <= 3600000 THEN '15-60m'
            ELSE '60m+' END AS band FROM responses"""
    yield "CREATE OR REPLACE TABLE due AS SELECT * FROM " + of_cases(
        "deadline AS ts", "deadline <= t() AND state <> 'exempt'", "due_rep", "due_team"
    )
    yield "CREATE OR REPLACE TABLE waiting AS SELECT * FROM " + of_cases(
        "t() AS ts", "state IN ('waiting', 'at_risk', 'late')"
    )
    yield "CREATE OR REPLACE TABLE unowned AS SELECT * EXCLUDE (rep) FROM waiting WHERE rep = 'unowned'"
    yield "CREATE OR REPLACE TABLE closed_unanswered AS SELECT * FROM " + of_cases(
        "asked AS ts, waited AS ms", "state = 'closed'"
    )
    yield "CREATE OR REPLACE TABLE next_responses AS SELECT *, known(said) AS channel FROM " + teamed(
        "SELECT * FROM reply_answers", "drep", "dteam"
    )
    yield "CREATE OR REPLACE TABLE emails AS SELECT * FROM " + doer("""
        SELECT lead, occurred_at AS ts, coalesce(rep_id, '') AS drep, coalesce(team, '') AS dteam,
            coalesce(activity_id, event_id) IN (SELECT activity_id FROM ev WHERE event = 'email_bounced') AS bounced
        FROM ev WHERE event = 'activity_logged' AND lead IS NOT NULL AND direction = 'outbound' AND kind = 'email'""")


def _meetings() -> Iterator[str]:
    """Meetings."""
    yield """
        CREATE OR REPLACE TABLE bookings AS
        SELECT lead, meeting_id, min(occurred_at) AS ts, arg_min(kind, occurred_at) AS kind,
            arg_min(coalesce(rep_id, ''), occurred_at) AS drep, arg_min(coalesce(team, ''), occurred_at) AS dteam
        FROM ev WHERE event = 'meeting_booked' GROUP BY 1, 2"""
    yield """
        CREATE OR REPLACE TABLE held_meetings AS
        SELECT e.lead, e.occurred_at AS ts, coalesce(nullif(e.kind, ''), b.kind) AS kind,
            coalesce(nullif(e.rep_id, ''), b.drep, '') AS drep, '' AS dteam
        FROM (FROM ev WHERE event = 'meeting_completed'
              QUALIFY row_number() OVER (PARTITION BY lead, meeting_id ORDER BY rec DESC) = 1) e
        LEFT JOIN bookings b USING (lead, meeting_id) WHERE e.outcome = 'held'"""
    yield "CREATE OR REPLACE TABLE demos AS SELECT * FROM " + doer("SELECT * FROM held_meetings WHERE kind = 'demo'")
    yield (
        "CREATE OR REPLACE TABLE conversations AS SELECT *, ts - created_at AS ms FROM "
        + credited("""
        SELECT lead, min(ts) AS ts, arg_min(drep, ts) AS drep, arg_min(dteam, ts) AS dteam FROM (
            SELECT lead, occurred_at AS ts, coalesce(rep_id, '') AS drep, coalesce(team, '') AS dteam FROM ev
                WHERE event = 'reply_received' AND NOT auto_reply
            UNION ALL SELECT lead, ts, drep, dteam FROM held_meetings
            UNION ALL SELECT lead, occurred_at, coalesce(rep_id, ''), coalesce(team, '') FROM ev
                WHERE event = 'activity_logged' AND lead IS NOT NULL AND kind IN ('meeting', 'video')
                AND NOT automated) GROUP BY 1""")
        + (" WHERE ts >= created_at")
    )
    yield """
        CREATE OR REPLACE TABLE evidence AS
        SELECT lead, ts FROM touches WHERE kind <> 'note' UNION ALL SELECT lead, ts FROM held_meetings
        UNION ALL SELECT lead, occurred_at FROM ev WHERE event = 'proposal_sent'
            OR (event = 'meeting_booked' AND booked_by IS DISTINCT FROM 'lead')"""


def _stages(settings: Settings) -> Iterator[str]:
    """Stages."""
    yield """
        CREATE OR REPLACE TABLE first_stages AS
        SELECT lead, min(occurred_at) FILTER (stage = 'mql') AS mql, min(occurred_at) FILTER (stage = 'sql') AS sql,
            min(occurred_at) FILTER (stage IN ('mql', 'sql', 'opportunity', 'customer', 'evangelist')) AS qualified
        FROM ev WHERE event = 'lifecycle_stage_changed' GROUP BY 1"""
    yield (
        "CREATE OR REPLACE TABLE qualifications AS SELECT *, ts - created_at AS ms FROM "
        + credited("""
        SELECT c.lead, '' AS drep, '' AS dteam, CASE WHEN c.qualified THEN c.ts ELSE f.qualified END AS ts
        FROM created c LEFT JOIN first_stages f USING (lead)
        WHERE c.qualified OR f.qualified IS NOT NULL""")
        + " WHERE ts >= created_at"
    )
    yield "CREATE OR REPLACE TABLE qualified AS SELECT * FROM " + owner("""
        SELECT c.lead, c.ts, EXISTS (FROM evidence a WHERE a.lead = c.lead AND a.ts >= c.ts - 1800000)::INT AS followed
        FROM created c LEFT JOIN first_stages f USING (lead)
        WHERE CASE WHEN c.qualified IS NULL THEN f.qualified IS NOT NULL ELSE c.qualified END""")
    yield """
        CREATE OR REPLACE TABLE lifecycle AS
        SELECT coalesce(s.stage, 'lead') AS stage, t() AS ts FROM created c FULL JOIN stages s USING (lead)"""
    yield """
        CREATE OR REPLACE TABLE replies AS SELECT * FROM """ + doer("""
        SELECT lead, occurred_at AS ts, coalesce(rep_id, '') AS drep, coalesce(team, '') AS dteam, sentiment
        FROM ev WHERE event = 'reply_received' AND NOT auto_reply""")
    is_customer = "(x.lead IN (FROM customer_leads))::INT AS customer"
    for stage in ("sql", "mql"):
        yield (
            f"CREATE OR REPLACE TABLE became_{stage} AS SELECT x.*, {is_customer} FROM "
            + owner(f"SELECT lead, {stage} AS ts FROM first_stages WHERE {stage} IS NOT NULL")
            + " x"
        )
    automated = "true" if settings.contact_includes_automated else "NOT automated"
    yield (
        f"""CREATE OR REPLACE TABLE contacted AS SELECT x.*, {is_customer}, cohort_kind AS channel,
        EXISTS (FROM replies r WHERE r.lead = x.lead AND r.ts >= x.ts AND r.sentiment = 'positive')::INT AS positive,
        EXISTS (FROM replies r WHERE r.lead = x.lead AND r.ts >= x.ts AND r.sentiment = 'negative')::INT AS negative
        FROM """
        + teamed(
            f"""SELECT lead, min(occurred_at) AS ts, arg_min(kind, occurred_at) AS cohort_kind,
            arg_min(coalesce(rep_id, ''), occurred_at) AS drep FROM ev
            WHERE event = 'activity_logged' AND lead IS NOT NULL AND direction = 'outbound' AND {automated}
            GROUP BY 1""",
            "coalesce(nullif(orep, ''), drep)",
            "oteam",
        )
        + " x"
    )


def _activities() -> Iterator[str]:
    """What people did."""
    yield (
        """CREATE OR REPLACE TABLE proposals AS SELECT * FROM """
        + doer("""
        SELECT lead, occurred_at AS ts, coalesce(rep_id, '') AS drep, '' AS dteam FROM ev WHERE event = 'proposal_sent'""")
    )
    yield """CREATE OR REPLACE TABLE activities AS SELECT * FROM """ + doer("""
        SELECT lead, occurred_at AS ts, coalesce(rep_id, '') AS drep, coalesce(team, '') AS dteam, kind FROM ev
        WHERE event = 'activity_logged' AND direction = 'outbound' AND NOT automated AND kind IN ('call', 'email')
        UNION ALL SELECT lead, ts, drep, dteam, 'meeting' FROM bookings""")
    yield "CREATE OR REPLACE TABLE booked AS SELECT * FROM " + doer("SELECT * FROM bookings")
    yield """CREATE OR REPLACE TABLE interactions AS SELECT * FROM """ + doer("""
        SELECT lead, occurred_at AS ts, coalesce(rep_id, '') AS drep, '' AS dteam FROM ev
        WHERE event = 'activity_logged' AND NOT automated AND CASE WHEN lead IS NOT NULL
            THEN occurred_at > (SELECT min(w.ts) FROM won w WHERE w.lead = ev.lead)
            ELSE EXISTS (FROM customer_spans s WHERE s.account = ev.account_id AND s.since <= occurred_at
                AND (s.until IS NULL OR occurred_at < s.until)) END""")
    yield """
        CREATE OR REPLACE TABLE closed_deals AS
        SELECT * EXCLUDE (kind), CASE event WHEN 'deal_won' THEN 'won' ELSE 'lost' END AS outcome FROM deals WHERE lead IS NOT NULL AND NOT is_credit"""
    yield """
        CREATE OR REPLACE TABLE deal_touches AS
        SELECT d.ts, d.outcome, d.rep, a.kind
        FROM closed_deals d JOIN touches a ON a.lead = d.lead AND a.ts <= d.ts
        WHERE a.kind IN ('call', 'email', 'video')"""
    yield "CREATE OR REPLACE TABLE cycles AS SELECT *, ts - created_at AS ms FROM won WHERE ts >= created_at"
    yield "CREATE OR REPLACE TABLE cycles_products AS SELECT *, unnest(products) AS product FROM cycles"
    yield """
        CREATE OR REPLACE TABLE after_demo AS
        SELECT w.* FROM won w WHERE EXISTS (FROM demos d WHERE d.lead = w.lead AND d.ts <= w.ts)"""
    yield """
        CREATE OR REPLACE TABLE purchases AS
        SELECT lead, min(ts) AS ts, min(ts) - (SELECT min(occurred_at) FROM ev WHERE ev.lead = won.lead
            AND event <> 'lead_merged') AS ms, any_value(source) AS source FROM won WHERE lead IS NOT NULL GROUP BY lead"""


def _reps() -> Iterator[str]:
    """Reps."""
    yield """
        CREATE OR REPLACE TABLE employment AS
        SELECT rep_id AS rep, occurred_at AS ts, event, coalesce(team, '') AS team,
            lead(occurred_at) OVER story AS next, lag(event) OVER story AS before,
            lag(team) OVER story AS team_before
        FROM ev WHERE event IN ('rep_joined', 'rep_left')
        WINDOW story AS (PARTITION BY rep_id ORDER BY occurred_at)"""
    yield """
        CREATE OR REPLACE TABLE staff AS
        SELECT rep, ts AS since, next AS until, known(team) AS team FROM employment WHERE event = 'rep_joined'
        UNION ALL SELECT rep, 0, ts, known(team) FROM employment WHERE event = 'rep_left' AND before IS NULL"""
    yield """
        CREATE OR REPLACE TABLE leavers AS
        SELECT ts, known(coalesce(nullif(team_before, ''), team)) AS team FROM employment
        WHERE event = 'rep_left' AND before IS DISTINCT FROM 'rep_left'"""
    team_at = """coalesce((SELECT arg_max(team, ts) FROM employment e WHERE e.rep = q.rep AND team <> '' AND e.ts <= q.start),
        (SELECT arg_min(team, ts) FROM employment e WHERE e.rep = q.rep AND team <> ''), 'unknown')"""
    yield f"""
        CREATE OR REPLACE TABLE current_quotas AS
        WITH quotas AS (
            SELECT rep_id AS rep, period_start AS start, period_end AS stop, arg_max(micros(amount), rec) AS target
            FROM ev WHERE event = 'quota_set' GROUP BY 1, 2, 3)
        SELECT q.rep, {team_at} AS team, t() AS ts, target, coalesce((SELECT sum(value) FROM revenue r
            WHERE r.named_rep = q.rep AND r.ts >= q.start AND r.ts < q.stop), 0)::BIGINT AS won
        FROM quotas q WHERE start <= t() AND stop > t()"""
    yield f"""
        CREATE OR REPLACE TABLE enps AS
        SELECT start AS ts, score, coalesce(nullif(said, ''), {team_at}) AS team
        FROM (SELECT occurred_at AS start, score, team AS said, coalesce(nullif(rep_id, ''), respondent_id) AS rep FROM ev
              WHERE event = 'survey_answered' AND kind = 'enps') q"""
    yield """
        CREATE OR REPLACE TABLE support_ticket_opened AS
        SELECT min(occurred_at) AS ts FROM ev WHERE event = 'support_ticket_opened' GROUP BY account_id, ticket_id"""


def _ledgers() -> Iterator[str]:
    """The rest needs nothing but itself."""
    for event, columns in {
        "spend_recorded": "campaign_id AS campaign, known(channel) AS channel, category, micros(amount) AS value",
        "competitor_price_observed": "product, competitor, micros(price) AS theirs, micros(own_price) AS ours",
        "usage_recorded": "(minutes * 60000)::BIGINT AS value",
        "feedback_received": "kind",
        "survey_answered": "kind, score",
    }.items():
        yield f"CREATE OR REPLACE TABLE {event} AS SELECT occurred_at AS ts, {columns} FROM ev WHERE event = '{event}'"


def _tables(settings: Settings) -> Iterator[str]:
    """Statements that draw up the tables as of t()."""
    yield from chain(
        _macros(),
        _identities(),
        _deals(),
        _customers(),
        _response_tables(),
        _meetings(),
        _stages(settings),
        _pipeline(),
        _activities(),
        _reps(),
        _ledgers(),
    )


@dataclass
class _Counter:
    """Counts rows of the tables per window."""

    db: duckdb.DuckDBPyConnection
    t: int
    windows: Mapping[str, int]
    known: dict[str, tuple[str, ...]] = field(default_factory=dict)
    figures: dict[tuple[str, str], dict[str, Fraction | None]] = field(default_factory=dict)
    """(window, source; empty: all) -> figures of recurring revenue."""
    sources: set[str] = field(default_factory=set)

    def draw_up_figures(self, accounts: Mapping[str, batch.Account], zone: str) -> None:
        """Take the figures of the plain computation of recurring revenue, of all accounts and by their source."""
        found = self.db.execute("""
            SELECT account, arg_min(source, (ts, deal_id)) FROM won WHERE source <> 'unknown' GROUP BY 1""").fetchall()
        source = dict(found)
        groups: dict[str, dict[str, batch.Account]] = defaultdict(dict)
        for name, account in accounts.items():
            groups[source.get(name, "unknown")][name] = account
        self.sources = set(groups)
        for window in COMPARED:
            for group, members in {"": accounts, **groups}.items():
                self.figures[window, group] = batch.figures(members, window, self.t, zone=zone)

    def columns(self, table: str) -> tuple[str, ...]:
        if table not in self.known:
            self.known[table] = tuple(row[0] for row in self.db.execute(f"DESCRIBE {table}").fetchall())
        return self.known[table]

    def period(
        self, table: str, dims: Labels, value: str = "count(*)", where: str = "true", *, before: bool = False
    ) -> Table:
        span = "x.ts >= w.before AND x.ts < w.lo" if before else "x.ts >= w.lo AND x.ts <= t()"
        return self._query(f"FROM windows w JOIN {table} x ON {span} WHERE {where}", dims, value)

    def stock(self, table: str, dims: Labels, value: str = "count(*)", *, opening: bool = False) -> Table:
        ts = (
            "x.since < w.lo AND (x.until IS NULL OR x.until >= w.lo)"
            if opening
            else ("x.since <= t() AND (x.until IS NULL OR x.until > t())")
        )
        return self._query(f"FROM windows w JOIN {table} x ON {ts}", dims, value)

    def level(self, table: str, *, opening: bool = False) -> Table:
        ts = "x.ts < w.lo" if opening else "x.ts <= t()"
        return self._query(f"FROM windows w JOIN {table} x ON {ts}", (), "sum(value)")

    def samples(
        self, table: str, dims: Labels, value: str = "ms", ts: str = "ts"
    ) -> dict[str, dict[Labels, list[int]]]:
        keys = "".join(f", x.{d}" for d in dims)
        rows = self.db.execute(f"""SELECT w.name, list(x.{value} ORDER BY x.{value}){keys} FROM windows w
            JOIN {table} x ON x.{ts} >= w.lo AND x.{ts} <= t() GROUP BY w.name{keys}""").fetchall()
        found: dict[str, dict[Labels, list[int]]] = {w: {} for w in self.windows}
        for window, values, *labels in rows:
            found[window][tuple(labels)] = values
        return found

    def _query(self, source: str, dims: Labels, value: str) -> Table:
        keys = "".join(f", x.{d}" for d in dims)
        rows = self.db.execute(f"SELECT w.name, {value}{keys} {source} GROUP BY w.name{keys}").fetchall()
        found: Table = {w: {} for w in self.windows}
        for window, number, *labels in rows:
            found[window][tuple(labels)] = Fraction(number or 0)
        return found


@dataclass(frozen=True)
class Term:
    """A number per window and labels; one without some of the labels counts as a whole there."""

    compute: Callable[[_Counter, Labels], Table]
    has: Callable[[_Counter, str], bool]

    def at(self, counter: _Counter, dims: Labels) -> Callable[[str, Labels], Fraction]:
        own = tuple(d for d in dims if self.has(counter, d))
        table = self.compute(counter, own)
        return lambda window, labels: table[window].get(
            tuple(v for d, v in zip(dims, labels, strict=True) if d in own), Fraction(0)
        )

    def labels(self, counter: _Counter, dims: Labels) -> set[Labels]:
        if not dims or not all(self.has(counter, d) for d in dims):
            return set()
        return set(self.compute(counter, dims)["all"])


def _count(table: str, value: str = "count(*)", where: str = "true", *, before: bool = False, by: str = "") -> Term:
    """Rows of a table in the window; ``by`` is its variant with one row for each product."""

    def pick(dims: Labels) -> str:
        return by if by and "product" in dims else table

    return Term(
        lambda c, dims: c.period(pick(dims), dims, value, where, before=before),
        lambda c, dim: dim in c.columns(table) or (bool(by) and dim == "product"),
    )


def _stock(table: str, value: str = "count(*)", *, opening: bool = False, dims: Labels = ()) -> Term:
    return Term(lambda c, d: c.stock(table, d, value, opening=opening), lambda _, dim: dim in dims)


def _level(table: str, *, opening: bool = False) -> Term:
    return Term(lambda c, _: c.level(table, opening=opening), lambda *_: False)


def _money(table: str, where: str = "true", *, before: bool = False, column: str = "value") -> Term:
    return _scaled(_count(table, f"sum({column})", where, before=before), Fraction(1, MICROS))


def _scaled(term: Term, factor: Fraction) -> Term:
    def compute(counter: _Counter, dims: Labels) -> Table:
        return {w: {k: v * factor for k, v in rows.items()} for w, rows in term.compute(counter, dims).items()}

    return Term(compute, term.has)


Formula = Callable[..., Fraction | None]


def over(a: Fraction, b: Fraction) -> Fraction | None:
    """A quotient; none where the denominator is not above zero."""
    return a / b if b > 0 else None


def _growth(now: Fraction, before: Fraction) -> Fraction | None:
    return over(now - before, before)


SECONDS_AGO = "sum(t() // 1000 - ts // 1000)"


def _age(table: str) -> tuple[Formula, tuple[Term, ...]]:
    return over, (_count(table, SECONDS_AGO), _count(table))


def _itself(a: Fraction) -> Fraction | None:
    return a


CUSTOMERS = _stock("customer_spans")
OPENING_CUSTOMERS = _stock("customer_spans", opening=True)
REVENUE = _money("revenue")
GROSS = _money("revenue", "NOT is_credit")
PAID = _count("won", where="list_sum([micros(l.quantity * l.unit_price) for l in lines]) > 0")
WON = _count("won", by="won_products")
LOST = _count("lost", by="lost_products")
OPPORTUNITIES = _count("opportunities")
MRR = _scaled(_level("mrr_moves"), Fraction(1, MICROS))
MARKETING = _money("spend_recorded", "category = 'marketing'")
ALL_SPEND = _money("spend_recorded")
NEW_CUSTOMERS = _count("entries")
CONTACTED = _count("contacted")
EXISTING = _money("account_revenue", "NOT is_entry")
NEW = _money("account_revenue", "is_entry")


def _distinct(table: str, key: str, where: str = "true") -> Term:
    return _count(table, f"count(DISTINCT x.{key})", where)


def _latest(table: str, key: str, order: str, where: str = "true", value: str = "") -> Term:
    """Distinct keys, of each its latest row in the window that has the labels."""

    def compute(c: _Counter, dims: Labels) -> Table:
        keys = "".join(f", x.{d}" for d in dims)
        rows = c.db.execute(f"""
            WITH x AS (SELECT w.name, x.* FROM windows w JOIN {table} x ON x.ts >= w.lo AND x.ts <= t() WHERE {where}
                       QUALIFY {order} = max({order}) OVER (PARTITION BY w.name, {key}{keys}))
            SELECT name, {value or f"count(DISTINCT {key})"}{keys} FROM x GROUP BY name{keys}""").fetchall()
        found: Table = {w: {} for w in c.windows}
        for window, number, *labels in rows:
            found[window][tuple(labels)] = Fraction(number)
        return found

    return Term(compute, lambda c, dim: dim in c.columns(table))


def _figure(name: str, *, by_source: bool = False) -> Term:
    """A figure of recurring revenue, in the windows that compare two instants."""

    def compute(c: _Counter, dims: Labels) -> Table:
        found: Table = {w: {} for w in c.windows}
        found["all"] = {(source,): Fraction(0) for source in c.sources} if dims else {}
        for (window, source), figures in c.figures.items():
            if bool(source) == bool(dims):
                found[window][(source,) if dims else ()] = figures[name] or Fraction(0)
        return found

    return Term(compute, lambda _, dim: by_source and dim == "source")


def _movement(prefix: str) -> Term:
    """Movements of recurring revenue, or accounts that have one, by their kind; all in one currency."""

    def compute(c: _Counter, dims: Labels) -> Table:
        assert dims == ("movement",), dims
        found: Table = {w: {} for w in c.windows}
        found["all"] = {(kind,): Fraction(0) for kind in (*batch.KINDS, "fx")}
        for window in COMPARED:
            figures = c.figures[window, ""]
            found[window] = {(kind,): figures[f"{prefix} {kind}"] or Fraction(0) for kind in batch.KINDS}
        return found

    return Term(compute, lambda _, dim: dim == "movement")


COMPARED = ("7d", "30d", "90d", "365d", "mtd", "qtd")
DAYS = Term(lambda c, _: {w: {(): Fraction(c.t - lo, DAY)} for w, lo in c.windows.items()}, lambda *_: False)
WERE, STILL, OPENING, KEPT = (_figure(name) for name in ("were", "still", "start", "kept"))
CAME = _figure("came", by_source=True)
DATED = Term(lambda c, _: c.stock("dated_spans", ()), lambda *_: False)
SINCE = Term(lambda c, _: c.stock("dated_spans", (), "sum(t() - x.since)"), lambda *_: False)


def _lifetime(were: Fraction, still: Fraction, days: Fraction) -> Fraction | None:
    churn = over(were - still, were)
    return Fraction(1 / (1 - (1 - float(churn)) ** (30.44 / float(days)))) if churn else None


def _clv(mrr: Fraction, customers: Fraction, were: Fraction, still: Fraction, days: Fraction) -> Fraction | None:
    each, lifetime = over(mrr, customers), _lifetime(were, still, days)
    return None if each is None or lifetime is None else each * lifetime


def _clv_to_cac(*terms: Fraction) -> Fraction | None:
    *clv, spend, new = terms
    value, cost = _clv(*clv), over(spend, new)
    return None if value is None or cost is None else over(value, cost)


CLV = (MRR, CUSTOMERS, WERE, STILL, DAYS)


def _payback(spend: Fraction, new: Fraction, mrr: Fraction) -> Fraction | None:
    cost, each = over(spend, new), over(mrr, new)
    return None if cost is None or each is None else over(cost, each)


def _mean_amount(micros: Fraction, n: Fraction) -> Fraction | None:
    return over(micros / MICROS, n)


def _turnover(left: Fraction, opening: Fraction, now: Fraction) -> Fraction | None:
    return over(left * 2, opening + now)


def _score(table: str, where: str) -> tuple[Term, ...]:
    return (
        _count(table, where=f"{where} AND score >= 9"), _count(table, where=f"{where} AND score <= 6"),
        _count(table, where=where),
    )  # fmt: skip


def _points(promoters: Fraction, detractors: Fraction, answers: Fraction) -> Fraction | None:
    return over((promoters - detractors) * 100, answers)


def _without(term: Term, label: str) -> Term:
    """The term as a whole under a label."""
    return Term(term.compute, lambda counter, dim: dim != label and term.has(counter, dim))


def _quotas(where: str) -> Term:
    def compute(counter: _Counter, dims: Labels) -> Table:
        return counter.period("current_quotas", dims, where=where)

    return Term(compute, lambda _, dim: dim in ("rep", "team"))


def _across(term: Term, label: str) -> Term:
    return Term(term.compute, lambda counter, dim: dim != label and term.has(counter, dim))


BANDS, STAGES = _count("bands"), Term(lambda c, d: c.period("lifecycle", d), lambda _, dim: dim == "stage")
THEIR_PRICES, OUR_PRICES = (_count("competitor_price_observed", f"sum({column})") for column in ("theirs", "ours"))
AGED = _count("open_deals", "count(ms)")
LOSSES = _count("losses")


def _survived(place: int) -> Term:
    """The median length of visits, or a bound of it."""

    def compute(c: _Counter, dims: Labels) -> Table:
        ended, lasting = (c.samples(f"{name}_visits", dims) for name in ("ended", "lasting"))
        found: Table = {w: {} for w in c.windows}
        for window in c.windows:
            for label in {*ended[window], *lasting[window]}:
                times = ended[window].get(label, []), lasting[window].get(label, [])
                found[window][label] = Fraction((kaplan_meier(*times), *median_interval(*times))[place] or 0)
        return found

    return Term(compute, lambda c, dim: dim in c.columns("ended_visits"))


QUOTA_WON, QUOTA = _count("current_quotas", "sum(won)"), _count("current_quotas", "sum(target)")

FORMULAS: dict[str, dict[str, tuple[Formula, tuple[Term, ...]]]] = {
    "sales_by_location": {"value": (_itself, (REVENUE,))},
    "competitor_price_ratio": {
        "value": (over, (THEIR_PRICES, OUR_PRICES)),
        "competitor_price": (_mean_amount, (THEIR_PRICES, _count("competitor_price_observed"))),
        "own_price": (_mean_amount, (OUR_PRICES, _count("competitor_price_observed"))),
    },
    "client_engagement": {
        "value": (over, (_count("interactions"), CUSTOMERS)),
        "tenure_seconds": (lambda ms, n: over(ms / 1000, n), (SINCE, DATED)),
    },
    "enps_score": {"value": (_points, _score("enps", "true"))},
    "upsell_ratio": {
        "value": (over, (_latest("more_sold", "account", "ts", "kind = 'upsell'"), OPENING_CUSTOMERS)),
        "revenue_share": (over, (_money("more_revenue", "kind = 'upsell'"), REVENUE)),
    },
    "cross_sell_ratio": {
        "value": (over, (_latest("more_sold", "account", "ts", "kind = 'cross_sell'"), OPENING_CUSTOMERS)),
        "revenue_share": (over, (_money("more_revenue", "kind = 'cross_sell'"), REVENUE)),
    },
    "close_ratio": {
        "value": (over, (WON, OPPORTUNITIES)),
        "cohort": (over, (_count("opportunities", where="is_won"), OPPORTUNITIES)),
    },
    "new_leads": {"value": (_itself, (_count("new_leads"),))},
    "product_demos": {"value": (_itself, (_count("demos"),))},
    "demo_conversion_ratio": {
        "value": (over, (_latest("demos", "lead", "ts", "lead IN (FROM customer_leads)"), _latest("demos", "lead", "ts"))),
        "age_seconds": (over, (_latest("demos", "lead", "ts", value=SECONDS_AGO), _latest("demos", "lead", "ts"))),
    },
    "sales_revenue": {"value": (_itself, (REVENUE,))},
    "sales_growth_ratio": {"value": (_growth, (REVENUE, _money("revenue", before=True)))},
    "activities": {"value": (_itself, (_count("activities"),))},
    "opportunities_created": {"value": (_itself, (OPPORTUNITIES,))},
    "quota_attainment_ratio": {
        "value": (over, (QUOTA_WON, QUOTA)),
        "reps_at_quota_ratio": (over, (_quotas("won >= target"), _quotas("true"))),
    },
    "proposals_sent": {"value": (_itself, (_count("proposals"),))},
    "deals_won": {"value": (_itself, (WON,))},
    "customer_conversion_ratio": {
        "value": (over, (_count("contacted", "sum(customer)"), CONTACTED)),
        "age_seconds": _age("contacted"),
    },
    "referral_customers": {
        "value": (_itself, (_count("entries", where="referrer <> ''"),)),
        "revenue": (lambda micros: micros / MICROS, (_count("entries", "sum(revenue)", "referrer <> ''"),)),
    },
    "csat_score": {
        "value": (over, (_count("survey_answered", "sum(score)", "kind = 'csat'"),
                         _count("survey_answered", where="kind = 'csat'"))),
        "satisfied_ratio": (over, (_count("survey_answered", where="kind = 'csat' AND score >= 4"),
                                   _count("survey_answered", where="kind = 'csat'"))),
    },
    "customer_churn_ratio": {"value": (lambda still, were: over(were - still, were), (STILL, WERE))},
    "organic_growth_ratio": {
        "value": (_growth, (EXISTING, _money("account_revenue", "NOT is_entry", before=True))),
        "existing_share": (lambda e, n: over(e, e + n), (EXISTING, NEW)),
        "new_share": (lambda e, n: over(n, e + n), (EXISTING, NEW)),
    },
    "customer_outcomes": {
        "value": (over, (REVENUE, CUSTOMERS)),
        "tickets": (over, (_count("support_ticket_opened"), CUSTOMERS)),
        "minutes": (lambda ms, n: over(ms / 60_000, n), (_count("usage_recorded", "sum(value)"), CUSTOMERS)),
        "subscriptions": (over, (_stock("subscription_spans", "sum(x.n)"), CUSTOMERS)),
    },
    "customer_feedback": {"value": (_itself, (_count("feedback_received"),))},
    "lead_response_band_ratio": {"value": (over, (BANDS, _across(BANDS, "band")))},
    "lead_response_sla_ratio": {"value": (over, (_count("due", "sum(met::INT)"), _count("due")))},
    "leads_waiting": {
        "value": (_itself, (_count("waiting"),)),
        "late": (_itself, (_count("waiting", where="deadline <= t()"),)),
    },
    "lead_oldest_wait_seconds": {
        "value": (lambda ms, n: ms / 1000 if n else None, (_count("waiting", "max(on_clock)"), _count("waiting"))),
        "around_the_clock": (lambda ms, n: ms / 1000 if n else None, (_count("waiting", "max(waited)"), _count("waiting"))),
    },
    "unowned_waiting": {"value": (_itself, (_count("unowned"),))},
    "response_states": {"value": (_itself, (_count("states"),))},
    "response_requests": {"value": (_itself, (_count("requests"),)), "repeated": (_itself, (_count("repeats"),))},
    "requests_exempt": {"value": (_itself, (_count("exempt"),))},
    "policy_sla_ratio": {"value": (over, (_count("due", "sum(met::INT)"), _count("due")))},
    "bounce_ratio": {"value": (over, (_count("emails", "sum(bounced::INT)"), _count("emails")))},
    "lead_follow_up_ratio": {
        "value": (over, (_count("qualified", "sum(followed)"), _count("qualified"))),
        "age_seconds": _age("qualified"),
    },
    "positive_reply_ratio": {
        "value": (over, (_count("contacted", "sum(positive)"), CONTACTED)),
        "age_seconds": _age("contacted"),
    },
    "negative_reply_ratio": {
        "value": (over, (_count("contacted", "sum(negative)"), CONTACTED)),
        "age_seconds": _age("contacted"),
    },
    "touches_per_deal": {"value": (over, (_count("deal_touches"), _count("closed_deals")))},
    "meeting_acceptance_ratio": {"value": (over, (_count("booked"), _count("replies")))},
    "sql_to_customer_ratio": {
        "value": (over, (_count("became_sql", "sum(customer)"), _count("became_sql"))),
        "age_seconds": _age("became_sql"),
    },
    "win_loss_ratio": {
        "value": (over, (WON, LOST)),
        "win_rate": (lambda won, lost: over(won, won + lost), (WON, LOST)),
    },
    "lifecycle_stage_ratio": {"value": (over, (STAGES, _across(STAGES, "stage"))), "leads": (_itself, (STAGES,))},
    "mql_to_customer_ratio": {
        "value": (over, (_count("became_mql", "sum(customer)"), _count("became_mql"))),
        "age_seconds": _age("became_mql"),
    },
    "new_opportunities": {
        "value": (_itself, (OPPORTUNITIES,)),
        "amount": (lambda micros: micros / MICROS, (_count("opportunities", "sum(amount)"),)),
    },
    "cost_per_lead": {"value": (over, (MARKETING, _count("new_leads")))},
    "cost_per_acquisition": {"value": (over, (MARKETING, NEW_CUSTOMERS))},
    "customer_retention_ratio": {"value": (over, (STILL, WERE))},
    "revenue_per_account": {
        "value": (over, (REVENUE, _distinct("account_revenue", "account", "value <> 0"))),
        "mrr": (over, (MRR, CUSTOMERS)),
    },
    "nps_score": {"value": (_points, _score("survey_answered", "kind = 'nps'"))},
    "customer_lifetime_value": {
        "value": (_clv, CLV),
        "mrr_per_customer": (over, (MRR, CUSTOMERS)),
        "lifetime_months": (_lifetime, CLV[2:]),
        "departures": (lambda were, still: were - still, (WERE, STILL)),
    },
    "average_deal_size": {"value": (over, (GROSS, WON))},
    "average_paid_deal_size": {"value": (over, (GROSS, PAID))},
    "gross_sales_revenue": {"value": (_itself, (GROSS,))},
    "refund_ratio": {"value": (lambda c, g: over(-c, g), (_money("revenue", "is_credit"), _without(GROSS, "reason")))},
    "renewal_ratio": {
        "value": (over, (_count("contracts", where="renewed"), _count("contracts"))),
        "age_seconds": _age("contracts"),
    },
    "mrr": {"value": (_itself, (MRR,))},
    "mrr_movement": {"value": (_itself, (_movement("moved"),)), "accounts": (_itself, (_movement("movers"),))},
    "gross_revenue_retention_ratio": {"value": (over, (KEPT, OPENING))},
    "net_revenue_retention_ratio": {"value": (over, (_figure("now of start"), OPENING))},
    "early_churn_ratio": {
        "value": (over, (_figure("came and left", by_source=True), CAME)),
        "age_seconds": (over, (_figure("seconds since they came", by_source=True), CAME)),
    },
    "churn_events": {"value": (_itself, (_count("churned"),))},
    "trial_conversion_ratio": {
        "value": (over, (_count("trials", where="false"), _count("trials"))),
        "age_seconds": _age("trials"),
    },
    "quick_ratio": {
        "value": (
            lambda new, back, more, less, gone: over(new + back + more, less + gone),
            tuple(_figure(f"moved {kind}") for kind in batch.KINDS),
        )
    },
    "scheduled_churn_mrr": {"value": (_itself, (_count("trials", where="false"),))},
    "mrr_mismatch": {"value": (_itself, (_figure("mismatches"),))},
    "cac_payback_months": {"value": (_payback, (ALL_SPEND, NEW_CUSTOMERS, _figure("moved new")))},
    "win_ratio": {"value": (lambda won, lost: over(won, won + lost), (WON, LOST))},
    "demo_close_ratio": {"value": (over, (_count("after_demo"), _count("demos")))},
    "quota_suggestion": {"value": (lambda r: r * Fraction(11, 10), (REVENUE,))},
    "commission": {"value": (_itself, (_money("commission"),))},
    "customer_acquisition_cost": {"value": (over, (ALL_SPEND, NEW_CUSTOMERS))},
    "clv_to_cac_ratio": {"value": (_clv_to_cac, (*CLV, ALL_SPEND, NEW_CUSTOMERS))},
    "revenue_by_product": {"value": (_itself, (REVENUE,))},
    "revenue_churn_ratio": {
        "value": (lambda kept, o: over(o - kept, o), (KEPT, OPENING)),
        "net": (lambda now, o: over(o - now, o), (_figure("now of start"), OPENING)),
    },
    "pipeline_deals": {"value": (_itself, (_count("open_deals"),))},
    "pipeline_value": {"value": (_itself, (_money("open_deals", column="amount"),))},
    "weighted_pipeline": {
        "value": (_itself, (_money("open_deals", "category <> 'omitted'", column="weighted"),)),
        "unrated": (_itself, (_money("open_deals", "category <> 'omitted'", column="unrated"),)),
    },
    "pipeline_age_seconds": {
        stat: (
            lambda ms, n: ms / 1000 if n else None, (_count("open_deals", f"quantile_cont(x.ms, {q})"), AGED))
        for stat, q in (("value", 0.5), ("p90", 0.9))
    },
    "stage_time_seconds": {
        stat: (lambda ms: ms / 1000 if ms else None, (_survived(place),))
        for place, stat in enumerate(("value", "low", "high"))
    },
    "stage_conversion_ratio": {
        "value": (over, (_count("stage_entries", where="passed"), _count("stage_entries"))),
        "age_seconds": _age("stage_entries"),
    },
    "created_win_ratio": {
        "value": (over, (_count("opportunities", where="is_won"), OPPORTUNITIES)),
        "age_seconds": _age("opportunities"),
    },
    "loss_reasons": {
        "value": (_itself, (LOSSES,)),
        "amount": (_itself, (_money("losses"),)),
        "share": (over, (LOSSES, _across(LOSSES, "reason"))),
    },
    "stalled_deals": {"value": (_itself, (_count("stalled"),)), "amount": (_itself, (_money("stalled", column="amount"),))},
    "pushes": {
        "value": (_itself, (_count("pushes", where="later"),)),
        "pulled_in": (_itself, (_count("pushes", where="NOT later"),)),
    },
    "slip_ratio": {"value": (over, (_count("expected_closes", where="slipped"), _count("expected_closes")))},
    "pipeline_coverage": {
        "value": (lambda due, quota, won: over(due, (quota - won) / MICROS), (_money("due_deals"), QUOTA, QUOTA_WON)),
        "due": (_itself, (_money("due_deals"),)),
    },
    "pipeline_bridge": {"value": (_itself, (_money("moved_amounts"),))},
    "pipeline_velocity": {
        "value": (
            lambda n, gross, closed, cycle: n * gross / closed / (cycle / DAY) if closed and cycle else None,
            (_count("open_deals"), GROSS, _count("closed_all"), _count("cycles", "quantile_cont(x.ms, 0.5)")),
        )
    },
    "employee_turnover_ratio": {
        "value": (_turnover, (
            _count("leavers"), _stock("staff", opening=True, dims=("team",)), _stock("staff", dims=("team",)))),
    },
}  # fmt: skip
"""KPI -> stat -> (formula, its terms)."""

SAMPLES: dict[str, tuple[str, str]] = {
    "sales_cycle_seconds": ("cycles", "ms"),
    "lead_response_seconds": ("responses", "ms"),
    "lead_response_business_seconds": ("responses", "business_ms"),
    "lead_assignment_response_seconds": ("assigned", "ms"),
    "lead_assignment_response_business_seconds": ("assigned", "business_ms"),
    "next_response_seconds": ("next_responses", "ms"),
    "lead_contact_seconds": ("conversations", "ms"),
    "lead_qualification_seconds": ("qualifications", "ms"),
    "customer_lifecycle_seconds": ("purchases", "ms"),
}
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


Shape = Mapping[str, tuple[Sequence[str], Sequence[Labels]]]
"""KPI -> its windows and breakdowns (the whole is ``()``)."""


def _readings(c: _Counter, shape: Shape) -> Iterator[tuple[Key, float]]:
    for kpi, (windows, breakdowns) in shape.items():
        for dims in breakdowns:
            if kpi in SAMPLES:
                yield from _sampled(c, kpi, windows, dims)
            if kpi in FORMULAS:
                yield from _computed(c, kpi, windows, dims)
            if kpi == "lead_response_seconds":
                yield from _survival(c, kpi, windows, dims)


def _computed(c: _Counter, kpi: str, windows: Sequence[str], dims: Labels) -> Iterator[tuple[Key, float]]:
    stats = FORMULAS[kpi]
    labels: set[Labels] = set() if dims else {()}
    for _, terms in stats.values():
        for term in terms:
            labels |= term.labels(c, dims)
    for stat, (formula, terms) in stats.items():
        values = [term.at(c, dims) for term in terms]
        for window in windows:
            for label in labels:
                result = formula(*(value(window, label) for value in values))
                if result is not None:
                    yield (kpi, stat, window, tuple(zip(dims, label, strict=True))), float(result)


def _sampled(c: _Counter, kpi: str, windows: Sequence[str], dims: Labels) -> Iterator[tuple[Key, float]]:
    table, column = SAMPLES[kpi]
    table = f"{table}_products" if "product" in dims else table
    found = c.samples(table, dims, column)
    for window in windows:
        for label, values in found[window].items():
            key = tuple(zip(dims, label, strict=True))
            yield (kpi, "count", window, key), len(values)
            yield (kpi, "sum", window, key), sum(values) / 1000
            yield (kpi, "mean", window, key), sum(values) / len(values) / 1000
            for stat, q in QUANTILES.items():
                yield (kpi, stat, window, key), quantile(values, q) / 1000


def quantile(values: Sequence[int], q: float) -> float:
    """Type 7 of Hyndman and Fan, of sorted values."""
    position = (len(values) - 1) * q
    low = math.floor(position)
    high = min(low + 1, len(values) - 1)
    return float(values[low] + (values[high] - values[low]) * (position - low))


def _survival(c: _Counter, kpi: str, windows: Sequence[str], dims: Labels) -> Iterator[tuple[Key, float]]:
    answered = c.samples("responses", dims, "ms", "cohort_at")
    closed = c.samples("closed_unanswered", dims, "ms", "asked")
    waiting = c.samples("waiting", dims, "waited", "asked")
    for window in windows:
        for label in {*answered[window], *waiting[window]}:
            left = [*closed[window].get(label, []), *waiting[window].get(label, [])]
            ended, key = answered[window].get(label, []), tuple(zip(dims, label, strict=True))
            numbers = (kaplan_meier(ended, left), *median_interval(ended, left))
            for stat, number in zip(("survival_p50", "survival_p50_low", "survival_p50_high"), numbers, strict=True):
                if number is not None:
                    yield (kpi, stat, window, key), number / 1000


def kaplan_meier(ended: Sequence[float], censored: Sequence[float]) -> float | None:
    """The textbook's product-limit estimate, exact: the first time at which it is at most one half."""
    survival = Fraction(1)
    for time_ in sorted(set(ended)):
        at_risk = sum(e >= time_ for e in ended) + sum(c >= time_ for c in censored)
        survival *= 1 - Fraction(sum(e == time_ for e in ended), at_risk)
        if survival <= Fraction(1, 2):
            return time_
    return None


def median_interval(ended: Sequence[float], censored: Sequence[float]) -> tuple[float | None, float | None]:
    """When the lower, and when the upper bound of the estimate (log-log, 95 %) is at most one half."""
    low = high = None
    survival, greenwood = 1.0, 0.0
    for time_ in sorted(set(ended)):
        n, d = sum(x >= time_ for x in [*ended, *censored]), sum(e == time_ for e in ended)
        survival *= 1 - d / n
        if n == d:  # nobody is left: below any bound
            return (time_ if low is None else low), high
        greenwood += d / n / (n - d)
        width = math.exp(1.96 * math.sqrt(greenwood) / -math.log(survival))
        low = time_ if low is None and survival**width <= 0.5 else low
        high = time_ if high is None and survival ** (1 / width) <= 0.5 else high
    return low, high


def _date(ms: int, zone: ZoneInfo) -> date:
    return (_EPOCH + timedelta(milliseconds=ms)).astimezone(zone).date()


def _ms(ts: datetime) -> int:
    return (ts - _EPOCH) // timedelta(milliseconds=1)
