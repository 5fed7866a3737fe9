"""The shipped mappings on the real exports, against sums that polars draws from the CSV files directly."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from salesgauge.schemas.events import (
    ActivityLogged,
    DealLost,
    DealWon,
    EventBase,
    LeadCreated,
    LifecycleStageChanged,
    OpportunityCreated,
    SpendRecorded,
)
from salesgauge.schemas.sources.conversion import Rejected, convert
from salesgauge.schemas.sources.mapping import find_mapping, load_mapping
from tests.support.shared import require_shared

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T", bound=EventBase)
BERLIN = ZoneInfo("Europe/Berlin")


def lead_of(event: EventBase) -> str | None:
    """The lead that an event names, if its kind does."""
    return getattr(event, "lead_id", None)


class Converted:
    """The events of a shipped mapping by type, and the rejected rows."""

    def __init__(self, name: str, folder: Path, *, distinct: tuple[str, ...] = ()) -> None:
        self.rejected: list[Rejected] = []
        self._events: dict[type[EventBase], list[Any]] = defaultdict(list)
        for result in convert(load_mapping(find_mapping(name)), folders=(folder,), distinct=distinct):
            if isinstance(result, Rejected):
                self.rejected.append(result)
            else:
                self._events[type(result)].append(result)

    def of(self, kind: type[T]) -> list[T]:
        return self._events[kind]


def revenue_by(deals: list[DealWon], label: Callable[[DealWon], str | None]) -> dict[str | None, Decimal]:
    sums: dict[str | None, Decimal] = defaultdict(Decimal)
    for deal in deals:
        sums[label(deal)] += sum(line.quantity * line.unit_price for line in deal.lines)
    return dict(sums)


# --- the pipeline


@pytest.fixture(scope="module")
def pipeline() -> Converted:
    return Converted("sales-pipeline", require_shared("maven_crm"))


@pytest.fixture(scope="module")
def opportunities() -> pl.DataFrame:
    folder = require_shared("maven_crm")
    deals = pl.read_csv(folder / "sales_pipeline.csv", try_parse_dates=True, infer_schema_length=None)
    teams = pl.read_csv(folder / "sales_teams.csv")
    return deals.join(teams, on="sales_agent", how="left").with_columns(pl.col("product").replace("GTXPro", "GTX Pro"))


def test_pipeline_rows_become_events(pipeline: Converted, opportunities: pl.DataFrame) -> None:
    engaged = opportunities.filter(pl.col("engage_date").is_not_null())
    for kind in (LeadCreated, OpportunityCreated):
        events = pipeline.of(kind)
        assert {lead_of(event) for event in events} == set(engaged["opportunity_id"])
        assert len(events) == engaged.height == 8300
    assert {row.row["lead_id"] for row in pipeline.rejected} == set(
        opportunities.filter(pl.col("engage_date").is_null())["opportunity_id"]
    )
    assert Counter((row.event, row.reason) for row in pipeline.rejected) == {("lead_created", "no engage_date"): 500}


def test_pipeline_win_rate(pipeline: Converted, opportunities: pl.DataFrame) -> None:
    stages = dict(opportunities["deal_stage"].value_counts().iter_rows())
    won, lost = len(pipeline.of(DealWon)), len(pipeline.of(DealLost))
    assert (won, lost) == (stages["Won"], stages["Lost"])
    assert (won, won + lost) == (4238, 6711)


@pytest.mark.parametrize(
    ("column", "label"),
    [
        ("regional_office", lambda deal: deal.location),
        ("manager", lambda deal: deal.team),
        ("sales_agent", lambda deal: deal.rep_id),
        ("product", lambda deal: deal.lines[0].product),
        ("account", lambda deal: deal.account_id),
    ],
)
def test_pipeline_revenue(
    pipeline: Converted, opportunities: pl.DataFrame, column: str, label: Callable[[DealWon], str | None]
) -> None:
    won = opportunities.filter(pl.col("deal_stage") == "Won")
    assert revenue_by(pipeline.of(DealWon), label) == dict(won.group_by(column).agg(pl.sum("close_value")).iter_rows())
    assert sum(revenue_by(pipeline.of(DealWon), label).values()) == 10_005_534


def test_pipeline_products_have_one_spelling(pipeline: Converted) -> None:
    products = pl.read_csv(require_shared("maven_crm", "products.csv"))["product"]
    assert {line.product for deal in pipeline.of(DealWon) for line in deal.lines} == set(products)


def test_pipeline_cycle(pipeline: Converted, opportunities: pl.DataFrame) -> None:
    created = {lead.lead_id: lead.occurred_at for lead in pipeline.of(LeadCreated)}
    days = [(deal.occurred_at - created[lead_of(deal) or ""]) / timedelta(days=1) for deal in pipeline.of(DealWon)]
    expected = opportunities.filter(pl.col("deal_stage") == "Won").select(
        (pl.col("close_date") - pl.col("engage_date")).dt.total_days().mean()
    )
    assert statistics.fmean(days) == pytest.approx(expected.item(), abs=1e-9)
    assert round(statistics.fmean(days), 3) == 51.782


# --- the school


@pytest.fixture(scope="module")
def school() -> Converted:
    return Converted("school-crm", require_shared("school_crm"))


@pytest.fixture(scope="module")
def deals() -> pl.DataFrame:
    """The real rows, with times and durations taken apart by text operations."""
    rows = pl.read_csv(require_shared("school_crm", "deals.csv"), infer_schema=False)
    part = pl.col("SLA").str.extract_groups(r"^(?:(?<days>\d+) days?, )?(?<h>\d+):(?<m>\d+):(?<s>\d+)$")
    seconds = pl.sum_horizontal(
        part.struct.field(name).cast(pl.Int64) * factor
        for name, factor in (("days", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
    )
    return rows.filter(pl.col("Id").is_not_null()).with_columns(
        created=pl.col("Created Time").str.to_datetime("%d.%m.%Y %H:%M"),
        closed=pl.col("Closing Date").str.to_date("%d.%m.%Y"),
        seconds=pl.when(pl.col("SLA").is_not_null()).then(seconds),
    )


def test_school_leads(school: Converted, deals: pl.DataFrame) -> None:
    leads = school.of(LeadCreated)
    assert {lead.lead_id for lead in leads} == set(deals["Id"])
    assert Counter(lead.source for lead in leads) == dict(deals["Source"].value_counts().iter_rows())
    assert Counter(lead.campaign_id for lead in leads) == dict(deals["Campaign"].value_counts().iter_rows())
    assert Counter(lead.rep_id for lead in leads) == dict(deals["Deal Owner Name"].value_counts().iter_rows())
    expected = {
        lead: at.replace(tzinfo=BERLIN).astimezone(UTC) for lead, at in deals.select("Id", "created").iter_rows()
    }
    assert {lead.lead_id: lead.occurred_at for lead in leads} == expected


def test_school_traps(school: Converted, deals: pl.DataFrame) -> None:
    assert [(row.event, row.reason) for row in school.rejected] == [("lead_created", "no Id (a remnant of the export)")]
    assert sum(lead.rep_id is None for lead in school.of(LeadCreated)) == 29
    prices = [line.unit_price for deal in school.of(DealWon) for line in deal.lines]
    assert prices.count(Decimal(2900)) == 11  # '€ 2.900,00'
    early = deals.filter(
        pl.col("closed") < pl.col("created").dt.date(), pl.col("Stage").is_in(["Payment Done", "Lost"])
    )
    created = {lead.lead_id: lead.occurred_at for lead in school.of(LeadCreated)}
    closed = [*school.of(DealWon), *school.of(DealLost)]
    assert {lead_of(deal) for deal in closed if deal.occurred_at < created[lead_of(deal) or ""]} == set(early["Id"])


def test_school_conversions(school: Converted, deals: pl.DataFrame) -> None:
    source = {lead.lead_id: lead.source for lead in school.of(LeadCreated)}
    won = Counter(source[lead_of(deal) or ""] for deal in school.of(DealWon))
    expected = deals.filter(pl.col("Stage") == "Payment Done")["Source"].value_counts()
    assert won == dict(expected.iter_rows())
    leads = Counter(source.values())
    assert (won["Facebook Ads"], leads["Facebook Ads"]) == (202, 4850)
    assert (won["Google Ads"], leads["Google Ads"]) == (173, 4226)
    assert (won["Webinar"], leads["Webinar"]) == (26, 379)


def test_school_responses(school: Converted, deals: pl.DataFrame) -> None:
    created = {lead.lead_id: lead.occurred_at for lead in school.of(LeadCreated)}
    touches = school.of(ActivityLogged)
    assert all(touch.direction == "outbound" and not touch.automated for touch in touches)
    seconds = {touch.lead_id: (touch.occurred_at - created[touch.lead_id or ""]).total_seconds() for touch in touches}
    answered = deals.filter(pl.col("seconds").is_not_null())
    assert seconds == dict(answered.select("Id", "seconds").iter_rows())
    assert len(seconds) == 15_533
    assert statistics.median(seconds.values()) == 19_894
    assert round(100 * sum(value <= 3600 for value in seconds.values()) / len(seconds), 2) == 22.35
    assert max(seconds.values()) > timedelta(days=98).total_seconds()


def test_school_revenue(school: Converted, deals: pl.DataFrame) -> None:
    amount = pl.col("Offer Total Amount").str.replace_all(r"[€ ]", "")
    german = amount.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    won = deals.filter(pl.col("Stage") == "Payment Done").with_columns(
        amount=pl.when(amount.str.contains(",")).then(german).otherwise(amount).cast(pl.Decimal(18, 2)),
        product=pl.col("Product").fill_null("unknown"),
    )
    priced = won.filter(pl.col("amount").is_not_null())
    with_lines = [deal for deal in school.of(DealWon) if deal.lines]
    assert len(with_lines) == priced.height == 843
    assert revenue_by(with_lines, lambda deal: deal.rep_id) == dict(
        priced.group_by("Deal Owner Name").agg(pl.sum("amount")).iter_rows()
    )
    assert revenue_by(with_lines, lambda deal: deal.lines[0].product) == dict(
        priced.group_by("product").agg(pl.sum("amount")).iter_rows()
    )


def test_school_losses_and_their_times(school: Converted, deals: pl.DataFrame) -> None:
    lost = deals.filter(pl.col("Stage") == "Lost")
    assert Counter(deal.reason for deal in school.of(DealLost)) == dict(lost["Lost Reason"].value_counts().iter_rows())
    ends = {lead_of(deal): deal.occurred_at for deal in [*school.of(DealWon), *school.of(DealLost)]}
    touched = {touch.lead_id: touch.occurred_at for touch in school.of(ActivityLogged)}
    ended = deals.filter(pl.col("Stage").is_in(["Payment Done", "Lost"]))
    assert set(ends) == set(ended["Id"])
    for lead, created, closed in ended.select("Id", "created", "closed").iter_rows():
        entered = created.replace(tzinfo=BERLIN).astimezone(UTC)
        if closed is None:
            assert ends[lead] == touched.get(lead, entered)
        elif closed == created.date():
            assert ends[lead] == entered
        else:
            assert ends[lead] == datetime(closed.year, closed.month, closed.day, tzinfo=BERLIN)


def test_school_stages(school: Converted, deals: pl.DataFrame) -> None:
    changes: dict[str, list[LifecycleStageChanged]] = defaultdict(list)
    for change in school.of(LifecycleStageChanged):
        changes[change.lead_id].append(change)
    assert all(len({change.occurred_at for change in each}) == len(each) for each in changes.values())
    now = Counter(max(each, key=lambda change: change.occurred_at).stage for each in changes.values())
    stages = Counter(deals["Stage"])
    quality = pl.col("Quality").str.slice(0, 1)
    lost = deals.filter(pl.col("Stage") == "Lost")
    assert now["opportunity"] == stages["Waiting For Payment"]
    assert lost.filter(~quality.is_in(["A", "B", "C"]) | quality.is_null()).height == sum(
        change.stage == "disqualified" for change in school.of(LifecycleStageChanged)
    )
    assert stages["Payment Done"] == sum(change.stage == "customer" for change in school.of(LifecycleStageChanged))


def test_school_spend_with_and_without_its_duplicate_rows(school: Converted) -> None:
    folder = require_shared("school_crm")
    rows = pl.read_csv(folder / "spend.csv", schema_overrides={"Spend": pl.Decimal(18, 6)}, infer_schema_length=None)
    once = Converted("school-crm", folder, distinct=("spend",))
    for spent, expected in ((school.of(SpendRecorded), rows), (once.of(SpendRecorded), rows.unique())):
        assert len({event.event_id for event in spent}) == len(spent) == expected.height
        by_channel: dict[str | None, Decimal] = defaultdict(Decimal)
        by_campaign: dict[str, Decimal] = defaultdict(Decimal)
        for event in spent:
            by_channel[event.channel] += event.amount
            by_campaign[event.campaign_id] += event.amount
        assert by_channel == dict(expected.group_by("Source").agg(pl.sum("Spend")).iter_rows())
        campaign = pl.coalesce("Campaign", "Source").alias("campaign")
        assert by_campaign == dict(expected.group_by(campaign).agg(pl.sum("Spend")).iter_rows())
    assert rows.height - rows.unique().height == 917
    assert sum(event.amount for event in school.of(SpendRecorded)) == Decimal("149523.45")
