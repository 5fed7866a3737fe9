"""When a lead waits for an answer, what ends that, and whom it counts for: one rule a test.

Times are of 2025 in UTC; the second of June is a Monday. Unless said otherwise the SLA is 15 minutes, around the clock.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from salesgauge.metrics.rules.model import CalendarRule, ResponsePolicyRule, Rules
from tests.support.stories import assigned, booked, created, event, lost, read, reengaged, reply, stage, touch, won

if TYPE_CHECKING:
    from salesgauge.schemas.events import EventBase

MINUTE, HOUR = 60, 3600


def states(events: list[EventBase], at: str, **more: Any) -> dict[str, float]:
    names = ("paused", "waiting", "at_risk", "late", "answered", "closed", "exempt")
    found = {name: read(events, "response_states", at=at, state=name, **more) for name in names}
    return {name: value for name, value in found.items() if value}


def moved(name: str, at: str) -> EventBase:
    return event(name, at, lead_id="a")


@pytest.mark.parametrize(
    "evidence",
    [
        touch("a", "06-02 09:10"),
        touch("a", "06-02 09:10", "message"),
        touch("a", "06-02 09:10", "video"),
        event("proposal_sent", "06-02 09:10", lead_id="a"),
        event("meeting_completed", "06-02 09:10", lead_id="a", meeting_id="m", outcome="held"),
        booked("a", "06-02 09:10"),
        touch("a", "06-02 08:30"),
    ],
    ids=["call", "message", "video", "proposal", "held", "booked by a rep", "half an hour before the record"],
)
def test_any_evidence_of_a_person_answers(evidence: EventBase) -> None:
    assert states([created("a"), evidence], "06-03 00:00") == {"answered": 1}
    assert read([created("a"), evidence], "lead_response_sla_ratio") == 1


@pytest.mark.parametrize(
    "event_",
    [
        touch("a", "06-02 09:10", "email", automated=True),
        touch("a", "06-02 09:10", direction="inbound"),
        touch("a", "06-02 09:10", "note"),
        reply("a", "06-02 09:10"),
        assigned("a", "ann", "06-02 09:10"),
        event("meeting_completed", "06-02 09:10", lead_id="a", meeting_id="m", outcome="no_show"),
        touch("a", "06-02 08:29"),
    ],
    ids=["automation", "inbound", "note", "reply", "assignment", "no-show", "longer before"],
)
def test_what_is_no_answer(event_: EventBase) -> None:
    assert states([created("a"), event_], "06-03 00:00") == {"late": 1}


def test_an_answer_before_the_record_took_no_time() -> None:
    events = [created("a"), touch("a", "06-02 08:40")]
    assert read(events, "lead_response_seconds", stat="sum") == 0
    again = [*events, reengaged("a", "06-05 09:00"), touch("a", "06-05 08:50")]
    assert states(again, "06-05 09:05") == {"answered": 1, "waiting": 1}, "only the first request looks back"


@pytest.mark.parametrize(("after", "requests"), [("06-02 09:10", 1), ("06-02 09:11", 2)])
def test_requests_within_ten_minutes_are_one(after: str, requests: int) -> None:
    events = [created("a"), touch("a", "06-02 09:02"), reengaged("a", after)]
    assert read(events, "response_requests") == requests
    assert states(events, "06-02 09:12") == ({"answered": 1} if requests == 1 else {"answered": 1, "waiting": 1})


def test_two_notices_of_one_request_are_one() -> None:
    asked = [reengaged("a", f"06-0{day} 09:00", request_id="form-7") for day in (5, 6)]
    assert read([created("a"), touch("a", "06-02 09:05"), *asked, touch("a", "06-05 09:01")], "response_requests") == 2


@pytest.mark.parametrize("again", [created("a", "06-20 09:00"), reengaged("a", "06-20 09:00")])
def test_a_known_lead_that_asks_again_waits_again(again: EventBase) -> None:
    events = [created("a"), touch("a", "06-02 09:10"), stage("a", "disqualified", "06-02 09:12"), again]
    assert states(events, "06-20 12:00") == {"answered": 1, "late": 1}
    assert read(events, "new_leads") == 1


def test_what_ends_a_wait_without_an_answer() -> None:
    early, late = "06-02 09:10", "06-02 10:00"
    for close in (stage("a", "disqualified", late), lost("a", late), won("a", late)):
        assert states([created("a"), close, touch("a", "06-02 11:00")], "06-03 00:00") == {"closed": 1}
        assert read([created("a"), close], "lead_response_sla_ratio") == 0, "it was past the deadline"
    assert read([created("a"), stage("a", "disqualified", early)], "lead_response_sla_ratio") is None, "it was not due"
    twice = [created("a"), stage("a", "disqualified", early), stage("a", "customer", late)]
    assert read(twice, "lead_response_sla_ratio") is None, "it ended when the lead was first closed"
    both = [created("a"), touch("a", early), stage("a", "disqualified", early)]
    assert states(both, "06-03 00:00") == {"answered": 1}, "at one instant the answer comes first"
    back = [created("a"), stage("a", "disqualified", early), stage("a", "lead", late)]
    assert states(back, "06-03 00:00") == {"late": 1}
    assert states([created("a"), lost("a", "05-01 09:00")], "06-03 00:00") == {"closed": 1}, "a record made afterwards"


def test_a_record_made_after_its_deal_was_closed_never_waited_whatever_is_sold_later() -> None:
    past = [created("a", "06-02 09:00"), won("d", "06-01 09:00", 5, lead_id="a")]
    for events in (past, [*past, won("e", "06-20 09:00", 5, lead_id="a")]):
        assert read(events, "lead_response_sla_ratio", window="30d") is None
        assert read(events, "leads_waiting") == 0


def test_a_customer_may_be_exempt() -> None:
    events = [created("a"), won("a", "06-03 09:00"), reengaged("a", "06-10 09:00")]
    assert states(events, "06-20 00:00") == {"closed": 1, "late": 1}
    excluded = Rules(response_customers="exclude")
    assert states(events, "06-20 00:00", rules=excluded) == {"closed": 1, "exempt": 1}
    assert read(events, "requests_exempt", rules=excluded) == 1


def test_at_the_deadline_an_answer_is_in_time_and_a_wait_is_late() -> None:
    assert read([created("a"), touch("a", "06-02 09:15")], "lead_response_sla_ratio") == 1
    assert read([created("a"), touch("a", "06-02 09:16")], "lead_response_sla_ratio") == 0
    for at, state in (("06-02 09:11", "waiting"), ("06-02 09:12", "at_risk"), ("06-02 09:15", "late")):
        assert states([created("a")], at) == {state: 1}


# --- pauses


def over(at: str, outcome: str, **fields: Any) -> EventBase:
    return event("meeting_completed", at, lead_id="a", meeting_id="m", outcome=outcome, **fields)


def moved_to(at: str) -> EventBase:
    return booked("a", "06-02 11:00", meeting_id="m", booked_by="lead", scheduled_for=at)


def test_pauses_do_not_count() -> None:
    pause = [moved("response_paused", "06-02 09:05"), moved("response_resumed", "06-02 10:05")]
    events = [created("a"), *pause]
    assert states(events[:2], "06-02 09:30") == {"paused": 1}
    assert states(events, "06-02 10:10") == {"waiting": 1}
    assert states(events, "06-02 10:12") == {"at_risk": 1}
    assert states(events, "06-02 10:15") == {"late": 1}
    assert read(events, "lead_oldest_wait_seconds", at="06-02 10:10") == 10 * MINUTE
    answered = [*events, touch("a", "06-02 10:13")]
    assert read(answered, "lead_response_seconds", stat="sum") == 13 * MINUTE
    assert read(answered, "lead_response_sla_ratio") == 1


def test_a_pause_belongs_to_the_request_that_was_open() -> None:
    events = [
        created("a"),
        moved("response_paused", "06-02 09:05"),
        touch("a", "06-02 09:30"),
        reengaged("a", "06-05 09:00"),
    ]
    assert states(events, "06-05 10:00") == {"answered": 1, "late": 1}


@pytest.mark.parametrize(
    ("more", "at", "state"),
    [
        ([], "06-03 14:00", "paused"),
        ([], "06-03 15:00", "waiting"),
        ([], "06-03 15:15", "late"),
        ([over("06-03 15:10", "held")], "06-05 00:00", "answered"),
        ([over("06-03 15:05", "no_show", missed_by="rep")], "06-03 15:15", "late"),
        ([over("06-02 10:00", "cancelled")], "06-02 10:30", "late"),
        ([moved_to("06-09 15:00")], "06-05 00:00", "paused"),
        ([moved_to("06-02 12:00")], "06-03 00:00", "late"),
        ([moved("response_resumed", "06-02 10:00")], "06-02 11:00", "late"),
    ],
    ids=["until then", "then", "after", "held", "missed by us", "cancelled", "put off", "put forward", "resumed"],
)  # fmt: skip
def test_a_meeting_booked_by_the_lead_pauses_until_its_time(more: list[EventBase], at: str, state: str) -> None:
    booking = booked("a", "06-02 09:00", meeting_id="m", booked_by="lead", scheduled_for="06-03 15:00")
    assert states([created("a"), booking, *more], at) == {state: 1}


# --- clocks


def test_nothing_is_late_or_grows_old_outside_working_hours() -> None:
    """Friday 17:30, after work; Saturday noon; Monday morning."""
    rules = Rules(sla_in_business_hours=True)
    events = [created("a", "06-06 17:30")]
    for at, state, oldest in (
        ("06-07 12:00", "waiting", 0),
        ("06-09 09:14", "at_risk", 14),
        ("06-09 13:00", "late", 240),
    ):
        assert states(events, at, rules=rules) == {state: 1}
        assert read(events, "lead_oldest_wait_seconds", at=at, rules=rules) == oldest * MINUTE
        assert read(events, "leads_waiting", stat="late", at=at, rules=rules) == (state == "late")
    assert (
        read(events, "lead_oldest_wait_seconds", stat="around_the_clock", at="06-07 12:00", rules=rules) == 18.5 * HOUR
    )


@pytest.mark.parametrize(
    ("hours", "asked", "target", "before", "due"),
    [
        ({"mon-fri": "09:00-12:00, 13:00-17:00", "sat": "10:00-14:00"}, "06-06 16:30", 2, "06-07 11:29", "06-07 11:30"),
        ({"mon-sun": "22:00-06:00"}, "06-03 23:30", 8, "06-04 23:29", "06-04 23:30"),
        ({"mon-sun": "00:00-24:00"}, "06-06 16:30", 2, "06-06 18:29", "06-06 18:30"),
        ({"sat": "10:00-14:00"}, "06-06 09:00", 5, "06-14 10:59", "06-14 11:00"),
    ],
)
def test_policies_have_calendars_of_their_own(
    hours: dict[str, str], asked: str, target: int, before: str, due: str
) -> None:
    policy = ResponsePolicyRule(
        name="p", target=timedelta(hours=target), clock="working_hours", calendar=CalendarRule(hours=hours)
    )
    rules = Rules(response_policies=(policy,))
    events = [created("a", asked)]
    assert states(events, before, rules=rules) == {"at_risk": 1}
    assert states(events, due, rules=rules) == {"late": 1}
    assert read(events, "lead_oldest_wait_seconds", at=due, rules=rules) == target * HOUR


def test_the_policy_is_that_of_the_request_as_it_came() -> None:
    def policy(name: str, minutes: int, **match: Any) -> ResponsePolicyRule:
        return ResponsePolicyRule(name=name, target=timedelta(minutes=minutes), **match)

    rules = Rules(
        response_policies=(policy("vip", 1, tier="gold", channel="chat"), policy("team", 5, team=["north", "south"]))
    )
    events = [
        created("a", tier="Gold", channel="CHAT"),
        created("b", tier="gold"),
        created("c", rep_id="ann", team="north"),
        created("d"),
        assigned("d", "ann", "06-02 09:02", team="north"),
    ]
    for name, number in (("vip", 1), ("team", 1), ("default", 2)):
        assert read(events, "response_requests", rules=rules, policy=name) == number
        assert read(events, "policy_sla_ratio", rules=rules, policy=name) == 0


# --- whose


def test_an_answer_belongs_to_the_owner_then_else_to_who_gave_it() -> None:
    events = [created("a"), touch("a", "06-02 09:05", rep_id="bob"), assigned("a", "ann", "06-04 09:00")]
    for kpi in ("lead_response_seconds", "lead_response_business_seconds"):
        assert read(events, kpi, stat="count", rep="bob") == 1
        assert read(events, kpi, stat="count", rep="ann") is None
    owned = [created("a", rep_id="ann"), touch("a", "06-02 09:05", rep_id="bob")]
    assert read(owned, "lead_response_seconds", stat="count", rep="ann") == 1


def test_a_missed_answer_belongs_to_the_owner_at_the_deadline() -> None:
    events = [created("a", rep_id="ann"), assigned("a", "bob", "06-02 09:20"), touch("a", "06-02 09:30")]
    assert read(events, "lead_response_sla_ratio", rep="ann") == 0
    assert read(events, "lead_response_sla_ratio", rep="bob") is None
    assert read([created("a"), touch("a", "06-02 09:30", rep_id="bob")], "lead_response_sla_ratio", rep="unknown") == 0


def test_who_waits_belongs_to_the_owner_now() -> None:
    events = [created("a", source="web")]
    assert read(events, "unowned_waiting", source="web") == read(events, "leads_waiting", rep="unowned") == 1
    events.append(assigned("a", "ann", "06-05 09:00", team="north"))
    assert read(events, "unowned_waiting") == 0
    assert read(events, "leads_waiting", rep="ann") == read(events, "leads_waiting", team="north") == 1
    assert read(events, "lead_oldest_wait_seconds", at="06-05 10:00", rep="ann") == 73 * HOUR, "nothing is reset"


# --- bounces and replies


def test_an_email_that_bounced_never_was_a_touch() -> None:
    sent = [created("a"), touch("a", "06-02 09:05", "email", activity_id="mail")]
    assert states(sent, "06-03 00:00") == {"answered": 1}
    bounced = [*sent, event("email_bounced", "06-02 09:06", lead_id="a", activity_id="mail")]
    assert states(bounced, "06-03 00:00") == {"late": 1}
    assert read(bounced, "customer_conversion_ratio") is None, "nobody was contacted"
    assert read(bounced, "bounce_ratio", "30d") == 1


def test_two_notices_of_one_reply_are_one_and_a_machine_does_not_reply() -> None:
    """The reply, then what it was judged as; one judgement names no reply and goes to the latest of that channel."""
    events = [
        created("kim"), created("lee"),
        *(reply("kim", f"06-02 10:0{i}", reply_id="m2", channel="email") for i in (0, 5)),
        event("reply_classified", "06-02 10:05", lead_id="kim", reply_id="m2", sentiment="positive"),
        reply("lee", "06-02 09:01", channel="email"),
        event("reply_classified", "06-02 09:02", lead_id="lee", channel="email", auto_reply=True),
        booked("kim", "06-02 11:00"),
    ]  # fmt: skip
    assert read(events, "meeting_acceptance_ratio") == 1 / 1
    assert read(events, "lead_contact_seconds", stat="count") == 1


def test_a_median_needs_half_of_those_who_asked() -> None:
    """Three asked at one instant, one was answered after nine hours, and it is read at that moment."""
    events = [created("a"), created("b"), created("c"), touch("a", "06-02 18:00")]
    for window in ("24h", "30d", "all"):
        assert read(events, "lead_response_seconds", window, "survival_p50", at="06-02 18:00") is None
