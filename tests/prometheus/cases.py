"""What each alert needs to see to fire, and what it must not fire at."""

from __future__ import annotations

from dataclasses import dataclass, field

START = 10
"""The step at which things go wrong, unless a case says otherwise."""


@dataclass(frozen=True)
class Case:
    """One alert's story: quiet, then wrong, then right again. Times are steps of the input.

    Attributes:
        bad: series -> (value while right, value while wrong); "_" is absence, "0+10" counts up by 10.
        wait: steps from the wrong value until it fires (its `for`, the windows it looks back over).
        lasts: steps that it stays wrong.
        after: steps from the right value until it is over (`keep_firing_for` and windows).
        still: series that stand beside, unchanged.
        never: sets of series at which it does not fire, however long they last.
        labels: of the firing alert, beside its name.
        step: length of a step.
        story: whole series instead of `bad`, with the steps at which it is quiet, fires, is over.
    """

    bad: dict[str, tuple[str, str]] = field(default_factory=dict)
    wait: int = 1
    lasts: int = 20
    after: int = 3
    still: dict[str, str] = field(default_factory=dict)
    never: tuple[dict[str, str], ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    step: str = "1m"
    story: dict[str, str] = field(default_factory=dict)
    at: tuple[int, int, int] = (0, 0, 0)


def _sla(window: str, due: int, met: int, team: str = "") -> dict[str, str]:
    family = "crm_lead_response_sla_ratio_{}" + ("_by_team" if team else "")
    labels = f'{{window="{window}"' + (f',team="{team}"' if team else "") + "}"
    return {family.format("denominator") + labels: f"{due}x60", family.format("numerator") + labels: f"{met}x60"}


def _turns(good: dict[str, str], bad: dict[str, str]) -> dict[str, tuple[str, str]]:
    return {name: (value.removesuffix("x60"), bad[name].removesuffix("x60")) for name, value in good.items()}


_LATE = 'crm_leads_waiting_late_by_team{window="all",team="north"}'
_OLDEST = 'crm_lead_oldest_wait_seconds_by_team{window="all",team="north"}'
_LAG = 'salesgauge_lag_records{partition="3",instance="w1"}'


def _below(kpi: str, window: str, value: str, wrong: str, n: str, *, wait: int = 60) -> Case:
    of, behind = f'crm_{kpi}{{window="{window}"}}', f'crm_{kpi}_denominator{{window="{window}"}}'
    few = str(int(n) - 1)
    return Case(
        {of: (value, wrong)}, wait=wait, lasts=wait + 20, still={behind: f"{n}x130"},
        never=({of: f"{wrong}x130", behind: f"{few}x130"},
               {of: f"{value}x130", behind: f"{n}x130"}, {of: f"{wrong}x130"}),
    )  # fmt: skip


CASES: dict[str, Case] = {
    "LeadsWaitPastSla": Case(
        {_LATE: ("0", "2")}, wait=1, still={_OLDEST: "1500x60"}, labels={"team": "north"},
        never=(
            {_LATE: "0x60", 'crm_leads_waiting_by_team{window="all",team="north"}': "9x60"},  # within the SLA
            {_LATE: "0x9 1x0 0x50"},  # answered within the minute
        ),
    ),
    "LeadWaitsForHours": Case(
        {_OLDEST: ("_", "14460")}, wait=1, after=8, labels={"team": "north"},
        still={'crm_leads_waiting_late_by_team{window="all",team="north"}': "1x90"},
        # the second is a weekend: hours old, but not due before Monday
        never=({_OLDEST: "14400x60", 'crm_leads_waiting_late_by_team{window="all",team="north"}': "1x60"},
               {_OLDEST: "66600x60", 'crm_leads_waiting_late_by_team{window="all",team="north"}': "0x60"}),
    ),
    "ManyLeadsWait": Case(
        {'crm_leads_waiting_late{window="all"}': ("20", "21")}, wait=5,
        never=({'crm_leads_waiting_late{window="all"}': "20x60"},),
    ),
    "RepQueueOverloaded": Case(
        {'crm_leads_waiting_by_rep{window="all",rep="ada"}': ("40", "41")}, wait=15, lasts=30, labels={"rep": "ada"},
        # sixty waiting leads, but for two reps
        never=({'crm_leads_waiting_by_rep{window="all",rep="ada"}': "30x60",
                'crm_leads_waiting_by_rep{window="all",rep="ben"}': "30x60"},),
    ),
    "ResponsesSlow": Case(
        {'crm_lead_response_seconds_quantile{window="24h",quantile="0.5"}': ("600", "1900")}, wait=15, lasts=30,
        still={'crm_lead_response_seconds_count{window="24h"}': "20x60"},
        never=(
            {'crm_lead_response_seconds_quantile{window="24h",quantile="0.5"}': "1900x60",
             'crm_lead_response_seconds_count{window="24h"}': "19x60"},
            {'crm_lead_response_seconds_quantile{window="24h",quantile="0.9"}': "9000x60",
             'crm_lead_response_seconds_quantile{window="24h",quantile="0.5"}': "600x60",
             'crm_lead_response_seconds_count{window="24h"}': "200x60"},
        ),
    ),
    "FollowUpLow": _below("lead_follow_up_ratio", "7d", "0.95", "0.8", "30"),
    "WinRateLow": _below("win_ratio", "30d", "0.3", "0.1", "20"),
    "CsatLow": _below("csat_score", "30d", "4.5", "3.2", "20"),
    "NpsLow": _below("nps_score", "90d", "10", "-10", "20"),
    "ChurnHigh": Case(
        {'crm_customer_churn_ratio{window="30d"}': ("0.02", "0.08")}, wait=60, lasts=80,
        still={'crm_customer_churn_ratio_denominator{window="30d"}': "50x130"},
        never=({'crm_customer_churn_ratio{window="30d"}': "0.5x130",
                'crm_customer_churn_ratio_denominator{window="30d"}': "4x130"},),
    ),
    "SlaBudgetBurnsFast": Case(
        _turns({**_sla("24h", 60, 57), **_sla("1h", 5, 5)}, {**_sla("24h", 60, 30), **_sla("1h", 5, 1)}), wait=2,
        never=(
            {**_sla("24h", 4, 1), **_sla("1h", 2, 0)},  # three of four missed: too few to say
            {**_sla("24h", 10, 6), **_sla("1h", 3, 1)},  # 40 % missed of ten: may be chance
            {**_sla("24h", 60, 30), **_sla("1h", 5, 5)},  # it was bad, and is over
            {**_sla("24h", 60, 57), **_sla("1h", 5, 0)},  # a bad hour, a good day
        ),
    ),
    "SlaBudgetBurns": Case(
        _turns({**_sla("7d", 400, 380), **_sla("24h", 60, 57)}, {**_sla("7d", 400, 300), **_sla("24h", 60, 45)}),
        wait=15, lasts=30,
        never=({**_sla("7d", 9, 0), **_sla("24h", 9, 0)}, {**_sla("7d", 400, 345), **_sla("24h", 60, 45)}),
    ),
    "TeamSlaBudgetBurns": Case(
        _turns(
            {**_sla("24h", 60, 57, "south"), **_sla("1h", 5, 5, "south")},
            {**_sla("24h", 60, 20, "south"), **_sla("1h", 5, 1, "south")},
        ),
        wait=5, labels={"team": "south"},
        # one team's day, another team's hour
        never=({**_sla("24h", 60, 20, "south"), **_sla("1h", 5, 5, "south"), **_sla("1h", 5, 0, "north")},),
    ),
    "PositiveReplyRateDrops": Case(
        step="1h",
        story={
            'crm_positive_reply_ratio{window="7d"}': "0.3x199 0.1x9 0.3x30",
            'crm_positive_reply_ratio_numerator{window="7d"}': "60x199 20x9 60x30",
            'crm_positive_reply_ratio_denominator{window="7d"}': "200x240",
        },
        at=(200, 202, 212),
        never=(
            {  # a drop, but of few leads
                'crm_positive_reply_ratio{window="7d"}': "0.3x199 0.1x39",
                'crm_positive_reply_ratio_numerator{window="7d"}': "12x199 4x39",
                'crm_positive_reply_ratio_denominator{window="7d"}': "40x240",
            },
            {  # a third less, and it may be chance: 21 of 100 after 30 of 100 is one; 14 of 60 after 20 of 60 is less
                'crm_positive_reply_ratio{window="7d"}': "0.33x199 0.25x39",
                'crm_positive_reply_ratio_numerator{window="7d"}': "20x199 15x39",
                'crm_positive_reply_ratio_denominator{window="7d"}': "60x240",
            },
            {  # no past to compare with
                'crm_positive_reply_ratio{window="7d"}': "0.01x100",
                'crm_positive_reply_ratio_numerator{window="7d"}': "2x100",
                'crm_positive_reply_ratio_denominator{window="7d"}': "200x100",
            },
        ),
    ),
    # Time in these tests begins on Thursday, 1970-01-01, a holiday of the settings; Friday begins at minute 1440.
    "NoEventsInBusinessHours": Case(
        step="5m",
        story={"salesgauge_last_event_timestamp_seconds": "86400x407 122400x9"},
        at=((1440 + 9 * 60 + 30) // 5, (1440 + 9 * 60 + 35) // 5, (1440 + 10 * 60 + 10) // 5),
        never=({"salesgauge_last_event_timestamp_seconds": "0x395"},),  # a holiday and a night
    ),
    "WorkerLags": Case({_LAG: ("5000", "5001")}, wait=5, after=1, labels={"partition": "3"},
                       never=({_LAG: "5000x60"},)),
    "PartitionStuck": Case(
        {_LAG: ("0", "7")}, wait=11, lasts=30, after=1, labels={"partition": "3"},
        never=({_LAG: "900-10x60"}, {_LAG: "0x4 7x7 0x4 7x7 0x40"}),
    ),
    "ExporterLags": Case(
        {'salesgauge_windows_lag_records{partition="0",instance="e1"}': ("10", "3000"),
         'salesgauge_windows_lag_records{partition="1",instance="e1"}': ("10", "3000")},
        wait=5, after=1, labels={"instance": "e1"},
        never=({'salesgauge_windows_lag_records{partition="0",instance="e1"}': "3000x60",
                'salesgauge_windows_lag_records{partition="0",instance="e2"}': "3000x60"},),
    ),
    "BoardsStale": Case(
        {'salesgauge_freshness_seconds{instance="e1"}': ("2", "61")}, after=1, labels={"instance": "e1"},
        never=({'salesgauge_freshness_seconds{instance="e1"}': "60x60"},),
    ),
    "RecoveryTakesLong": Case(
        {'salesgauge_recovering{instance="w1"}': ("0", "1")}, wait=15, lasts=30, after=1, labels={"instance": "w1"},
        never=({'salesgauge_recovering{instance="w1"}': "1x13 0x60"},),
    ),
    "DeadLettersGrow": Case(
        {'salesgauge_rejected_total{reason="malformed",instance="w1"}': ("_", "1")}, wait=0, lasts=60, after=-40,
        labels={"reason": "malformed"},
        # refused long ago, and nothing since; the test begins with it, so the first 15 minutes are another matter
        never=({"salesgauge_rejected_total": "_x5"},),
    ),
    "ManyDeadLetters": Case(
        {'salesgauge_rejected_total{reason="malformed",instance="w1"}': ("0", "0+10")}, wait=3, after=18,
        still={'salesgauge_events_total{event="lead_created",instance="w1"}': "0+10x130"},
        never=(
            {'salesgauge_rejected_total{reason="malformed",instance="w1"}': "0+1x60",
             'salesgauge_events_total{event="lead_created",instance="w1"}': "0+1000x60"},
            {'salesgauge_rejected_total{reason="malformed",instance="w1"}': "0x20 5x40"},  # five of five, at night
        ),
    ),
    "SeriesTruncated": Case(
        {'salesgauge_folded_label_values{kpi="new_leads",breakdown="campaign",instance="e1"}': ("0", "12")},
        wait=15, lasts=30, after=1, labels={"kpi": "new_leads", "breakdown": "campaign"},
        never=({'salesgauge_folded_label_values{kpi="new_leads",breakdown="campaign",instance="e1"}': "0x60"},),
    ),
    "ExporterDown": Case(
        {'up{job="salesgauge-exporter",instance="e1"}': ("1", "0")}, after=1,
        never=({'up{job="salesgauge-exporter",instance="e1"}': "0x60",
                'up{job="salesgauge-exporter",instance="e2"}': "1x60"},),  # the other one answers
    ),
    "ExporterNotReady": Case(
        {'salesgauge_ready{instance="e1"}': ("1", "0")}, wait=5, after=1,
        never=({'salesgauge_ready{instance="e1"}': "0x3 1x60"},
               {'salesgauge_ready{instance="e1"}': "0x60", 'salesgauge_ready{instance="e2"}': "1x60"}),
    ),
    "NoWorker": Case(
        {'salesgauge_batches_total{instance="w1"}': ("5", "_")}, wait=6, after=1,  # a sample lives 5 min
        never=({'salesgauge_batches_total{instance="w1"}': "5x60"},),
    ),
    "WorkerDown": Case(
        {'up{job="salesgauge-worker",instance="w1"}': ("1", "0")}, after=1, labels={"instance": "w1"},
        still={'up{job="salesgauge-worker",instance="w2"}': "1x60"},
        never=({'up{job="salesgauge-worker",instance="w1"}': "1x60", 'up{job="other",instance="x"}': "0x60"},),
    ),
    "RulesFail": Case(
        {'prometheus_rule_evaluation_failures_total{rule_group="g",instance="p"}': ("0", "0+1")}, wait=1, after=7,
        labels={"instance": "p"},
        never=({'prometheus_rule_evaluation_failures_total{rule_group="g",instance="p"}': "7x60"},),
    ),
    "NoticesNotDelivered": Case(
        {'alertmanager_notifications_failed_total{integration="slack",instance="a"}': ("0", "0+1")}, wait=6, after=7,
        labels={"integration": "slack"},
        never=({'alertmanager_notifications_failed_total{integration="slack",instance="a"}': "7x60"},),
    ),
}  # fmt: skip

ALWAYS = {"Watchdog": "it proves the way to the receiver by firing always; its end is the alarm"}
"""Alerts that neither rest nor end, and why."""
