"""Expected closes: what is due in a sales period, what changes that, what is pushed and what slips.

A deal is due in the period that holds its expected close, while that lasts. Rules and a worked example:
docs/pipeline.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.rules.model import Rules
from salesgauge.metrics.rules.windows import sales_period_of

if TYPE_CHECKING:
    from salesgauge.metrics.entities.pipeline import OpenSpan


class _Due(NamedTuple):
    """A span, and from when until when (ms) it lies in the period ``[first, last)`` in which its close is expected."""

    span: OpenSpan
    first: int
    last: int
    begin: int
    end: int

    @property
    def lasts(self) -> bool:
        """Whether there is such a time."""
        return self.begin < self.end

    def goes_on_in(self, other: _Due | None) -> bool:
        """Whether the deal is due in the same period when the other span begins, without a gap."""
        return other is not None and other.lasts and self.first == other.first and self.end == other.begin


def end_of(span: OpenSpan) -> float:
    """When a span ends; never, if the deal is still in it."""
    return math.inf if span.until is None else span.until


def add_due(spans: Sequence[OpenSpan], rules: Rules, out: Contributions) -> None:
    """Add what the spans of a deal, sorted, say about its expected close."""
    dues = [_read_due(span, rules) for span in spans]
    for number, due in enumerate(dues):
        before = dues[number - 1] if number else None
        after = dues[number + 1] if number + 1 < len(dues) else None
        if due is None:
            continue
        _add_push(before, due, out)
        _add_slip(due, spans, out)
        if due.lasts:
            version = due.span.version
            for at, sign in ((due.begin, 1), (due.end, -1)):
                out.add(m.PIPELINE_DUE, at, sign * version.amount, rep=version.rep, team=version.team)
            _add_entry(before, due, spans[number - 1] if number else None, out)
            _add_exit(due, after, spans[number + 1] if number + 1 < len(spans) else None, out)


def _read_due(span: OpenSpan, rules: Rules) -> _Due | None:
    expected = span.version.expected_close
    if not expected:
        return None
    first, last = sales_period_of(expected, rules)
    return _Due(span, first, last, max(span.since, first), int(min(end_of(span), last)))


def _add_push(before: _Due | None, due: _Due, out: Contributions) -> None:
    if before is None or before.span.until != due.span.since or before.first == due.first:
        return
    version = due.span.version
    measure = m.PUSHES if before.first < due.first else m.PULLED_IN
    out.add(measure, due.span.since, 1, stage=version.stage, rep=version.rep, team=version.team)


def _add_slip(due: _Due, spans: Sequence[OpenSpan], out: Contributions) -> None:
    """A deal that was due when the period began is judged at its end: whether it is open then."""
    if due.span.since <= due.first < end_of(due.span):
        is_open = any(span.since <= due.last < end_of(span) for span in spans)
        rep, team = due.span.version.rep, due.span.version.team
        out.add(m.SLIP_DUE, due.last, 1, rep=rep, team=team)
        out.add(m.SLIPPED, due.last, int(is_open), rep=rep, team=team)


def _add_entry(before: _Due | None, due: _Due, last: OpenSpan | None, out: Contributions) -> None:
    """Add why the deal is due from here on; what was due when the period began is its start."""
    at, version = due.begin, due.span.version
    if at == due.first:
        _move("start", at, version.amount, due, out)
    elif before is not None and before.goes_on_in(due):
        old = before.span.version
        if (old.rep, old.team) != (version.rep, version.team):
            _move("reassigned", at, -old.amount, before, out)
            _move("reassigned", at, old.amount, due, out)
        gain = version.amount - old.amount
        _move("increased" if gain > 0 else "decreased", at, gain, due, out)
    elif last is not None and last.until == at:
        _move("moved_in", at, version.amount, due, out)
    else:
        _move("created" if last is None else "reopened", at, version.amount, due, out)


def _add_exit(due: _Due, after: _Due | None, following: OpenSpan | None, out: Contributions) -> None:
    """Add why the deal is due no more; at the end of the period nothing moves: the next one begins."""
    if due.end == due.last or due.goes_on_in(after):
        return
    version = due.span.version
    if following is not None and following.since == due.end:
        _move("moved_out", due.end, -version.amount, due, out)
    else:
        _move(due.span.outcome, due.end, -version.amount, due, out)


def _move(change: str, at: int, amount: int, due: _Due, out: Contributions) -> None:
    """Add a change; it is taken back at the end of the period, so a stock shows the current one."""
    version = due.span.version
    for when, sign in ((at, 1), (due.last, -1)):
        out.add(m.PIPELINE_MOVED, when, sign * amount, change=change, rep=version.rep, team=version.team)
