"""A month of a company in its CRM: however webhooks are lost, repeated and shuffled, a sweep brings the right figures.

They are compared with those of the company's own log of events.
"""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import pytest

from salesgauge.metrics.rules.model import Rules
from salesgauge.schemas.events import EventBase
from salesgauge.schemas.sources.live import Deriver
from salesgauge.schemas.sources.objects import RawRecord
from salesgauge.schemas.sources.source import shipped_source
from tests.ingest.fakes import text
from tests.support.stories import event, machine

START = 1_780_300_800_000  # 2026-06-01 08:00 UTC
HOUR = 3_600_000
END = "2026-07-01T00:00:00Z"
OWNERS = ("ann", "bob", "cleo")


KPIS = (
    "new_leads", "deals_won", "sales_revenue", "average_deal_size", "new_opportunities", "win_ratio",
    "sales_cycle_seconds", "leads_waiting",
)  # fmt: skip


class Company:
    """What happens in it: told by its own events, by webhooks, and by its CRM's objects."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.log: list[EventBase] = []
        self.hooks: list[dict[str, Any]] = []
        self.objects: dict[str, dict[int, dict[str, Any]]] = {"contact": {}, "deal": {}}
        self.now = START
        for number in range(40):
            self.lead(1000 + number)

    def tick(self, hours: float) -> int:
        self.now += round(hours * HOUR) + self.chance.randrange(1, 60_000)
        return self.now

    def say(self, name: str, at: int, **fields: Any) -> None:
        self.log.append(event(name, text(at), **fields))

    def hook(self, kind: str, number: int, at: int, **fields: Any) -> None:
        self.hooks.append({"subscriptionType": kind, "objectId": number, "occurredAt": at, "portalId": 700, **fields})

    def set(self, kind: str, number: int, at: int, **values: str) -> None:
        """A property changes: HubSpot sends a webhook and remembers it in the history."""
        for name, value in values.items():
            self.hook(f"{kind}.propertyChange", number, at, propertyName=name, propertyValue=value)
            one = self.objects[kind][number]
            one["properties"][name] = value
            one["history"].setdefault(name, []).append({"value": value, "timestamp": text(at)})
            one["updated"] = at

    def create(self, kind: str, number: int, at: int, **values: str) -> None:
        self.objects[kind][number] = {"properties": {"createdate": text(at)}, "history": {}, "created": at,
                                      "updated": at, "contacts": []}  # fmt: skip
        self.hook(f"{kind}.creation", number, at)
        self.set(kind, number, at, **values)

    def lead(self, number: int) -> None:
        begun, self.now = self.now, self.now + self.chance.randrange(HOUR, 12 * HOUR)
        at, owner = self.now, self.chance.choice(OWNERS)
        self.create("contact", number, at, hubspot_owner_id=owner, hs_analytics_source="WEB")
        self.say("lead_created", at, lead_id=str(number), source="WEB", rep_id=owner)
        self.say("lead_assigned", at, lead_id=str(number), rep_id=owner)
        if self.chance.random() < 0.7:
            self.deal(number, number + 5000, owner)
        if self.chance.random() < 0.1:
            gone = self.tick(5)
            self.hook("contact.deletion", number, gone)
            self.objects["contact"][number]["archived"] = gone
            self.say("lead_deleted", gone, lead_id=str(number))
        self.now = max(begun, at)

    def deal(self, lead: int, number: int, owner: str) -> None:
        at, amount = self.tick(3), self.chance.randrange(100, 900)
        self.create("deal", number, at, dealstage="appointmentscheduled", amount=str(amount), hubspot_owner_id=owner)
        self.hook("deal.associationChange", number, at, associationType="DEAL_TO_CONTACT", fromObjectId=number,
                  toObjectId=lead, associationRemoved=False)  # fmt: skip
        self.objects["deal"][number]["contacts"] = [lead]
        who = {"deal_id": str(number), "lead_id": str(lead)}
        self.say("opportunity_created", at, rep_id=owner, amount=str(amount), **who)
        steps = self.chance.choice(
            ([], ["won"], ["lost"], ["won", "open"], ["won", "open", "won"], ["lost", "open", "won"])
        )
        for step in steps:
            at = self.tick(24)
            if step == "won" and self.chance.random() < 0.3:
                amount += 50
                self.set("deal", number, at - 1000, amount=str(amount))
            stage = {"won": "closedwon", "lost": "closedlost", "open": "contractsent"}[step]
            self.set("deal", number, at, dealstage=stage)
            name = {"won": "deal_won", "lost": "deal_lost", "open": "deal_reopened"}[step]
            closing = {} if step == "open" else {"rep_id": owner, "amount": str(amount)}
            self.log = [
                one.model_copy(update={"amount": Decimal(amount)}) if one.name in ("deal_won", "deal_lost")
                and one.deal_id == str(number) else one for one in self.log  # type: ignore[attr-defined]
            ]  # fmt: skip
            self.say(name, at, **who, **closing)
        if steps and self.chance.random() < 0.15:
            gone = self.tick(1)
            self.hook("deal.deletion", number, gone)
            self.objects["deal"][number]["archived"] = gone
            self.say("deal_deleted", gone, deal_id=str(number))

    def heard(self) -> list[dict[str, Any]]:
        """The webhooks as they arrive: some never, some twice, in another order."""
        arrived = [hook for hook in self.hooks if self.chance.random() > 0.05]
        arrived += self.chance.choices(self.hooks, k=len(self.hooks) // 10)
        late = [(number + self.chance.randrange(40), hook) for number, hook in enumerate(arrived)]
        return [hook for _, hook in sorted(late, key=lambda pair: pair[0])]

    def swept(self) -> list[dict[str, Any]]:
        """All objects as the API has them."""
        found = []
        for kind, objects in self.objects.items():
            for number, one in objects.items():
                shown = {
                    "id": str(number),
                    "properties": one["properties"],
                    "propertiesWithHistory": one["history"],
                    "createdAt": text(one["created"]),
                    "updatedAt": text(one["updated"]),
                    "archived": "archived" in one,
                    "associations": {"contacts": {"results": [{"id": str(n)} for n in one["contacts"]]}},
                }
                if "archived" in one:
                    shown["archivedAt"] = text(one["archived"])
                found.append({"portalId": 700, "objectType": kind, "object": shown})
        return found


def figures(events: list[EventBase]) -> dict[str, Any]:
    """All readings that have a value."""
    engine = machine(events, END, Rules())
    return {
        f"{reading.kpi} {reading.window} {sorted(dict(reading.labels).items())} {reading.stat}": reading.value
        for reading in engine.readings(engine.catalogue.select(KPIS))
    }


@pytest.mark.parametrize("seed", range(6))
def test_after_a_sweep_the_figures_are_those_of_the_companys_own_log(seed: int) -> None:
    company = Company(seed)
    bodies: list[Any] = company.heard()
    memory: dict[bytes, bytes] = {}
    derived: list[EventBase] = []
    deriver = Deriver(shipped_source("hubspot"), memory)
    for start in range(0, len(bodies), 37):
        derived += deriver.derive(RawRecord(body, at=START) for body in bodies[start : start + 37]).events
        if company.chance.random() < 0.2:  # a crash: a new process repeats the batch
            deriver.close()
            deriver = Deriver(shipped_source("hubspot"), memory)
            derived += deriver.derive(RawRecord(body, at=START) for body in bodies[start : start + 37]).events
    derived += deriver.derive(RawRecord(body, at=START) for body in company.swept()).events
    deriver.close()
    company.chance.shuffle(derived)

    own, found = figures(company.log), figures(derived)
    assert len(own) > 50
    differing = {name: (own.get(name), found.get(name)) for name in own | found if own.get(name) != found.get(name)}
    assert not differing, json.dumps(dict(list(differing.items())[:20]), indent=1)
