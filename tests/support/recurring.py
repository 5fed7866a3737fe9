"""Recurring revenue a second time: a plain batch computation over events, for comparison.

It shares no code with the engine and keeps nothing between instants: it writes down what every account paid when, and
then counts for a window by the definitions. Amounts are fractions of a currency's major unit.
"""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HOUR = 3_600_000
DAY = 24 * HOUR
ROLLING = {"7d": 7 * DAY, "30d": 30 * DAY, "90d": 90 * DAY, "365d": 365 * DAY}
_STATEMENTS = ("deal_won", "subscription_changed", "customer_churned", "deal_credited")
KINDS = ("new", "reactivation", "expansion", "contraction", "churn")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Money = Any
"""A counter: currency -> amount."""
Facts = dict[str, Any]


@dataclass
class Account:
    """What an account paid and when it was a customer."""

    paid: list[tuple[int, str, Fraction]] = field(default_factory=list)
    """(instant, currency, change)."""
    ending: list[tuple[int, int, str, Fraction]] = field(default_factory=list)
    """(announced, until, currency, amount)."""
    trials: list[int] = field(default_factory=list)
    mismatches: list[int] = field(default_factory=list)
    purchases: list[tuple[int, str, bool]] = field(default_factory=list)
    goodbyes: list[tuple[int, str]] = field(default_factory=list)

    def level(self, x: int) -> Money:
        """What it pays at an instant."""
        total: Money = Counter()
        for at, currency, change in self.paid:
            if at <= x:
                total[currency] += change
        return Counter({currency: amount for currency, amount in total.items() if amount})

    def turns(self) -> list[int]:
        """The instants at which what it pays changes."""
        return [at for at in sorted({at for at, _, _ in self.paid}) if self.level(at) != self.level(at - 1)]

    def is_customer(self, x: int) -> bool:
        """Whether it is a customer at an instant, short absences filled."""
        return any(since <= x and (until is None or x < until) for since, until in self.stays())

    def stays(self) -> list[tuple[int, int | None]]:
        """When it was a customer."""
        order: list[tuple[int, int, str, bool]] = [(at, 0, key, one_off) for at, key, one_off in self.purchases]
        order += [(at, 1, "", False) for at in self.turns()]
        order += [(at, 2, key, False) for at, key in self.goodbyes]
        holds: set[str] = set()
        found: list[list[int | None]] = []
        inside = False
        for at, what, key, one_off in sorted(order):
            paying_before = bool(self.level(at - 1)) if what < 2 else bool(self.level(at))
            if what == 0 and not paying_before and (one_off or not any(self.level(x) for x in self.turns() if x < at)):
                holds.add(key)
            if what == 1 and self.level(at):
                holds.clear()
            if what == 2:
                if not found:
                    found.append([min(0, at), None])
                    inside = True
                holds = holds - {key} if key else set()
            now = bool(holds) or (bool(self.level(at)) if what else paying_before)
            if now and not inside:
                found.append([at, None])
            if inside and not now:
                found[-1][1] = at
            inside = now
        merged: list[tuple[int, int | None]] = []
        for since, until in found:
            assert since is not None
            if merged and merged[-1][1] is not None and since - merged[-1][1] <= HOUR:
                merged[-1] = (merged[-1][0], until)
            else:
                merged.append((since, until))
        return merged


def read(events: Iterable[Facts], currency: str = "EUR") -> dict[str, Account]:
    """The accounts that events tell of.

    Events are dictionaries with ``at`` and ``recorded`` in ms, and amounts as fractions. Of several with one ``id`` the
    one recorded last holds; no two merges are recorded at one instant. Deals have one close.
    """
    latest: dict[str, Facts] = {}
    for event in sorted(events, key=lambda e: e["recorded"]):
        latest[event["id"]] = event
    facts = sorted(latest.values(), key=lambda e: (e["at"], e["recorded"], e["order"]))
    into = survivors([e for e in facts if e["event"] == "account_merged"])
    fates = sorted((e for e in facts if e["event"] in ("deal_deleted", "deal_restored")), key=lambda e: e["recorded"])
    gone = {deal for deal, fate in {e["deal"]: e["event"] for e in fates}.items() if fate == "deal_deleted"}
    moved = {e["deal"]: e["account"] for e in facts if e["event"] in ("deal_won", "deal_changed")}
    first_key: dict[tuple[Any, Any], str] = {}
    keyed: dict[str, list[Facts]] = defaultdict(list)
    for fact in facts:
        if fact["event"] not in _STATEMENTS or fact.get("deal") in gone:
            continue
        key = moved[fact["deal"]] if fact["event"] == "deal_won" else fact["account"]
        who = into.get(key, key)
        if fact.get("subscription"):
            key = first_key.setdefault((who, fact["subscription"]), key)
        keyed[key].append(fact)
        if fact["event"] == "customer_churned" and key == who:
            for other, survivor in into.items():
                if survivor == who:
                    keyed[other].append(fact | {"mrr_lost": None})
    accounts: dict[str, Account] = {}
    for key, own in keyed.items():
        who = into.get(key, key)
        _write(accounts.setdefault(who, Account()), own, key, who, currency)
    return accounts


def survivors(merges: Iterable[Facts]) -> dict[str, str]:
    """The key in which each merged key lives on.

    Keys that merges connect are one account. It lives on in a key that was never merged away; of several, and where all
    were, in the one that the merge recorded last names.
    """
    standing = [merge for merge in merges if merge["account"] != merge["survivor"]]
    groups: list[set[str]] = []
    for merge in standing:
        pair = {merge["account"], merge["survivor"]}
        joined = pair.union(*(group for group in groups if group & pair))
        groups = [group for group in groups if not group & pair] + [joined]
    found: dict[str, str] = {}
    for group in groups:
        own = [merge for merge in standing if merge["account"] in group]
        whole = {merge["survivor"] for merge in own} - {merge["account"] for merge in own}
        last = max(
            (merge for merge in own if not whole or merge["survivor"] in whole), key=lambda merge: merge["recorded"]
        )
        found |= dict.fromkeys(group, str(last["survivor"]))
    return found


def _write(account: Account, facts: list[Facts], key: str, who: str, reporting: str) -> None:  # noqa: C901, PLR0912
    """Go through what one key says, in order: the rules of levels, one after the other."""
    wins = [f for f in facts if f["event"] == "deal_won"]
    bills = [f for f in facts if f["event"] == "subscription_changed"]
    leaving = [f for f in facts if f["event"] == "customer_churned"]
    account.purchases += [(f["at"], key, not f["mrr"]) for f in wins]
    account.goodbyes += [(f["at"], "" if f["account"] == who else key) for f in leaving if f["account"] in (key, who)]
    begin = _begin(wins, bills)
    agenda: list[tuple[int, int, int, Facts]] = []
    for number, fact in enumerate(facts):
        rank = {"deal_won": 0, "subscription_changed": 2, "deal_credited": 3, "customer_churned": 5}[fact["event"]]
        if fact["event"] == "deal_won" and fact["kind"] != "renewal":
            rank = 1
        agenda.append((fact["at"], rank, number, fact))
        if fact["event"] == "subscription_changed" and fact["cancels_at"] > fact["at"]:
            later = [b["at"] for b in bills[bills.index(fact) + 1 :] if b["subscription"] == fact["subscription"]]
            if not later or later[0] > fact["cancels_at"]:
                end = {"event": "end", "subscription": fact["subscription"], "at": fact["cancels_at"]}
                agenda.append((fact["cancels_at"], 4, number, end))
    dealt: Money = Counter()
    subs: dict[str, Money] = {}
    whole: Money = Counter()
    dealt_known = whole_known = billing = False

    def total() -> Money:
        both: Money = Counter()
        for part in (dealt, whole, *subs.values()):
            for unit, amount in part.items():
                both[unit] += amount
        return both

    def book(at: int, before: Money) -> None:
        after = total()
        for unit in sorted(set(before) | set(after)):
            if after[unit] < 0:
                whole[unit] -= after[unit]
                after[unit] = 0
            if after[unit] != before[unit]:
                account.paid.append((at, unit, Fraction(after[unit] - before[unit])))

    def open_with(amount: Any, unit: str) -> None:
        account.paid.append((begin, unit, amount))

    for at, _, _, fact in sorted(agenda, key=lambda row: row[:3]):
        before = total()
        unit = fact.get("currency") or reporting
        if fact["event"] == "deal_won":
            if billing or fact["mrr"] is None:
                continue
            dealt_known = True
            if fact["kind"] == "renewal":
                dealt.clear()
            dealt[unit] += fact["mrr"]
        elif fact["event"] == "subscription_changed":
            name, said = fact["subscription"], fact["before"]
            nothing_known = not (dealt_known or whole_known or subs)
            if name:
                known = subs.get(name)
                if known is None and not billing and dealt_known:
                    known = Counter(dealt)
            else:
                known = None if nothing_known else Counter(before)
            if known is None:
                opening = said if said is not None else max(Fraction(0), -(fact["delta"] or 0))
                known = Counter({unit: opening})
                if opening and name and whole[unit] >= opening:
                    whole[unit] -= opening
                    subs[name] = Counter(known)
                else:
                    if opening:
                        open_with(opening, unit)
                    if name:
                        subs[name] = Counter(known)
                    else:
                        whole[unit] += opening
                    before = total()
            elif said is not None and {u: a for u, a in known.items() if a} != ({unit: said} if said else {}):
                account.mismatches.append(at)
            level = _stated(fact, known, unit)
            if fact["cancels_at"] > at:
                ends_later = fact["status"] == "cancelled" or (
                    fact["status"] not in ("trial", "paused") and not any(level.values())
                )
                level = Counter(known) if ends_later else level
                until = [fact["cancels_at"], *(f["at"] for f in leaving if f["at"] >= at)]
                until += [b["at"] for b in bills[bills.index(fact) + 1 :] if b["subscription"] == name][:1]
                account.ending += [(at, min(until), u, Fraction(a)) for u, a in level.items()]
            billing = True
            dealt.clear()
            if name:
                subs[name] = level
            else:
                whole_known = True
                rest: Money = Counter(level)
                for part in subs.values():
                    rest.subtract(part)
                whole = rest
        elif fact["event"] == "deal_credited":
            if fact["mrr_after"] is None:
                continue
            if billing:
                whole = Counter({unit: fact["mrr_after"]})
                for part in subs.values():
                    whole.subtract(part)
            else:
                dealt_known = True
                dealt = Counter({unit: fact["mrr_after"]})
        elif fact["event"] == "end" and fact["subscription"]:
            subs[fact["subscription"]] = Counter()
        else:
            if fact["event"] == "customer_churned" and fact["mrr_lost"] and not (dealt_known or whole_known or subs):
                since = begin if begin <= at else min(0, at)
                account.paid.append((since, unit, fact["mrr_lost"]))
                whole = Counter({unit: fact["mrr_lost"]})
                whole_known = True
                before = total()
            dealt, whole, subs = Counter(), Counter(), {name: Counter() for name in subs}
        book(at, before)
    account.trials += _trials(bills, leaving)


def _begin(wins: list[Facts], bills: list[Facts]) -> int:
    if wins and (not bills or wins[0]["at"] <= bills[0]["at"]):
        return int(wins[0]["at"])
    if not bills:
        return 0
    opens = bills[0]["before"] or (bills[0]["before"] is None and (bills[0]["delta"] or 0) < 0)
    return min(0, bills[0]["at"]) if opens else int(bills[0]["at"])


def _stated(fact: Facts, known: Money, unit: str) -> Money:
    if fact["status"] in ("trial", "paused", "cancelled"):
        return Counter()
    if fact["after"] is not None:
        return Counter({unit: fact["after"]})
    level: Money = Counter(known)
    level[unit] += fact["delta"]
    return Counter({u: a for u, a in level.items() if a > 0})


def _trials(bills: list[Facts], leaving: list[Facts]) -> list[int]:
    ended = []
    for name in {b["subscription"] for b in bills}:
        own = [b for b in bills if b["subscription"] == name]
        for fact, following in zip(own, [*own[1:], None], strict=True):
            if fact["status"] != "trial" or (following and following["status"] == "trial"):
                continue
            ways = [following["at"]] if following else []
            ways += [fact["cancels_at"]] if fact["cancels_at"] > fact["at"] else []
            ways += [f["at"] for f in leaving if f["at"] >= fact["at"]]
            ended += [min(ways)] if ways else []
    return ended


def start_of(window: str, t: int, zone: str) -> int:
    """Where a window that ends at ``t`` begins: a month or quarter, or the next full hour after its length."""
    if window in ROLLING:
        return -(-(t - ROLLING[window]) // HOUR) * HOUR
    local = (_EPOCH + timedelta(milliseconds=t)).astimezone(ZoneInfo(zone))
    first = local.month if window == "mtd" else (local.month - 1) // 3 * 3 + 1
    return (datetime(local.year, first, 1, tzinfo=ZoneInfo(zone)) - _EPOCH) // timedelta(milliseconds=1)


def figures(
    accounts: Mapping[str, Account], window: str, t: int, rates: Any = None, zone: str = "UTC"
) -> dict[str, Fraction | None]:
    """All figures of a window that ends at ``t`` (ms)."""
    s = start_of(window, t, zone)

    def rate(currency: str, at: int) -> Fraction:
        if currency not in (rates or {}):
            return Fraction(1)
        day = (_EPOCH + timedelta(milliseconds=at)).astimezone(ZoneInfo(zone)).date()
        table = rates[currency]
        found: Fraction = table[max(0, bisect.bisect_right([since for since, _ in table], day) - 1)][1]
        return found

    def worth(level: Mapping[str, Any], at: int) -> Fraction:
        return sum((Fraction(amount) * rate(currency, at) for currency, amount in level.items()), Fraction(0))

    moved = dict.fromkeys(KINDS, Fraction(0))
    movers: Counter[str] = Counter()
    opening = kept = now_of_kept = mrr = end_at_old = Fraction(0)
    were = still = came = came_and_left = age = departures = trials = converted = mismatches = 0
    scheduled = Fraction(0)
    for account in accounts.values():
        old, new = account.level(s - 1), account.level(t)
        mrr += worth(new, t)
        end_at_old += worth(new, s - 1)
        if old:
            opening += worth(old, s - 1)
            kept += min(worth(old, s - 1), worth(new, s - 1))
            now_of_kept += worth(new, s - 1)
        seen = set()
        for kind, change in _movements(account, s, t, worth):
            moved[kind] += worth(change, s - 1)
            seen.add(kind)
        movers.update(seen)
        was, is_now = account.is_customer(s - 1), account.is_customer(t)
        were, still = were + was, still + (was and is_now)
        first = min((since for since, _ in account.stays()), default=None)
        if first is not None and s <= first <= t:
            came, came_and_left, age = came + 1, came_and_left + (not is_now), age + t // 1000 - first // 1000
        departures += sum(until is not None and s <= until <= t for _, until in account.stays())
        paying = [x for x in account.turns() if account.level(x)]
        for ended in account.trials:
            if s <= ended <= t:
                trials += 1
                converted += bool(account.level(ended)) or any(x >= ended for x in paying)
        mismatches += sum(s <= x <= t for x in account.mismatches)
        scheduled += sum((a * rate(u, t) for since, until, u, a in account.ending if since <= t < until), Fraction(0))
    gains = moved["new"] + moved["reactivation"] + moved["expansion"]
    losses = moved["contraction"] + moved["churn"]
    return {
        "mrr": mrr,
        **{f"moved {kind}": amount for kind, amount in moved.items()},
        **{f"movers {kind}": Fraction(movers[kind]) for kind in KINDS},
        "moved fx": mrr - end_at_old,
        "start": opening,
        "kept": kept,
        "now of start": now_of_kept,
        "were": Fraction(were),
        "still": Fraction(still),
        "came": Fraction(came),
        "came and left": Fraction(came_and_left),
        "seconds since they came": Fraction(age),
        "mismatches": Fraction(mismatches),
        "gross retention": _over(kept, opening),
        "net retention": _over(now_of_kept, opening),
        "customer retention": _over(Fraction(still), Fraction(were)),
        "early churn": _over(Fraction(came_and_left), Fraction(came)),
        "departures": Fraction(departures),
        "trial conversion": _over(Fraction(converted), Fraction(trials)),
        "quick": _over(gains, losses),
        "scheduled": scheduled,
    }


def _over(a: Fraction, b: Fraction) -> Fraction | None:
    return a / b if b > 0 else None


def _movements(account: Account, s: int, t: int, worth: Any) -> list[tuple[str, Mapping[str, Any]]]:
    clusters: list[list[int]] = []
    for x in account.turns():
        if clusters and x - clusters[-1][0] <= HOUR:
            clusters[-1].append(x)
        else:
            clusters.append([x])
    found: list[tuple[str, Mapping[str, Any]]] = []
    for cluster in clusters:
        inside = [x for x in cluster if s <= x <= t]
        if not inside:
            continue
        before, after = account.level(inside[0] - 1), account.level(inside[-1])
        change: Money = Counter(after)
        change.subtract(before)
        if not any(change.values()):
            continue
        ever = any(account.level(x) for x in account.turns() if x < inside[0])
        if not before:
            found.append(("reactivation" if ever else "new", change))
            continue
        grows = after and worth(change, inside[0]) >= 0
        kind = "expansion" if grows else "contraction" if after else "churn"
        sign = 1 if grows else -1
        found.append((kind, {u: sign * a for u, a in change.items()}))
    return found
