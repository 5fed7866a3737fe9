"""Requests and responses a second time: one lead at one instant, by their definitions, sharing no code with metrics.

Events are dictionaries with ``event``, ``ts`` (ms), ``lead_id`` (the key under which it was reported) and the fields of
the event. Nothing is foreseen and nothing taken back: what is asked for is computed from all events until then.
"""

# ruff: noqa: E501, PERF401 - a rule a line

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MIN = 60_000
EVER = 2**60
ALWAYS = ((-EVER, EVER),)
CUSTOMER = ("customer", "evangelist")
CLOSED = (*CUSTOMER, "disqualified")

Event = Mapping[str, Any]
Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Policy:
    name: str
    target: int
    business: bool = False
    source: tuple[str, ...] = ()
    tier: tuple[str, ...] = ()
    team: tuple[str, ...] = ()
    channel: tuple[str, ...] = ()


@dataclass(frozen=True)
class Terms:
    """Policies in order, the last of which matches everything; working time as sorted spans."""

    policies: tuple[Policy, ...] = (Policy("default", 15 * MIN),)
    shifts: Spans = ALWAYS
    exempt_sources: tuple[str, ...] = ()
    exempt_customers: bool = False


@dataclass
class Case:
    """A request as it stands at an instant; ``rep`` and ``team`` are those that the state belongs to."""

    asked: int
    source: str
    policy: Policy
    first: bool
    exempt: bool
    repeats: list[int] = field(default_factory=list)
    state: str = ""
    rep: str = ""
    team: str = ""
    answered: int | None = None
    closed: int | None = None
    waited: int = 0
    worked: int = 0
    on_clock: int = 0
    since_assigned: int | None = None
    worked_since_assigned: int | None = None
    deadline: int | None = None
    met: bool = False
    due_rep: str = ""
    due_team: str = ""
    endless: bool = False


def cases(events: Sequence[Event], closes: Sequence[tuple[int, str]], terms: Terms, t: int) -> list[Case]:
    """The requests of a lead at ``t``; ``closes`` are (instant, won or lost) of the deals that stand closed."""
    return list(_Lead([e for e in events if e["ts"] <= t], closes, terms, t).cases())


def next_responses(events: Sequence[Event], t: int) -> list[tuple[int, int, str, str, str]]:
    """(instant, ms, rep, team, channel) of each reply of the lead that our next touch answered."""
    lead = _Lead([e for e in events if e["ts"] <= t], (), Terms(), t)
    replies = sorted(
        (e["ts"], e.get("channel") or "") for e in lead.events if e["event"] == "reply_received" and not e.get("auto_reply")
    )  # fmt: skip
    found: dict[int, tuple[int, str]] = {}
    for at, channel in replies:
        later = [touch for touch in lead.touches if touch[0] > at]
        if later:
            found.setdefault(later[0][0], (at, channel))
    rows = []
    for touched, rep, team in lead.touches:
        if touched in found:
            at, channel = found.pop(touched)
            rows.append((touched, touched - at, *lead.credited(touched, rep, team), channel))
    return rows


class _Lead:
    def __init__(self, events: Sequence[Event], closes: Sequence[tuple[int, str]], terms: Terms, t: int) -> None:
        self.events = sorted(events, key=lambda e: e["ts"])
        self.closes, self.terms, self.t = sorted(closes), terms, t
        self.touches = sorted(self._touches())
        self.stages = [(e["ts"], e["stage"]) for e in self.events if e["event"] == "lifecycle_stage_changed"]
        creations = self._of("lead_created")
        self.created = creations[0] if creations else {}
        self.owners = self._owners()

    def _of(self, *names: str) -> list[Event]:
        return [e for e in self.events if e["event"] in names]

    def _owners(self) -> list[tuple[int, str, str]]:
        claims = [(e["ts"], 1, e["rep_id"], e.get("team") or "") for e in self._of("lead_assigned")]
        first = min(claims, default=None)
        for e in self._of("lead_created"):
            if e.get("rep_id") or e.get("team"):
                if first is None or e["ts"] < first[0]:
                    claims.append((e["ts"], 0, e.get("rep_id") or "", e.get("team") or ""))
                break
        return [(ts, rep, team) for ts, _, rep, team in sorted(claims)]

    def owner(self, at: int) -> tuple[str, str]:
        held = [(rep, team) for since, rep, team in self.owners if since <= at]
        return held[-1] if held else ("", "")

    def team(self, rep: str, said: str) -> str:
        if said:
            return said
        known = [team for _, owner, team in self.owners if owner == rep and team]
        return known[-1] if known else ""

    def credited(self, at: int, doer: str = "", doers_team: str = "") -> tuple[str, str]:
        rep, team = self.owner(at)
        if not rep:
            rep, team = doer, team or doers_team
        return rep, self.team(rep, team)

    def _touches(self) -> Iterator[tuple[int, str, str]]:
        bounced = {e["activity_id"] for e in self._of("email_bounced")}
        booked: dict[str, Event] = {}
        for e in self.events:
            who = (e.get("rep_id") or "", e.get("team") or "")
            match e["event"]:
                case "activity_logged":
                    human = e.get("direction") != "inbound" and not e.get("automated") and e["kind"] != "note"
                    if human and (e.get("activity_id") or e["event_id"]) not in bounced:
                        yield e["ts"], *who
                case "proposal_sent":
                    yield e["ts"], *who
                case "meeting_booked":
                    booked.setdefault(e["meeting_id"], e)
                    if e.get("booked_by") != "lead":
                        yield e["ts"], *who
        for e in self._completed().values():
            if e["outcome"] == "held":
                by = e if e.get("rep_id") else booked.get(e["meeting_id"], e)
                yield e["ts"], by.get("rep_id") or "", by.get("team") or ""

    def _completed(self) -> dict[str, Event]:
        """The version of each meeting's end that was recorded last."""
        ends: dict[str, Event] = {}
        for e in self._of("meeting_completed"):
            known = ends.get(e["meeting_id"])
            if known is None or (e.get("rec") or e["ts"]) > (known.get("rec") or known["ts"]):
                ends[e["meeting_id"]] = e
        return ends

    # --- what asks

    def _asking(self) -> list[tuple[int, Event, bool]]:
        asking: list[Event] = []
        earliest: dict[str, int] = {}
        for e in self._of("lead_created"):
            key = e["lead_id"]
            if e is self.created or (key in earliest and e["ts"] > earliest[key]):
                asking.append(e)
            earliest.setdefault(key, e["ts"])
        seen = set()
        for e in self._of("lead_reengaged"):
            if not e.get("request_id") or e["request_id"] not in seen:
                asking.append(e)
            seen.add(e.get("request_id"))
        asking.sort(key=lambda e: (e["ts"], e["event"] == "lead_reengaged"))
        return [(e["ts"], e, self._is_exempt(e)) for e in asking]

    def _source(self, e: Event) -> str:
        return e.get("source") or self.created.get("source") or ""

    def _is_exempt(self, e: Event) -> bool:
        if e.get("needs_response") is not None:
            return not e["needs_response"]
        stages = [stage for ts, stage in self.stages if ts < e["ts"]]
        customer = any(won == "won" and ts < e["ts"] for ts, won in self.closes) or stages[-1:] in (
            ["customer"],
            ["evangelist"],
        )
        return self._source(e) in self.terms.exempt_sources or (self.terms.exempt_customers and customer)

    def cases(self) -> Iterator[Case]:
        asking = self._asking()
        groups: list[list[tuple[int, Event, bool]]] = []
        for item in asking:
            if groups and item[0] - groups[-1][-1][0] <= 10 * MIN:
                groups[-1].append(item)
            else:
                groups.append([item])
        heads = [next((i for i in group if not i[2]), group[0]) for group in groups]
        current: Case | None = None
        for number, (ts, e, exempt) in enumerate(heads):
            case = Case(ts, self._source(e), self._policy(e), first=number == 0, exempt=exempt)
            if exempt:
                case.state = "exempt"
                case.rep, case.team = self.credited(ts)
                yield case
            elif current is not None and self._end(current, ts) is None:
                current.repeats.append(ts)
            else:
                if current is not None:
                    yield self._settled(current, self._end(current, ts))
                current = case
        if current is not None:
            yield self._settled(current, self._end(current, EVER))

    def _policy(self, e: Event) -> Policy:
        rep, team = self.owner(e["ts"])
        tier = e.get("tier") or self.created.get("tier") or ""
        said = {
            "source": self._source(e),
            "tier": tier,
            "team": self.team(rep, team) if rep else team,
            "channel": e.get("channel") or "",
        }
        for policy in self.terms.policies:
            if all(not getattr(policy, name) or value in getattr(policy, name) for name, value in said.items()):
                return policy
        raise AssertionError("the last policy matches everything")

    # --- what ends it

    def _end(self, case: Case, until: int) -> tuple[int, str, str, str] | None:
        """(instant, how, rep, team) of what ends a request by ``until``."""
        lookback = 30 * MIN if case.first else 0
        answers = [
            (max(ts, case.asked), 0, "answered", rep, team)
            for ts, rep, team in self.touches
            if case.asked - lookback <= ts <= until
        ][:1]
        shut = [(ts, 1, "closed", "", "") for ts, _ in self.closes if case.asked <= ts <= until]
        within = [(ts, stage in CLOSED) for ts, stage in self.stages if case.asked <= ts <= until]
        while within and within[-1][1]:
            last = within.pop()
            if not within or not within[-1][1]:
                shut.append((last[0], 1, "closed", "", ""))
                break
        ends = sorted(answers + shut, key=lambda end: end[:2])
        if case.first and (not ends or ends[0][2] == "closed"):
            before = [stage for ts, stage in self.stages if ts <= until]
            if any(ts < case.asked for ts, _ in self.closes) or (not ends and before and before[-1] in CLOSED):
                return case.asked, "closed", "", ""
        return (ends[0][0], *ends[0][2:]) if ends else None

    def _pauses(self, case: Case, end: int) -> list[tuple[int, int]]:
        resumed = [e["ts"] for e in self._of("response_resumed")]
        bookings = self._of("meeting_booked")
        found = []
        for e in self._of("response_paused"):
            if e["ts"] >= case.asked:
                found.append((e["ts"], min([ts for ts in resumed if ts >= e["ts"]], default=EVER)))
        lookback = 30 * MIN if case.first else 0
        for i, e in enumerate(bookings):
            if e.get("booked_by") == "lead" and e.get("scheduled_for") and e["ts"] >= case.asked - lookback:
                ends = [e["scheduled_for"], *(ts for ts in resumed if ts >= e["ts"])]
                ends += [b["ts"] for b in bookings[i + 1 :] if b["meeting_id"] == e["meeting_id"]]
                ends += [
                    d["ts"]
                    for d in self._completed().values()
                    if d["meeting_id"] == e["meeting_id"] and d["ts"] >= e["ts"]
                ]
                found.append((e["ts"], min(ends)))
        return [(max(a, case.asked), min(b, end)) for a, b in found if max(a, case.asked) < min(b, end)]

    # --- how it stands

    def _settled(self, case: Case, end: tuple[int, str, str, str] | None) -> Case:
        stop = EVER if end is None else end[0]
        pauses = self._pauses(case, stop)
        clock = self.terms.shifts if case.policy.business else ALWAYS
        until = min(stop, self.t)
        case.waited = _passed(case.asked, until, ALWAYS, pauses)
        case.worked = _passed(case.asked, until, self.terms.shifts, pauses)
        case.on_clock = _passed(case.asked, until, clock, pauses)
        case.endless = any(b == EVER for _, b in pauses)
        case.deadline = _when(case.asked, case.policy.target, clock, pauses)
        if end is None:
            left = case.policy.target - case.on_clock
            if any(a <= self.t < b for a, b in pauses):
                case.state = "paused"
            else:
                case.state = "late" if left <= 0 else "at_risk" if left <= case.policy.target // 5 else "waiting"
            rep, team = self.credited(self.t)
            case.rep, case.team = rep or "unowned", team
        else:
            at, case.state, doer, doers_team = end
            case.rep, case.team = self.credited(at, doer, doers_team)
            if case.state == "answered":
                case.answered = at
                held = [since for since, rep, _ in self.owners if since <= at]
                if held and self.owner(at)[0]:
                    start = max(held[-1], case.asked)
                    case.since_assigned = _passed(start, at, ALWAYS, pauses)
                    case.worked_since_assigned = _passed(start, at, self.terms.shifts, pauses)
            else:
                case.closed = at
        self._judge(case)
        return case

    def _judge(self, case: Case) -> None:
        due = case.deadline
        if due is None or (case.closed is not None and case.closed <= due):
            case.deadline = None
            return
        case.met = case.answered is not None and case.answered <= due
        case.due_rep, case.due_team = (case.rep, case.team) if case.met else self.credited(due)


def _running(start: int, shifts: Spans, pauses: Spans) -> Iterator[tuple[int, int]]:
    """The stretches after ``start`` in which time counts."""
    first = bisect.bisect_right([closes for _, closes in shifts], start)
    for opens, closes in shifts[first:]:
        pieces = [(max(opens, start), closes)]
        for begin, end in pauses:
            pieces = [
                piece for a, b in pieces for piece in ((a, min(b, begin)), (max(a, end), b)) if piece[0] < piece[1]
            ]
        yield from pieces


def _passed(start: int, end: int, shifts: Spans, pauses: Spans) -> int:
    total = 0
    for a, b in _running(start, shifts, pauses):
        if a >= end:
            break
        total += min(b, end) - a
    return total


def _when(start: int, amount: int, shifts: Spans, pauses: Spans) -> int | None:
    for a, b in _running(start, shifts, pauses):
        if amount <= b - a:
            return a + amount
        amount -= b - a
    return None
