"""What happens to leads: requests, assignment, touches, answers, meetings, merges."""

from __future__ import annotations

from typing import Literal

from salesgauge.schemas.events.base import LeadEvent, LeadOrAccountEvent, Stage
from salesgauge.schemas.values import Identifier, Label, Name, Time

ActivityKind = Literal["call", "email", "message", "meeting", "video", "social", "note"]
Sentiment = Literal["positive", "negative", "neutral"]
Side = Literal["rep", "lead"]


class LeadCreated(LeadEvent):
    """A lead entered the CRM: its first request.

    ``qualified`` is the source's own judgement, if it has one. ``needs_response`` is false if nobody waits for an
    answer, as after an import; the rules can say so by source. ``tier`` and ``channel`` choose the policy of its
    response time.
    """

    event: Literal["lead_created"] = "lead_created"
    source: Name | None = None
    campaign_id: Name | None = None
    location: Name | None = None
    rep_id: Name | None = None
    team: Name | None = None
    qualified: bool | None = None
    tier: Name | None = None
    channel: Name | None = None
    needs_response: bool | None = None


class LeadReengaged(LeadEvent):
    """A known lead asked again. If it had been answered, a new response clock starts."""

    event: Literal["lead_reengaged"] = "lead_reengaged"
    request_id: Name | None = None
    source: Name | None = None
    tier: Name | None = None
    channel: Name | None = None
    needs_response: bool | None = None


class LeadAssigned(LeadEvent):
    """A lead was given to a rep, for the first time or again."""

    event: Literal["lead_assigned"] = "lead_assigned"
    rep_id: Label
    team: Name | None = None


class LeadMerged(LeadEvent):
    """The lead ``lead_id`` turned out to be ``survivor_id``, which takes its history.

    The same event, recorded later, corrects the survivor. With ``survivor_id`` equal to ``lead_id`` it undoes the
    merge.
    """

    event: Literal["lead_merged"] = "lead_merged"
    survivor_id: Identifier


class LeadDeleted(LeadEvent):
    """A lead was deleted.

    It counts nowhere until it is restored. Deleting a merged lead does not change its survivor.
    """

    event: Literal["lead_deleted"] = "lead_deleted"


class LeadRestored(LeadEvent):
    """A deleted lead is back, with everything that is known of it."""

    event: Literal["lead_restored"] = "lead_restored"


class LifecycleStageChanged(LeadEvent):
    """A lead entered a lifecycle stage."""

    event: Literal["lifecycle_stage_changed"] = "lifecycle_stage_changed"
    stage: Stage


class ActivityLogged(LeadOrAccountEvent):
    """A person or an automation did something with a lead or an account.

    A human touch is outbound, not automated, and of any kind but a note. ``activity_id`` is the CRM's id, by which a
    bounce names the activity; without it, it is the ``event_id``.
    """

    event: Literal["activity_logged"] = "activity_logged"
    activity_id: Name | None = None
    rep_id: Name | None = None
    team: Name | None = None
    kind: ActivityKind
    direction: Literal["inbound", "outbound"] = "outbound"
    automated: bool = False


class EmailBounced(LeadEvent):
    """An e-mail did not arrive, so the activity ``activity_id`` does not count as a touch."""

    event: Literal["email_bounced"] = "email_bounced"
    activity_id: Identifier


class ReplyReceived(LeadEvent):
    """A lead answered.

    An out-of-office answer has ``auto_reply`` and counts as a reply for no KPI. Two events with one ``reply_id`` (a
    message id) are one reply.
    """

    event: Literal["reply_received"] = "reply_received"
    reply_id: Name | None = None
    channel: Name | None = None
    sentiment: Sentiment = "neutral"
    auto_reply: bool = False
    rep_id: Name | None = None
    team: Name | None = None


class ReplyClassified(LeadEvent):
    """A person or a tool judged a reply: the one with ``reply_id``, otherwise the channel's latest unjudged one."""

    event: Literal["reply_classified"] = "reply_classified"
    reply_id: Name | None = None
    channel: Name | None = None
    sentiment: Sentiment | None = None
    auto_reply: bool | None = None


class MeetingBooked(LeadEvent):
    """A meeting with a lead was put into the calendar.

    Booked by a rep, it answers the lead's request. Booked by the lead itself (a calendar link), it pauses the
    response clock until ``scheduled_for``.
    """

    event: Literal["meeting_booked"] = "meeting_booked"
    meeting_id: Identifier
    kind: Literal["intro", "demo", "other"] = "other"
    scheduled_for: Time | None = None
    booked_by: Side = "rep"
    rep_id: Name | None = None
    team: Name | None = None


class MeetingCompleted(LeadEvent):
    """The time of a meeting has come: it was held, missed (by ``missed_by``) or cancelled."""

    event: Literal["meeting_completed"] = "meeting_completed"
    meeting_id: Identifier
    kind: Literal["intro", "demo", "other"] | None = None
    outcome: Literal["held", "no_show", "cancelled"] = "held"
    missed_by: Side = "lead"
    rep_id: Name | None = None
    team: Name | None = None


class ResponsePaused(LeadEvent):
    """It is the lead's turn: the response clock of its open request is paused."""

    event: Literal["response_paused"] = "response_paused"
    reason: Name | None = None


class ResponseResumed(LeadEvent):
    """The response clock of the open request runs again."""

    event: Literal["response_resumed"] = "response_resumed"


class ProposalSent(LeadEvent):
    """A proposal or quote went out."""

    event: Literal["proposal_sent"] = "proposal_sent"
    deal_id: Name | None = None
    rep_id: Name | None = None
    team: Name | None = None
