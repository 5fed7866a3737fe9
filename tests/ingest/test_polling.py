"""Pollers against servers that speak the real protocols: the past, what webhooks lose, what they leave out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from salesgauge.streams.kafka.topics import create
from salesgauge.streams.settings.model import Settings
from tests.ingest.fakes import FakeHubSpot, FakePipedrive, FakeSalesforce
from tests.ingest.test_service import HUBSPOT, PATIENCE, SECRET, broker, notices, post, published
from tests.support.wait import until

__all__ = ["broker"]
pytestmark = pytest.mark.integration

START = 1_780_300_800_000
DAY = 86_400_000


@pytest.fixture
def installed(broker: Any, settings_for: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in {"HUBSPOT_SECRET": SECRET, "HUBSPOT_TOKEN": "pat-1", "PIPEDRIVE_TOKEN": "token-1",
                        "SALESFORCE_ID": "id", "SALESFORCE_SECRET": "secret"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    found: Settings = settings_for(broker.bootstrap, **{"kafka.partitions": 2})
    create(found)
    return found


@pytest.fixture
def hubspot() -> Iterator[FakeHubSpot]:
    fake = FakeHubSpot()
    yield fake
    fake.stop()


def source(url: str, **poll: Any) -> dict[str, Any]:
    said = {"secret": {"env": "HUBSPOT_TOKEN"}, "base": url, "every": 0.5, "objects": ["contact", "deal"]}
    return HUBSPOT | {"poll": said | poll}


def test_hubspots_past_changes_and_deletions(installed: Settings, run_service: Any, hubspot: FakeHubSpot) -> None:
    for number in range(1, 251):  # more than a page, and more than a batch
        hubspot.put("deals", number, START + number, (21,), dealstage="100", amount=str(number))
    hubspot.put("deals", 250, START + DAY, dealstage="200")
    hubspot.limit_next = 2
    running = run_service(installed, source(hubspot.url))
    until(lambda: len(published(installed, "crm.opportunity-created")) == 250, PATIENCE)
    until(lambda: len(published(installed, "crm.deal-won")) == 1, PATIENCE)
    [won] = published(installed, "crm.deal-won").values()
    assert won.model_dump(include={"deal_id", "lead_id", "amount"}, mode="json") == {
        "deal_id": "250", "lead_id": "21", "amount": "250",
    }  # fmt: skip
    assert won.occurred_at.timestamp() * 1000 == START + DAY
    assert running.metric("salesgauge_ingest_polls_total", source="hubspot", outcome="limited") == 2

    now = int(time.time() * 1000)
    hubspot.put("deals", 7, now, dealstage="200")  # a win of which no webhook told
    until(lambda: len(published(installed, "crm.deal-won")) == 2, PATIENCE)
    assert running.metric("salesgauge_ingest_found_by_sweep_total", source="hubspot") >= 1
    running.stop()

    hubspot.objects["deals"]["8"]["archived"] = now
    began = len(hubspot.requests)
    run_service(installed, source(hubspot.url))  # a new process: its first sweep looks for deletions
    until(lambda: len(published(installed, "crm.deal-deleted")) == 1, PATIENCE)
    searched = [body for path, body in hubspot.requests[began:] if path.endswith("deals/search")]
    assert int(searched[0]["filterGroups"][0]["filters"][0]["value"]) > START + DAY  # it goes on from the cursor


def test_hubspot_shows_new_objects_late(installed: Settings, run_service: Any, hubspot: FakeHubSpot) -> None:
    running = run_service(installed, source(hubspot.url))
    poller = running.service.pollers["hubspot"]
    until(lambda: poller.swept >= 1, PATIENCE)
    hubspot.hidden.add("1")
    hubspot.put("deals", 1, int(time.time() * 1000), dealstage="200", amount="5")
    swept = poller.swept
    until(lambda: poller.swept >= swept + 2, PATIENCE)
    assert published(installed, "crm.deal-won") == {}
    hubspot.hidden.clear()
    until(lambda: len(published(installed, "crm.deal-won")) == 1, PATIENCE)


def test_what_a_webhook_leaves_out_is_fetched_once(installed: Settings, run_service: Any, hubspot: FakeHubSpot) -> None:
    running = run_service(installed, source(hubspot.url, every=600.0))
    until(lambda: running.service.pollers["hubspot"].swept == 1, PATIENCE)
    hubspot.put("deals", 5, START + 2, (21,), dealstage="closedwon", amount="5", deal_currency_code="USD")
    assert post(int(running.url.rpartition(":")[2]), notices(5, 1)) == 200
    until(
        lambda: [getattr(event, "lead_id", None) for event in published(installed, "crm.deal-won").values()] == ["21"],
        PATIENCE,
    )
    [won] = published(installed, "crm.deal-won").values()
    assert won.currency == "USD"  # type: ignore[attr-defined]
    reads = [body for path, body in hubspot.requests if path.endswith("deals/batch/read")]
    assert [[one["id"] for one in body["inputs"]] for body in reads] == [["5"]]


def test_pipedrives_past_and_deletions(installed: Settings, run_service: Any) -> None:
    fake = FakePipedrive()
    for number in range(1, 8):
        fake.deals[number] = {
            "id": number, "value": number, "currency": "EUR", "status": "won", "person_id": 3, "owner_id": 9,
            "won_time": "2026-06-02T08:00:00Z", "add_time": "2026-06-01T08:00:00Z",
            "update_time": "2026-06-02T08:00:00Z",
        }  # fmt: skip
    fake.deals[7]["is_deleted"] = True
    running = run_service(installed, {
        "use": "pipedrive", "name": "pipedrive",
        "poll": {"secret": {"env": "PIPEDRIVE_TOKEN"}, "base": fake.url, "every": 0.5},
    })  # fmt: skip
    until(lambda: len(published(installed, "crm.deal-won")) >= 6, PATIENCE)
    until(lambda: running.service.pollers["pipedrive"].swept >= 1, PATIENCE)
    won = published(installed, "crm.deal-won").values()
    assert {event.lead_id for event in won} == {"person:3"}  # type: ignore[attr-defined]
    fake.stop()


def test_salesforces_records_and_history(installed: Settings, run_service: Any) -> None:
    fake = FakeSalesforce()
    fake.fields = {
        "Opportunity": ["Id", "SystemModstamp", "IsDeleted", "CreatedDate", "OwnerId", "StageName", "Amount", "IsWon",
                        "IsClosed", "AccountId"],
        "OpportunityFieldHistory": ["Id", "OpportunityId", "Field", "NewValue", "CreatedDate"],
        "OpportunityStage": ["Id", "MasterLabel", "ApiName", "IsWon", "IsClosed", "DefaultProbability",
                             "SystemModstamp"],
        "User": ["Id", "Name", "IsActive", "CreatedDate", "SystemModstamp"],
    }  # fmt: skip
    for number in range(5):
        fake.records.setdefault("Opportunity", []).append({
            "Id": f"006{number}", "SystemModstamp": "2026-06-03T08:00:00.000+0000", "IsDeleted": number == 4,
            "CreatedDate": "2026-06-01T08:00:00.000+0000", "OwnerId": "005A", "StageName": "Closed Won",
            "Amount": 100.0 + number, "IsWon": True, "IsClosed": True, "AccountId": "001A",
        })  # fmt: skip
    fake.records["OpportunityFieldHistory"] = [{
        "Id": "0171", "OpportunityId": "0061", "Field": "StageName", "NewValue": "Closed Won",
        "CreatedDate": "2026-06-02T08:00:00.000+0000",
    }]  # fmt: skip
    fake.fields["OpportunityFieldHistory"].append("SystemModstamp")
    run_service(installed, {
        "use": "salesforce", "name": "salesforce",
        "poll": {"secret": [{"env": "SALESFORCE_ID"}, {"env": "SALESFORCE_SECRET"}], "base": fake.url, "every": 0.5},
    })  # fmt: skip
    until(lambda: len(published(installed, "crm.deal-deleted")) == 1, PATIENCE)
    until(lambda: "salesforce:deal:0061:won:1780387200000" in published(installed, "crm.deal-won"), PATIENCE)
    won = {event.deal_id: event for event in published(installed, "crm.deal-won").values()}  # type: ignore[attr-defined]
    assert sorted(won) == ["0060", "0061", "0062", "0063", "0064"]
    assert won["0063"].amount == 103  # type: ignore[attr-defined]
    fake.stop()
