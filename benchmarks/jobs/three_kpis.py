"""Three KPIs with corrections, for any framework: response time by rep, positive-reply ratio, revenue by team.

What a peer must do to be right about late, repeated and corrected events: keep what it knows of a lead, compute what
the lead adds, and tell the difference to what it added before. No merges, no deals of their own, no calendar, no
windows but hours. Imports nothing of ours, so that it runs in a peer's environment.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

HOUR_MS = 3_600_000
KINDS = frozenset({
    "lead_created", "lead_assigned", "activity_logged", "reply_received", "deal_won", "deal_lost", "deal_reopened",
})  # fmt: skip

Lead = dict[str, Any]
Change = tuple[str, int, float]
"""A key of a sum, the hour it belongs to (ms), and what is added."""


def key_of(event: dict[str, Any]) -> str:
    """What is known is kept by lead, of what was won by deal, of customers by account, as the topics are keyed."""
    return str(event.get("deal_id") or event.get("lead_id") or event.get("account_id"))


def changes(lead: Lead, event: dict[str, Any]) -> list[Change]:
    """Take an event into what is known of its lead (changed in place); how the sums change by it."""
    seen = lead.setdefault("ids", [])
    if event["event_id"] in seen:
        return []
    seen.append(event["event_id"])
    before = _adds(lead)
    _take(lead, event)
    after = _adds(lead)
    keys = {**before, **after}
    found = ((key, after.get(key, 0) - before.get(key, 0)) for key in keys)
    return [(name, hour, amount) for (name, hour), amount in found if amount]


def _adds(lead: Lead) -> dict[tuple[str, int], float]:
    added: dict[tuple[str, int], float] = {}

    def add(name: str, at: int, amount: float = 1) -> None:
        key = (name, at // HOUR_MS * HOUR_MS)
        added[key] = added.get(key, 0) + amount

    created, touched, contacted = lead.get("created"), lead.get("touched"), lead.get("contacted")
    if created is not None and touched is not None and touched >= created:
        bucket = math.ceil(32 * math.log2(max(touched - created, 1) / 1000))
        add(f"response|{lead.get('rep') or 'unknown'}|{bucket}", touched)
    if contacted is not None:
        add("contacted", contacted)
        if any(at >= contacted for at in lead.get("positive", ())):
            add("positive", contacted)
    for team, amount, at in lead.get("won", {}).values():
        add(f"revenue|{team}", at, amount)
    return added


def _take(lead: Lead, event: dict[str, Any]) -> None:
    kind, at = event["event"], _ms(event["occurred_at"])
    if kind == "lead_created":
        lead["created"] = min(at, lead.get("created", at))
        lead["rep"] = lead.get("rep") or event.get("rep_id") or ""
    elif kind == "lead_assigned":
        lead["rep"] = event["rep_id"]
    elif kind == "activity_logged":
        if event.get("direction", "outbound") == "outbound":
            lead["contacted"] = min(at, lead.get("contacted", at))
            if not event.get("automated"):
                lead["touched"] = min(at, lead.get("touched", at))
    elif kind == "reply_received":
        if event.get("sentiment") == "positive" and not event.get("auto_reply"):
            lead.setdefault("positive", []).append(at)
    elif kind == "deal_won":
        amount = sum(float(line.get("quantity", 1)) * float(line["unit_price"]) for line in event.get("lines", ()))
        lead.setdefault("won", {})[event["deal_id"]] = [event.get("team") or "unknown", amount, at]
    else:
        lead.get("won", {}).pop(event["deal_id"], None)


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)
