"""Facts: what is remembered of an event, and all that must be said of a kind of event once it has happened.

A fact is the part of an event that some measure needs, small and typed. Its class declares which event it is made of,
where it is at home, how it is made, and which other entities are told of it (:mod:`.routes`). A kind of event without
a fact is an error at import.

Packed facts are positional: new fields go to the end with a default, and a tag or a position is never reused. Times are
milliseconds since the epoch; amounts are millionths of a currency's major unit.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, Self, Union

import msgspec

from salesgauge.metrics.measures.labels import Campaign, Channel, Location, Product, Rep, Source, Team
from salesgauge.schemas import events
from salesgauge.schemas.events import EVENTS, EventBase
from salesgauge.schemas.wire import WIRE_EVENTS, AnyEvent

_HASH = blake2b(digest_size=8)
_EPOCH = datetime.fromtimestamp(0, UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY = 86_400_000  # ms
_ONE = Decimal(1)
MICROS = 1_000_000

LEAD, DEAL, ACCOUNT, REP, LEDGER = "lead", "deal", "account", "rep", "ledger"
"""The kinds of entities."""
LEDGER_SEPARATOR = "\x1f"
"""Between the key of an event and what tells its ledger page from others of that key. No key can hold it."""

Line = tuple[Product, int]
"""A product and its revenue in millionths."""


def address(kind: str, key: str) -> str:
    """``kind/key``: where an entity is found."""
    return f"{kind}/{key}"


class Fact(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """``id`` of the event, the instant ``at`` which it happened, ``rec`` when it was recorded (0: as it happened)."""

    event: ClassVar[type[EventBase]]
    """The event that the fact is made of."""
    profile: ClassVar[bool] = False
    """Whether the deals of a lead are told of it."""
    credit: ClassVar[bool] = False
    """Whether a deal passes it on to its accounts and reps: it says where the deal came from and whose it was."""

    id: int
    at: int
    rec: int = 0

    @classmethod
    def of(cls, event: Any, id: int, at: int, rec: int) -> Self:  # noqa: A002 - as the field is named
        """The fact that an event states."""
        raise NotImplementedError

    @classmethod
    def home(cls, event: Any) -> str:
        """The address of the entity that the event is about."""
        raise NotImplementedError

    @property
    def recorded(self) -> int:
        """When the source learnt it, ms."""
        return self.rec or self.at

    @property
    def version(self) -> tuple[int, bytes]:
        """Orders versions of one fact: the one recorded last is the greatest, of equals the one of greater bytes."""
        return (self.recorded, encode(self))

    def names(self) -> tuple[str, ...]:
        """The addresses of the entities that it names, besides its own."""
        return ()


encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode


class LeadFact(Fact, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A fact about a lead."""

    @classmethod
    def home(cls, event: Any) -> str:
        return address(LEAD, event.lead_id)


class DealFact(Fact, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A fact about a deal. All that any version of it names are told of it."""

    @classmethod
    def home(cls, event: Any) -> str:
        return address(DEAL, event.deal_id)

    def names(self) -> tuple[str, ...]:
        fields = ((LEAD, getattr(self, "lead", "")), (ACCOUNT, getattr(self, "account", "")))
        return tuple(address(kind, key) for kind, key in (*fields, (REP, getattr(self, "rep", ""))) if key)


class AccountFact(Fact, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A fact about an account."""

    @classmethod
    def home(cls, event: Any) -> str:
        return address(ACCOUNT, event.account_id)


class RepFact(Fact, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A fact about a rep."""

    @classmethod
    def home(cls, event: Any) -> str:
        return address(REP, event.rep_id)


class LedgerFact(Fact, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A fact that adds up without regard to others. Pages are kept per key and day, so that they stay small.

    The day is in UTC, whatever zone the event was written in; a repetition may come in another one.
    """

    @classmethod
    def home(cls, event: Any) -> str:
        day = _EPOCH_DAY + millis(event.occurred_at) // _DAY
        return address(LEDGER, f"{event.key}{LEDGER_SEPARATOR}{day}")


class Merge(Fact, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """``about`` lives on in ``survivor`` (addresses). Merges go to the identity log, which every worker reads whole."""

    about: str = ""
    survivor: str = ""


# --- Leads -----------------------------------------------------------------------------------------------------------


class Created(LeadFact, tag=1, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A lead entered the CRM."""

    event = events.LeadCreated
    profile = credit = True

    source: Source = Source("")
    campaign: Campaign = Campaign("")
    location: Location = Location("")
    rep: Rep = Rep("")
    team: Team = Team("")
    qualified: bool | None = None
    tier: str = ""
    channel: str = ""
    needs_response: bool | None = None

    @classmethod
    def of(cls, event: events.LeadCreated, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(
            id,
            at,
            rec,
            source=Source(event.source or ""),
            campaign=Campaign(event.campaign_id or ""),
            location=Location(event.location or ""),
            rep=Rep(event.rep_id or ""),
            team=Team(event.team or ""),
            qualified=event.qualified,
            tier=event.tier or "",
            channel=event.channel or "",
            needs_response=event.needs_response,
        )

    def names(self) -> tuple[str, ...]:
        return (address(REP, self.rep),) if self.rep else ()


class Assigned(LeadFact, tag=2, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A lead was given to a rep."""

    event = events.LeadAssigned
    profile = credit = True

    rep: Rep = Rep("")
    team: Team = Team("")

    @classmethod
    def of(cls, event: events.LeadAssigned, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(id, at, rec, rep=Rep(event.rep_id), team=Team(event.team or ""))

    def names(self) -> tuple[str, ...]:
        return (address(REP, self.rep),)


class LeadMerge(Merge, tag=3, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A lead turned out to be another one."""

    event = events.LeadMerged

    @classmethod
    def of(cls, event: events.LeadMerged, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(id, at, rec, about=address(LEAD, event.lead_id), survivor=address(LEAD, event.survivor_id))

    @classmethod
    def home(cls, event: events.LeadMerged) -> str:
        return address(LEAD, event.lead_id)


class Staged(LeadFact, tag=4, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A lead entered a lifecycle stage."""

    event = events.LifecycleStageChanged

    stage: str = ""

    @classmethod
    def of(cls, event: events.LifecycleStageChanged, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(id, at, rec, stage=event.stage)


class Activity(Fact, tag=5, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Somebody, or an automation, did something with a lead or an account.

    ``activity`` is the hash of the CRM's id of it, by which a bounce finds it; 0: that of the event id.
    """

    event = events.ActivityLogged
    profile = True

    kind: str = ""
    outbound: bool = True
    automated: bool = False
    rep: Rep = Rep("")
    team: Team = Team("")
    activity: int = 0

    @classmethod
    def of(cls, event: events.ActivityLogged, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(
            id,
            at,
            rec,
            kind=event.kind,
            outbound=event.direction == "outbound",
            automated=event.automated,
            rep=Rep(event.rep_id or ""),
            team=Team(event.team or ""),
            activity=fact_id(event.activity_id) if event.activity_id else 0,
        )

    @classmethod
    def home(cls, event: events.ActivityLogged) -> str:
        return address(LEAD, event.lead_id) if event.lead_id else address(ACCOUNT, event.account_id or "")

    @property
    def human_touch(self) -> bool:
        """An outbound activity that no automation sent."""
        return self.outbound and not self.automated


class Reply(LeadFact, tag=6, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A lead answered. ``reply`` is the message's id, where it is known."""

    event = events.ReplyReceived

    channel: Channel = Channel("")
    sentiment: str = "neutral"
    auto: bool = False
    rep: Rep = Rep("")
    team: Team = Team("")
    reply: str = ""

    @classmethod
    def of(cls, event: events.ReplyReceived, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(
            id,
            at,
            rec,
            channel=Channel(event.channel or ""),
            sentiment=event.sentiment,
            auto=event.auto_reply,
            rep=Rep(event.rep_id or ""),
            team=Team(event.team or ""),
            reply=event.reply_id or "",
        )


class Booked(LeadFact, tag=7, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A meeting was booked, for ``due`` (ms; 0: not said)."""

    event = events.MeetingBooked
    profile = True

    meeting: str = ""
    kind: str = ""
    rep: Rep = Rep("")
    team: Team = Team("")
    by_lead: bool = False
    due: int = 0

    @classmethod
    def of(cls, event: events.MeetingBooked, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(
            id,
            at,
            rec,
            meeting=event.meeting_id,
            kind=event.kind,
            rep=Rep(event.rep_id or ""),
            team=Team(event.team or ""),
            by_lead=event.booked_by == "lead",
            due=_optional_millis(event.scheduled_for),
        )


class Completed(LeadFact, tag=8, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """The time of a meeting has come."""

    event = events.MeetingCompleted
    profile = True

    meeting: str = ""
    kind: str = ""
    outcome: str = "held"
    rep: Rep = Rep("")
    team: Team = Team("")
    missed_by_rep: bool = False

    @classmethod
    def of(cls, event: events.MeetingCompleted, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(
            id,
            at,
            rec,
            meeting=event.meeting_id,
            kind=event.kind or "",
            outcome=event.outcome,
            rep=Rep(event.rep_id or ""),
            team=Team(event.team or ""),
            missed_by_rep=event.missed_by == "rep",
        )


class Proposal(LeadFact, tag=9, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A proposal went out."""

    event = events.ProposalSent

    deal: str = ""
    rep: Rep = Rep("")
    team: Team = Team("")

    @classmethod
    def of(cls, event: events.ProposalSent, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(id, at, rec, deal=event.deal_id or "", rep=Rep(event.rep_id or ""), team=Team(event.team or ""))


class Reengaged(LeadFact, tag=10, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A known lead asked again."""

    event = events.LeadReengaged

    request: str = ""
    source: Source = Source("")
    tier: str = ""
    channel: str = ""
    needs_response: bool | None = None

    @classmethod
    def of(cls, event: events.LeadReengaged, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(
            id,
            at,
            rec,
            request=event.request_id or "",
            source=Source(event.source or ""),
            tier=event.tier or "",
            channel=event.channel or "",
            needs_response=event.needs_response,
        )


class LeadDeleted(LeadFact, tag=11, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A lead was deleted."""

    event = events.LeadDeleted

    @classmethod
    def of(cls, event: events.LeadDeleted, id: int, at: int, rec: int) -> Self:  # noqa: A002
        del event
        return cls(id, at, rec)


class LeadRestored(LeadFact, tag=12, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A deleted lead is back."""

    event = events.LeadRestored

    @classmethod
    def of(cls, event: events.LeadRestored, id: int, at: int, rec: int) -> Self:  # noqa: A002
        del event
        return cls(id, at, rec)


class Bounced(LeadFact, tag=13, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """An e-mail did not arrive; ``activity`` is the hash of the id of its activity."""

    event = events.EmailBounced
    profile = True

    activity: int = 0

    @classmethod
    def of(cls, event: events.EmailBounced, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(id, at, rec, activity=fact_id(event.activity_id))


class Classified(LeadFact, tag=14, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Somebody judged a reply."""

    event = events.ReplyClassified

    reply: str = ""
    channel: Channel = Channel("")
    sentiment: str = ""
    auto: bool | None = None

    @classmethod
    def of(cls, event: events.ReplyClassified, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(
            id,
            at,
            rec,
            reply=event.reply_id or "",
            channel=Channel(event.channel or ""),
            sentiment=event.sentiment or "",
            auto=event.auto_reply,
        )


class Paused(LeadFact, tag=15, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """The clock of the open request stands still."""

    event = events.ResponsePaused

    reason: str = ""

    @classmethod
    def of(cls, event: events.ResponsePaused, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(id, at, rec, reason=event.reason or "")


class Resumed(LeadFact, tag=16, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """The clock of the open request runs again."""

    event = events.ResponseResumed

    @classmethod
    def of(cls, event: events.ResponseResumed, id: int, at: int, rec: int) -> Self:  # noqa: A002
        del event
        return cls(id, at, rec)


# --- Deals -----------------------------------------------------------------------------------------------------------


class Opened(DealFact, tag=20, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A deal was opened, or its opening corrected."""

    event = events.OpportunityCreated

    lead: str = ""
    account: str = ""
    rep: Rep = Rep("")
    team: Team = Team("")
    amount: int = 0
    currency: str = ""

    @classmethod
    def of(cls, event: events.OpportunityCreated, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(
            id,
            at,
            rec,
            lead=event.lead_id or "",
            account=event.account_id or "",
            rep=Rep(event.rep_id or ""),
            team=Team(event.team or ""),
            amount=micros(event.amount),
            currency=event.currency or "",
        )


class Changed(DealFact, tag=21, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Attributes of a deal changed; ``cleared`` are the names of those that have no value any more."""

    event = events.DealChanged

    lead: str = ""
    account: str = ""
    rep: Rep = Rep("")
    team: Team = Team("")
    stage: str = ""
    category: str = ""
    probability: float | None = None
    amount: int | None = None
    currency: str = ""
    expected_close: int = 0
    splits: tuple[tuple[Rep, int], ...] = ()
    cleared: tuple[str, ...] = ()

    @classmethod
    def of(cls, event: events.DealChanged, id: int, at: int, rec: int) -> Self:  # noqa: A002
        splits = tuple((Rep(split.rep_id), micros(split.share)) for split in event.splits or ())
        return cls(
            id,
            at,
            rec,
            lead=event.lead_id or "",
            account=event.account_id or "",
            rep=Rep(event.rep_id or ""),
            team=Team(event.team or ""),
            stage=event.stage or "",
            category=event.category or "",
            probability=event.probability,
            amount=_optional_micros(event.amount),
            currency=event.currency or "",
            expected_close=_optional_millis(event.expected_close),
            splits=splits,
            cleared=tuple(sorted(name for name in event.model_fields_set if getattr(event, name) is None)),
        )


class Won(DealFact, tag=22, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A deal was won; ``lines`` are (product, millionths)."""

    event = events.DealWon

    lead: str = ""
    account: str = ""
    rep: Rep = Rep("")
    team: Team = Team("")
    location: Location = Location("")
    kind: str = "new"
    lines: tuple[Line, ...] = ()
    currency: str = ""
    mrr: int | None = None
    referrer: str = ""
    term_end: int = 0

    @classmethod
    def of(cls, event: events.DealWon, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(
            id,
            at,
            rec,
            lead=event.lead_id or "",
            account=event.account_id or "",
            rep=Rep(event.rep_id or ""),
            team=Team(event.team or ""),
            location=Location(event.location or ""),
            kind=event.kind,
            lines=_lines(event.lines, event.amount),
            currency=event.currency or "",
            mrr=_optional_micros(event.mrr),
            referrer=event.referred_by or "",
            term_end=_optional_millis(event.term_end),
        )


class Lost(DealFact, tag=23, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A deal was lost."""

    event = events.DealLost

    lead: str = ""
    account: str = ""
    rep: Rep = Rep("")
    team: Team = Team("")
    product: Product = Product("")
    amount: int = 0
    currency: str = ""
    reason: str = ""

    @classmethod
    def of(cls, event: events.DealLost, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(
            id,
            at,
            rec,
            lead=event.lead_id or "",
            account=event.account_id or "",
            rep=Rep(event.rep_id or ""),
            team=Team(event.team or ""),
            product=Product(event.product or ""),
            amount=micros(event.amount),
            currency=event.currency or "",
            reason=event.reason or "",
        )


class Reopened(DealFact, tag=24, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A closed deal is open again."""

    event = events.DealReopened

    lead: str = ""
    account: str = ""

    @classmethod
    def of(cls, event: events.DealReopened, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(id, at, rec, lead=event.lead_id or "", account=event.account_id or "")


class DealDeleted(DealFact, tag=25, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A deal was deleted."""

    event = events.DealDeleted

    @classmethod
    def of(cls, event: events.DealDeleted, id: int, at: int, rec: int) -> Self:  # noqa: A002
        del event
        return cls(id, at, rec)


class DealRestored(DealFact, tag=26, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A deleted deal is back."""

    event = events.DealRestored

    @classmethod
    def of(cls, event: events.DealRestored, id: int, at: int, rec: int) -> Self:  # noqa: A002
        del event
        return cls(id, at, rec)


class Credited(DealFact, tag=27, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Money was given back: of a deal or, where it names none, of an account. Amounts are above zero."""

    event = events.DealCredited

    credit_id: str = ""
    account: str = ""
    lines: tuple[Line, ...] = ()
    currency: str = ""
    mrr_after: int | None = None
    reason: str = ""

    @classmethod
    def of(cls, event: events.DealCredited, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(
            id,
            at,
            rec,
            credit_id=event.credit_id,
            account=event.account_id or "",
            lines=_lines(event.lines, event.amount),
            currency=event.currency or "",
            mrr_after=_optional_micros(event.mrr_after),
            reason=event.reason or "",
        )

    @classmethod
    def home(cls, event: events.DealCredited) -> str:
        return address(DEAL, event.deal_id) if event.deal_id else address(ACCOUNT, event.account_id or "")


# --- Accounts --------------------------------------------------------------------------------------------------------


class AccountMerge(Merge, tag=30, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """An account turned out to be another one."""

    event = events.AccountMerged

    @classmethod
    def of(cls, event: events.AccountMerged, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(id, at, rec, about=address(ACCOUNT, event.account_id), survivor=address(ACCOUNT, event.survivor_id))

    @classmethod
    def home(cls, event: events.AccountMerged) -> str:
        return address(ACCOUNT, event.account_id)


class Churned(AccountFact, tag=31, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """An account left."""

    event = events.CustomerChurned

    mrr_lost: int | None = None
    currency: str = ""
    reason: str = ""

    @classmethod
    def of(cls, event: events.CustomerChurned, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(
            id,
            at,
            rec,
            mrr_lost=_optional_micros(event.mrr_lost),
            currency=event.currency or "",
            reason=event.reason or "",
        )


class Subscription(AccountFact, tag=32, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """The recurring revenue of a subscription, or of an account, changed: to ``after``, or by ``delta``."""

    event = events.SubscriptionChanged

    before: int | None = None
    after: int | None = None
    delta: int | None = None
    currency: str = ""
    subscriptions: int | None = None
    subscription: str = ""
    status: str = ""
    reason: str = ""
    cancels_at: int = 0

    @classmethod
    def of(cls, event: events.SubscriptionChanged, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(
            id,
            at,
            rec,
            before=_optional_micros(event.mrr_before),
            after=_optional_micros(event.mrr_after),
            delta=_optional_micros(event.mrr_delta),
            currency=event.currency or "",
            subscriptions=event.subscriptions,
            subscription=event.subscription_id or "",
            status=event.status or "",
            reason=event.reason or "",
            cancels_at=_optional_millis(event.cancels_at),
        )


# --- Ledgers ---------------------------------------------------------------------------------------------------------


class Survey(LedgerFact, tag=40, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A survey was answered."""

    event = events.SurveyAnswered

    kind: str = ""
    score: int = 0
    team: Team = Team("")

    @classmethod
    def of(cls, event: events.SurveyAnswered, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(id, at, rec, kind=event.kind, score=event.score, team=Team(event.team or ""))

    @classmethod
    def home(cls, event: events.SurveyAnswered) -> str:
        """An answer about working here is the rep's."""
        if event.kind == "enps":
            return address(REP, event.rep_id or event.respondent_id)
        return super().home(event)


class Ticket(LedgerFact, tag=41, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A support ticket was opened."""

    event = events.SupportTicketOpened

    @classmethod
    def of(cls, event: events.SupportTicketOpened, id: int, at: int, rec: int) -> Self:  # noqa: A002
        del event
        return cls(id, at, rec)

    @classmethod
    def home(cls, event: events.SupportTicketOpened) -> str:
        """A ticket has a page of its own, on which it counts once, whenever it is reported again."""
        return address(LEDGER, f"{event.key}{LEDGER_SEPARATOR}#{event.ticket_id}")


class Usage(LedgerFact, tag=42, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Time was spent in the platform."""

    event = events.UsageRecorded

    ms: int = 0

    @classmethod
    def of(cls, event: events.UsageRecorded, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(id, at, rec, ms=int(event.minutes * 60_000))


class Feedback(LedgerFact, tag=43, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Feedback arrived."""

    event = events.FeedbackReceived

    kind: str = ""

    @classmethod
    def of(cls, event: events.FeedbackReceived, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(id, at, rec, kind=event.kind)


class Spend(LedgerFact, tag=44, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Money was spent on acquisition."""

    event = events.SpendRecorded

    campaign: Campaign = Campaign("")
    amount: int = 0
    currency: str = ""
    category: str = "marketing"
    channel: Channel = Channel("")

    @classmethod
    def of(cls, event: events.SpendRecorded, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(
            id,
            at,
            rec,
            campaign=Campaign(event.campaign_id),
            amount=micros(event.amount),
            currency=event.currency or "",
            category=event.category,
            channel=Channel(event.channel or ""),
        )


class Price(LedgerFact, tag=45, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A competitor's price was seen."""

    event = events.CompetitorPriceObserved

    product: Product = Product("")
    competitor: str = ""
    price: int = 0
    own: int = 0
    currency: str = ""

    @classmethod
    def of(cls, event: events.CompetitorPriceObserved, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(
            id,
            at,
            rec,
            product=Product(event.product),
            competitor=event.competitor,
            price=micros(event.price),
            own=micros(event.own_price),
            currency=event.currency or "",
        )


# --- Reps ------------------------------------------------------------------------------------------------------------


class Quota(RepFact, tag=50, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A rep's target for a period."""

    event = events.QuotaSet

    start: int = 0
    end: int = 0
    amount: int = 0
    currency: str = ""

    @classmethod
    def of(cls, event: events.QuotaSet, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(
            id,
            at,
            rec,
            start=millis(event.period_start),
            end=millis(event.period_end),
            amount=micros(event.amount),
            currency=event.currency or "",
        )


class Joined(RepFact, tag=51, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A rep started."""

    event = events.RepJoined

    team: Team = Team("")
    name: str = ""

    @classmethod
    def of(cls, event: events.RepJoined, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(id, at, rec, team=Team(event.team or ""), name=event.display_name or "")


class Left(RepFact, tag=52, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A rep left."""

    event = events.RepLeft

    team: Team = Team("")

    @classmethod
    def of(cls, event: events.RepLeft, id: int, at: int, rec: int) -> Self:  # noqa: A002
        return cls(id, at, rec, team=Team(event.team or ""))


# --- From events to facts --------------------------------------------------------------------------------------------


def to_fact(event: AnyEvent) -> tuple[str, Fact]:
    """The address of the entity that ``event`` is about, and the fact that it states."""
    kind = _FACT_OF[type(event)]
    recorded = event.recorded_at
    at = millis(event.occurred_at)
    return kind.home(event), kind.of(event, fact_id(event.event_id), at, millis(recorded) if recorded else 0)


def fact_id(event_id: str) -> int:
    """A 64-bit hash of the event id; within one entity a collision is practically excluded."""
    digest = _HASH.copy()
    digest.update(event_id.encode())
    return int.from_bytes(digest.digest(), "big")


def millis(time: datetime) -> int:
    """Milliseconds since the epoch, rounded to the nearest."""
    passed = time - _EPOCH
    return passed.days * _DAY + passed.seconds * 1000 + (passed.microseconds + 500) // 1000


def micros(amount: Decimal | None) -> int:
    """Millionths of a major unit; absent is 0."""
    return 0 if amount is None else int((amount * MICROS).quantize(_ONE, ROUND_HALF_EVEN))


def _optional_millis(time: datetime | None) -> int:
    return 0 if time is None else millis(time)


def _optional_micros(amount: Decimal | None) -> int | None:
    return None if amount is None else micros(amount)


def _lines(lines: tuple[events.DealLine, ...], amount: Decimal | None) -> tuple[Line, ...]:
    """The revenue by product; an amount without lines is that of an unknown product."""
    if lines:
        return tuple((Product(line.product), micros(line.quantity * line.unit_price)) for line in lines)
    return () if amount is None else ((Product(""), micros(amount)),)


def _declared(kind: type[Fact]) -> list[type[Fact]]:
    subclasses = kind.__subclasses__()
    found = [kind] if "event" in vars(kind) else []
    return found + [fact for subclass in subclasses for fact in _declared(subclass)]


def _registered() -> dict[type[EventBase], type[Fact]]:
    facts: dict[type[EventBase], type[Fact]] = {}
    for fact in _declared(Fact):
        if fact.event in facts:
            raise TypeError(f"{fact.__name__} and {facts[fact.event].__name__} are both made of {fact.event.__name__}")
        facts[fact.event] = fact
    if missing := [model.__name__ for model in EVENTS.values() if model not in facts]:
        raise TypeError(f"no fact in {__name__} is made of {', '.join(missing)}: declare one for each kind of event")
    return facts


FACTS = _registered()
"""Event model -> the fact that is made of it."""
EVENT_NAMES: dict[type[Fact], str] = {FACTS[model]: name for name, model in EVENTS.items()}
"""Fact -> the name of the event that it is made of."""

if TYPE_CHECKING:
    AnyFact = Fact
else:
    AnyFact = Union[tuple(FACTS.values())]  # noqa: UP007 - made of a tuple
"""What msgspec decodes a packed fact into."""

_FACT_OF: dict[type[Any], type[Fact]] = {
    **FACTS,
    **{struct: FACTS[EVENTS[name]] for name, struct in WIRE_EVENTS.items()},
}
CURRENCY_FACTS: frozenset[type[Fact]] = frozenset(f for f in FACTS.values() if "currency" in f.__struct_fields__)
"""Facts with an amount in a currency."""
