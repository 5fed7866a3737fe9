"""The open pipeline a second time: one deal at one instant, by its definitions, sharing no code with metrics.

Events are dictionaries with ``event``, ``event_id``, ``at`` and ``rec`` (ms), and the fields of the event; a field that
is there and None clears. Nothing is kept between instants: what is asked for is computed from all events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

Event = Mapping[str, Any]
Owners = Sequence[tuple[int, str, str]]
"""(since, rep, team) of a lead, sorted; before the first it is the first one's."""


@dataclass(frozen=True)
class Stage:
    name: str
    probability: Fraction | None = None
    kind: str = "open"
    limit: int | None = None
    """In ms."""


@dataclass(frozen=True)
class Terms:
    """Stages in their order; what one unit of a currency is worth at an instant; the months of a sales period."""

    stages: tuple[Stage, ...] = ()
    zone: str = "UTC"
    months: int = 3
    rate: Callable[[str, int], Fraction] = lambda _currency, _at: Fraction(1)

    def period(self, x: int) -> tuple[int, int]:
        """The first instant of the sales period of an instant, and that of the next."""
        zone = ZoneInfo(self.zone)
        day = datetime.fromtimestamp(x / 1000, zone)
        month = (day.year * 12 + day.month - 1) // self.months * self.months
        first, last = (
            datetime((month + step) // 12, (month + step) % 12 + 1, 1, tzinfo=zone) for step in (0, self.months)
        )
        return int(first.timestamp()) * 1000, int(last.timestamp()) * 1000


@dataclass(frozen=True)
class Standing:
    """What an open deal is at an instant; ``team`` as the deal or its lead says it."""

    stage: str
    category: str
    probability: Fraction | None
    amount: Fraction
    rep: str
    team: str
    opened: int | None
    expected: int | None


@dataclass(frozen=True)
class Visit:
    """A deal was in a stage; ``rep`` and ``team`` at its start."""

    stage: str
    since: int
    until: int | None
    rep: str
    team: str


class Deal:
    """What is known of one deal, and of the owners of the lead that it came from."""

    def __init__(self, events: Sequence[Event], owners: Owners, terms: Terms, touches: Sequence[int] = ()) -> None:
        self.terms, self.owners, self.touches = terms, owners, touches
        held: dict[str, Event] = {}
        for event in sorted(events, key=lambda e: e["rec"]):
            held[event["event_id"]] = event
        self.events = [
            e | {"place": min(o["rec"] for o in events if o["event_id"] == e["event_id"] and o["at"] == e["at"])}
            for e in map(dict, held.values())
        ]
        openings = self._of("opportunity_created")
        self.opened = min((e["at"] for e in openings), default=None)
        said = max(openings, key=lambda e: e["rec"], default=None)
        self.attributes = self._of("deal_changed")
        if said is not None:
            self.attributes.append({**said, "at": self.opened, "said": said["at"]})
        self.outcomes = self._outcomes()
        self.deleted = self._is_deleted()
        self._known: dict[int, Standing | None] = {}

    def _of(self, *names: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e["event"] in names]

    def _is_deleted(self) -> bool:
        steps = self._of("deal_deleted", "deal_restored")
        last = max(steps, key=lambda e: (e["place"], e["at"], e["event"]), default=None)
        return last is not None and last["event"] == "deal_deleted"

    def _outcomes(self) -> list[dict[str, Any]]:
        """Closes and re-openings that nothing learnt later, of their instant or an earlier one, has struck."""
        order = {"deal_lost": 1, "deal_won": 2, "deal_reopened": 3}
        steps = sorted(self._of(*order), key=lambda e: (e["place"], e["at"], order[e["event"]], e["rec"]))
        left = [e for i, e in enumerate(steps) if all(later["at"] > e["at"] for later in steps[i + 1 :])]
        return sorted(left, key=lambda e: e["at"])

    def _said(self, name: str, x: int) -> tuple[Any, int]:
        """The value of an attribute at an instant and when it was said."""
        said = [e for e in self.attributes if e["at"] <= x and self._says(e, name)]
        if not said:
            return None, 0
        last = max(said, key=_order)
        return last[name], last.get("said", last["at"])

    @staticmethod
    def _says(e: Event, name: str) -> bool:
        return name in e and (e[name] is not None if e["event"] == "opportunity_created" else True)

    def is_open(self, x: int) -> bool:
        first = self.opened
        if first is None:
            first = min((e["at"] for e in self._of("deal_changed")), default=None)
        before = [e for e in self.outcomes if e["at"] <= x]
        last = before[-1] if before else None
        reopened = last is not None and last["event"] == "deal_reopened"
        if self.deleted or (last is not None and not reopened):
            return False
        if (first is None or first > x) and not any(e["event"] == "deal_reopened" for e in before):
            return False
        stage, since = self._said("stage", x)
        kind = next((s.kind for s in self.terms.stages if s.name == stage), "open")
        return kind == "open" or (last is not None and reopened and last["at"] >= since)

    def owner(self, x: int) -> tuple[str, str]:
        claims = [
            e
            for e in self._of("opportunity_created", "deal_changed")
            if e["at"] <= x and (e.get("rep_id") or (e["event"] == "deal_changed" and "rep_id" in e))
        ]
        last = max(claims, key=_order, default={})
        rep, team = last.get("rep_id") or "", (last.get("team") or "") if last.get("rep_id") else ""
        if not rep and self.owners:
            rep = ([who for since, who, _ in self.owners if since <= x] or [self.owners[0][1]])[-1]
        if not team:
            team = ([theirs for _, who, theirs in self.owners if who == rep and theirs] or [""])[-1]
        return rep, team

    def worth(self, x: int) -> Fraction:
        """Its amount in the reporting currency."""
        (amount, said), (currency, in_it_since) = self._said("amount", x), self._said("currency", x)
        return Fraction(amount or 0) * self.terms.rate(currency or "", max(said, in_it_since))

    def _last_outcome(self) -> dict[str, Any]:
        return self.outcomes[-1] if self.outcomes and not self.deleted else {}

    def lost(self) -> tuple[int, Fraction] | None:
        """When the deal was lost, if that stands, and how much."""
        last = self._last_outcome()
        if last.get("event") != "deal_lost":
            return None
        said = Fraction(last.get("amount") or 0) * self.terms.rate(last.get("currency") or "", last["at"])
        return last["at"], said or self.worth(last["at"])

    def instants(self) -> list[int]:
        """When anything happens that may change what the deal is."""
        return sorted({*(e["at"] for e in [*self.events, *self.attributes]), *(since for since, _, _ in self.owners)})

    def stalled(self, x: int) -> bool:
        """Whether the deal is open and past the limit of its stage."""
        visit = next((v for v in self.visits() if v.since <= x and (v.until is None or x < v.until)), None)
        limit = next((s.limit for s in self.terms.stages if visit is not None and s.name == visit.stage), None)
        if visit is None or limit is None:
            return False
        return x - max([visit.since, *(at for at in self.touches if visit.since < at <= x)]) >= limit

    def due(self, x: int, period: int) -> Standing | None:
        """What the deal is, if it is open and expected to be closed in the period that begins at ``period``."""
        now = self.at(x)
        return now if now is not None and now.expected and self.terms.period(now.expected)[0] == period else None

    def _dated(self) -> bool:
        return any(e.get("expected_close") for e in self.attributes)

    def pushes(self) -> list[tuple[int, bool, Standing]]:
        """(instant, whether to a later period, what the deal is then)."""
        found = []
        for x in self.instants() if self._dated() else ():
            before, now = self.at(x - 1), self.at(x)
            if before is not None and now is not None and before.expected and now.expected:
                old, new = (self.terms.period(expected)[0] for expected in (before.expected, now.expected))
                if old != new:
                    found.append((x, new > old, now))
        return found

    def slips(self) -> list[tuple[int, bool, Standing]]:
        """(end of the period, whether the deal is open then, what it was at the start) of each that it was due in."""
        periods = {self.terms.period(e["expected_close"]) for e in self.attributes if e.get("expected_close")}
        return [(last, self.is_open(last), due) for first, last in periods if (due := self.due(first, first))]

    def moves(self, t: int) -> list[tuple[str, Fraction, Standing]]:
        """(change, amount, whose) of what was due at the start of the period of ``t``, and changed since."""
        if not self._dated():
            return []
        first = self.terms.period(t)[0]
        start = self.due(first, first)
        found = [] if start is None else [("start", start.amount, start)]
        for x in self.instants():
            if first < x <= t:
                found += self._moves_at(x, self.due(x - 1, first), self.due(x, first))
        return found

    def _moves_at(self, x: int, old: Standing | None, new: Standing | None) -> list[tuple[str, Fraction, Standing]]:
        if old is not None and new is not None:
            gain = new.amount - old.amount
            moved = [("increased" if gain > 0 else "decreased", gain, new)]
            if (old.rep, old.team) != (new.rep, new.team):
                moved += [("reassigned", -old.amount, old), ("reassigned", old.amount, new)]
            return moved
        if new is not None:
            seen = any(self.is_open(y) for y in self.instants() if y < x)
            entry = "moved_in" if self.is_open(x - 1) else "reopened" if seen else "created"
            return [(entry, new.amount, new)]
        if old is not None:
            outcome = next((e["event"][5:] for e in self.outcomes if e["at"] == x), "")
            by_stage = next((s.kind for s in self.terms.stages if s.name == self._said("stage", x)[0]), "")
            return [("moved_out" if self.is_open(x) else outcome or by_stage, -old.amount, old)]
        return []

    def visits(self) -> list[Visit]:
        """The stretches in one stage; looked at whenever something happens."""
        found: list[Visit] = []
        current: Visit | None = None
        for x in self.instants():
            now = self.at(x)
            if current is not None and (now is None or now.stage != current.stage):
                found.append(replace(current, until=x))
                current = None
            if current is None and now is not None:
                current = Visit(now.stage, x, None, now.rep, now.team)
        return [visit for visit in [*found, *([current] if current else [])] if visit.stage]

    def funnel(self) -> list[tuple[str, int, bool, str, str]]:
        """(stage, when the deal first came to it or past it, whether it got past it, rep, team)."""
        order = [stage.name for stage in self.terms.stages if stage.kind == "open"]
        visits = [visit for visit in self.visits() if visit.stage in order]
        win = self._last_outcome()
        is_won = win.get("event") == "deal_won"
        rows = []
        for place, name in enumerate(order):
            reaching = [visit for visit in visits if order.index(visit.stage) >= place]
            passed = is_won or any(order.index(visit.stage) > place for visit in visits)
            if reaching:
                rows.append((name, reaching[0].since, passed, reaching[0].rep, reaching[0].team))
            elif visits and is_won:
                last = self.visits()[-1]
                rows.append((name, win["at"], passed, last.rep, last.team))
        return rows

    def at(self, x: int) -> Standing | None:
        """What the deal is at an instant; None where it is not open."""
        if x not in self._known:
            self._known[x] = self._at(x) if self.is_open(x) else None
        return self._known[x]

    def _at(self, x: int) -> Standing:
        stage = self._said("stage", x)[0] or ""
        probability = self._said("probability", x)[0]
        if probability is None:
            probability = next((s.probability for s in self.terms.stages if s.name == stage), None)
        worth = self.worth(x)
        rep, team = self.owner(x)
        category = self._said("category", x)[0] or ""
        chance = None if probability is None else Fraction(str(probability))
        return Standing(stage, category, chance, worth, rep, team, self.opened, self._said("expected_close", x)[0])


def _order(e: Event) -> tuple[int, int, bool, int]:
    hashed = int.from_bytes(blake2b(e["event_id"].encode(), digest_size=8).digest(), "big")
    return e["at"], e["rec"], e["event"] == "deal_changed", hashed


def quantile(values: Sequence[Fraction], q: Fraction) -> Fraction:
    """Type 7 of Hyndman and Fan."""
    ranked = sorted(values)
    position = (len(ranked) - 1) * q
    low = int(position)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (position - low)
