"""The tables that every CRM's reader fills: leads, deals, accounts, activities, meetings, stages, owners.

A reader translates a system's fields into those named here, and that is all it does: histories, owners at a close,
deletions and merges are worked out once. Instants are facts about when something was so in the source; ``recorded_at``
is when the source learnt the last of what a row says.

====================  =================================================================================================
kind of object        fields
====================  =================================================================================================
``lead``              created, owner, stage, source, campaign, location, account
``deal``              created, stage, status (open, won, lost), closed_at, amount, currency, owner, account,
                      expected_close, probability, category, reason, type, ``lead~ID`` (primary, other or empty)
``account``           created, owner
``activity``          kind, at, direction, automated, owner, account, done, bounced, ``lead~ID``
``meeting``           booked_at, starts_at, outcome (held, no_show, cancelled), outcome_at, owner, booked_by,
                      ``lead~ID``
``stage``             label, pipeline, outcome (won, lost, open), probability
``owner``             created, name, team, active
====================  =================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from salesgauge.schemas.sources.instants import milliseconds
from salesgauge.schemas.sources.objects import DELETED, MERGED, FieldValue, ObjectState, RawRecord, Row, Told

LEAD_LINK = "lead~"
"""A field of this prefix, followed by a lead's id, says how the lead belongs to the object."""
TENANT = "tenant"
"""Which account of the system an object is of; part of the ids of events."""
EXTRA = "x."
"""Prefix of the fields that a source asks for beside those of the tables."""

_OBJECT = {"tenant": "VARCHAR", "id": "VARCHAR", "recorded_at": "TIMESTAMPTZ"}
_OF_DEAL = {"lead_id": "VARCHAR", "account_id": "VARCHAR", "rep_id": "VARCHAR", "amount": "VARCHAR",
            "currency": "VARCHAR"}  # fmt: skip

TABLES: Mapping[str, Mapping[str, str]] = {
    "leads": {**_OBJECT, "created_at": "TIMESTAMPTZ", "rep_id": "VARCHAR", "source": "VARCHAR",
              "campaign_id": "VARCHAR", "location": "VARCHAR", "properties": "JSON"},
    "lead_owners": {**_OBJECT, "happened_at": "TIMESTAMPTZ", "rep_id": "VARCHAR"},
    "lead_stages": {**_OBJECT, "happened_at": "TIMESTAMPTZ", "stage": "VARCHAR"},
    "lead_ends": {**_OBJECT, "happened_at": "TIMESTAMPTZ", "deleted": "BOOLEAN"},
    "lead_merges": {**_OBJECT, "happened_at": "TIMESTAMPTZ", "survivor_id": "VARCHAR"},
    "deals": {**_OBJECT, "created_at": "TIMESTAMPTZ", **_OF_DEAL, "type": "VARCHAR", "properties": "JSON"},
    "deal_changes": {**_OBJECT, "happened_at": "TIMESTAMPTZ", **_OF_DEAL, "stage": "VARCHAR",
                     "expected_close": "TIMESTAMPTZ", "probability": "VARCHAR", "category": "VARCHAR"},
    "deal_stages": {**_OBJECT, "happened_at": "TIMESTAMPTZ", **_OF_DEAL, "stage": "VARCHAR", "status": "VARCHAR",
                    "previous_stage": "VARCHAR", "previous_status": "VARCHAR", "reason": "VARCHAR", "type": "VARCHAR",
                    "properties": "JSON"},
    "deal_ends": {**_OBJECT, "happened_at": "TIMESTAMPTZ", "deleted": "BOOLEAN"},
    "account_merges": {**_OBJECT, "happened_at": "TIMESTAMPTZ", "survivor_id": "VARCHAR"},
    "activities": {**_OBJECT, "happened_at": "TIMESTAMPTZ", "kind": "VARCHAR", "direction": "VARCHAR",
                   "automated": "BOOLEAN", "rep_id": "VARCHAR", "lead_id": "VARCHAR", "account_id": "VARCHAR",
                   "bounced": "BOOLEAN", "properties": "JSON"},
    "meetings": {**_OBJECT, "booked_at": "TIMESTAMPTZ", "starts_at": "TIMESTAMPTZ", "outcome": "VARCHAR",
                 "outcome_at": "TIMESTAMPTZ", "rep_id": "VARCHAR", "lead_id": "VARCHAR", "booked_by": "VARCHAR",
                 "properties": "JSON"},
    "pipeline_stages": {"id": "VARCHAR", "label": "VARCHAR", "pipeline": "VARCHAR", "outcome": "VARCHAR",
                        "probability": "VARCHAR"},
    "owners": {**_OBJECT, "created_at": "TIMESTAMPTZ", "name": "VARCHAR", "team": "VARCHAR", "active": "BOOLEAN"},
}  # fmt: skip

LOOKUPS = frozenset({"stage"})
"""Kinds whose rows stay, as the SQL of others looks them up."""

_WITH_HISTORY = {
    "lead": frozenset({"owner", "stage", DELETED, MERGED}),
    "deal": frozenset({"stage", "status", "amount", "currency", "owner", "account", "expected_close", "probability",
                       "category", DELETED}),
}  # fmt: skip
_DELETIONS = frozenset({DELETED})
_SAID_OF_STEPS = frozenset({"amount", "currency", "account", "reason", "type"})
_CHANGING = ("stage", "amount", "currency", "owner", "account", "expected_close", "probability", "category")


class CrmReader:
    """The half of a reader that all CRMs share: from objects to rows. The other half is :meth:`tell`."""

    tables = TABLES
    lookups = LOOKUPS

    def tell(self, record: RawRecord) -> Iterable[Told]:
        """What a record says."""
        raise NotImplementedError

    def histories(self, kind: str) -> frozenset[str]:
        """The fields of a kind of object whose former values matter."""
        return _WITH_HISTORY.get(kind, _DELETIONS)

    def rows(self, kind: str, number: str, state: ObjectState) -> Iterable[Row]:
        """The rows that stand for an object."""
        make = _ROWS.get(kind)
        return make(number, state) if make else ()


def instants(state: ObjectState, name: str) -> int | None:
    """A field that holds an instant, in ms."""
    return milliseconds(state.get(name))


def share(percent: Any) -> Any:
    """A percentage as a share of 1; None where it is no number."""
    try:
        return None if percent is None or isinstance(percent, bool) else float(percent) / 100
    except (TypeError, ValueError):
        return None


def lead_of(state: ObjectState) -> str | None:
    """The lead that an object belongs to: the primary one, else the one that has been it longest."""
    linked = [
        (state.get(name) != "primary", state.since(name) or 0, name)
        for name in state.names()
        if name.startswith(LEAD_LINK) and state.get(name)
    ]
    return min(linked)[2].removeprefix(LEAD_LINK) if linked else None


def _base(number: str, state: ObjectState) -> dict[str, Any]:
    return {"tenant": state.get(TENANT, ""), "id": number, "recorded_at": state.recorded()}


def _extras(state: ObjectState) -> dict[str, Any]:
    return {name.removeprefix(EXTRA): value for name, value in state.values().items() if name.startswith(EXTRA)}


def _ends(table: str, number: str, state: ObjectState) -> Iterable[Row]:
    """Deletions and, after them, restorations. What became a part of another object was not deleted."""
    merged = state.since(MERGED) if state.get(MERGED) else None
    base, deleted = _base(number, state), False
    for at, value in state.runs(DELETED):
        if bool(value) != deleted and not (value and merged is not None):
            yield Row(table, {**base, "happened_at": at, "deleted": bool(value), "recorded_at": state.recorded(at)})
        deleted = bool(value)


def _merges(table: str, number: str, state: ObjectState) -> Iterable[Row]:
    survivor = state.get(MERGED)
    if survivor and survivor != number:
        at = state.since(MERGED)
        yield Row(
            table,
            {**_base(number, state), "happened_at": at, "recorded_at": state.recorded(at), "survivor_id": survivor},
        )


def _lead(number: str, state: ObjectState) -> Iterable[Row]:
    base = _base(number, state)
    created = instants(state, "created")
    if created is not None:
        said = {"source": state.get("source"), "campaign_id": state.get("campaign"), "location": state.get("location")}
        rep = state.at("owner", created)
        yield Row("leads", {**base, "created_at": created, "rep_id": rep, **said, "properties": _extras(state)})
    for at, owner in state.runs("owner"):
        if owner:
            yield Row("lead_owners", {**base, "recorded_at": state.recorded(at), "happened_at": at, "rep_id": owner})
    for at, stage in state.runs("stage"):
        if stage:
            yield Row("lead_stages", {**base, "recorded_at": state.recorded(at), "happened_at": at, "stage": stage})
    yield from _ends("lead_ends", number, state)
    yield from _merges("lead_merges", number, state)


def _of_deal(state: ObjectState, at: int) -> dict[str, Any]:
    """Of a deal at an instant; the lead and the account are those that it has now."""
    return {
        "lead_id": lead_of(state),
        "account_id": state.get("account"),
        "rep_id": state.at("owner", at),
        "amount": state.get("amount"),
        "currency": state.get("currency"),
    }


def _deal(number: str, state: ObjectState) -> Iterable[Row]:
    base = _base(number, state)
    created = instants(state, "created")
    kind, extras = state.get("type"), _extras(state)
    if created is not None:
        opened = _of_deal(state, created) | {"amount": state.at("amount", created)}
        yield Row("deals", {**base, "created_at": created, **opened, "type": kind, "properties": extras})
    yield from _deal_changes(base, state)
    yield from _deal_steps(base, state)
    if not state.get(MERGED):
        yield from _ends("deal_ends", number, state)
    else:
        merged_at = state.since(MERGED)
        yield Row(
            "deal_ends", {**base, "happened_at": merged_at, "recorded_at": state.recorded(merged_at), "deleted": True}
        )


def _deal_changes(base: Mapping[str, Any], state: ObjectState) -> Iterable[Row]:
    """What changed at each instant: of the attributes only those that did."""
    changes: dict[int, dict[str, Any]] = {}
    names = {"owner": "rep_id", "account": "account_id"}
    for name in _CHANGING:
        for at, value in state.runs(name):
            changes.setdefault(at, {})[names.get(name, name)] = value
    for at, said in sorted(changes.items()):
        if "expected_close" in said:
            said["expected_close"] = milliseconds(said["expected_close"])
        if any(value is not None for value in said.values()):
            yield Row("deal_changes", {**base, "happened_at": at, "recorded_at": state.recorded(at), **said})


def _deal_steps(base: Mapping[str, Any], state: ObjectState) -> Iterable[Row]:
    """The stages and statuses of a deal, each in one version or two: as it was then and, if that was another, as it is.

    The order in which the source learnt of steps decides what a deal is. So the first version of each is recorded when
    it happened, whatever was corrected since.
    """
    before: tuple[Any, Any] = (None, None)
    for at, stage, status in _deal_stages(state):
        step = {**base, "happened_at": at, "stage": stage, "status": status, "previous_stage": before[0],
                "previous_status": before[1], "reason": state.get("reason"), "type": state.get("type"),
                "properties": _extras(state)}  # fmt: skip
        corrected = _corrected(state)
        if corrected > at:
            then = {"amount": state.at("amount", at), "currency": state.at("currency", at)}
            yield Row("deal_stages", {**step, **_of_deal(state, at), **then, "recorded_at": at})
        recorded = state.recorded(max(at, corrected))
        yield Row("deal_stages", {**step, **_of_deal(state, at), "recorded_at": recorded})
        before = stage, status


def _corrected(state: ObjectState) -> int:
    """When the last of what a step says beside its stage came to be as it is."""
    names = [name for name in state.names() if name in _SAID_OF_STEPS or name.startswith((LEAD_LINK, EXTRA))]
    return max((state.since(name) or 0 for name in names), default=0)


def _deal_stages(state: ObjectState) -> Iterable[tuple[int, Any, Any]]:
    """The instants at which the stage or the status changed, with both as they were then."""
    closed_at = instants(state, "closed_at")
    closed_since = state.since("status") if state.get("status") in ("won", "lost") else None
    for at in sorted({at for name in ("stage", "status") for at, _ in state.runs(name)}):
        stage, status = (state.at(name, at, before=False) for name in ("stage", "status"))
        if at == closed_since and closed_at is not None:
            yield closed_at, stage, status  # as the source says
        else:
            yield at, stage, status


def _account(number: str, state: ObjectState) -> Iterable[Row]:
    return _merges("account_merges", number, state)


def _activity(number: str, state: ObjectState) -> Iterable[Row]:
    at = instants(state, "at")
    if at is None or state.get(DELETED) or not state.get("done", default=True):
        return
    yield Row("activities", {
        **_base(number, state), "happened_at": at, "kind": state.get("kind"), "direction": state.get("direction"),
        "automated": bool(state.get("automated")), "rep_id": state.get("owner"), "lead_id": lead_of(state),
        "account_id": state.get("account"), "bounced": bool(state.get("bounced")), "properties": _extras(state),
    })  # fmt: skip


def _meeting(number: str, state: ObjectState) -> Iterable[Row]:
    if state.get(DELETED) and not state.get("outcome"):
        state.add([FieldValue("outcome", state.since(DELETED) or 0, "cancelled")], frozenset())
    outcome_at = instants(state, "outcome_at")
    yield Row("meetings", {
        **_base(number, state), "booked_at": instants(state, "booked_at"), "starts_at": instants(state, "starts_at"),
        "outcome": state.get("outcome"), "outcome_at": state.since("outcome") if outcome_at is None else outcome_at,
        "rep_id": state.get("owner"), "lead_id": lead_of(state), "booked_by": state.get("booked_by"),
        "properties": _extras(state),
    })  # fmt: skip


def _stage(number: str, state: ObjectState) -> Iterable[Row]:
    names = ("label", "pipeline", "outcome", "probability")
    yield Row("pipeline_stages", {"id": number, **{name: state.get(name) for name in names}})


def _owner(number: str, state: ObjectState) -> Iterable[Row]:
    said = {"created_at": instants(state, "created"), "name": state.get("name"), "team": state.get("team")}
    yield Row("owners", {**_base(number, state), **said, "active": bool(state.get("active", default=True))})


_ROWS: Mapping[str, Callable[[str, ObjectState], Iterable[Row]]] = {
    "lead": _lead,
    "deal": _deal,
    "account": _account,
    "activity": _activity,
    "meeting": _meeting,
    "stage": _stage,
    "owner": _owner,
}
