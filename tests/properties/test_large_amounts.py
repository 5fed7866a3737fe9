"""Sums may be larger than 64 bits hold: no valid event can stop a worker, or change what others add up to."""

from __future__ import annotations

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.readings import View
from salesgauge.metrics.rules.model import Rules
from salesgauge.metrics.shard.leaves import LeafIndex
from salesgauge.metrics.shard.partials import absorb, export
from salesgauge.metrics.windows.series import SeriesIndex
from salesgauge.metrics.windows.sums import WindowSums
from salesgauge.streams.worker.publication import Subscriber, WorkerStatus, claim, publication
from tests.support.stories import NOW, event, ms, won

LARGE = 8_999_999_999_999


def large() -> Machine:
    """Wins, spending and usage whose sums do not fit into 64 bits."""
    engine = Machine(Rules())
    engine.advance(ms(NOW))
    lines = [{"product": "P", "unit_price": LARGE}] * 3
    events = [
        won("d", "06-20 10:00", 1, lead_id="l", lines=lines),
        *(event("spend_recorded", "06-20 10:00", campaign_id="c", amount=LARGE) for _ in range(3)),
        event(
            "quota_set", "06-01 00:00", rep_id="r", amount=LARGE, period_start="06-01 00:00", period_end="08-01 00:00"
        ),
        won("e", "06-21 10:00", 1, rep_id="r", lines=lines),
    ]
    assert not any(engine.apply(events))
    return engine


def revenue(view: View) -> float:
    [found] = [
        r.value for r in view.readings(CATALOGUE.select(["sales_revenue"])) if r.window == "30d" and not r.labels
    ]
    return found


def test_the_engine_adds_up_what_does_not_fit_64_bits() -> None:
    engine = large()
    engine.shard.panes.trim(0)  # packed at rest
    engine.readings()
    assert revenue(engine.view) == 6 * LARGE


def test_processes_hand_over_what_does_not_fit_64_bits() -> None:
    engine, other = large(), Machine(Rules())
    other.advance(ms(NOW))
    absorb(other.shard.panes, export(engine.shard.panes))
    other.readings()
    assert revenue(other.view) == 6 * LARGE


def test_workers_publish_what_does_not_fit_64_bits() -> None:
    panes = large().shard.panes
    sums = WindowSums(SeriesIndex(CATALOGUE.plan(), LeafIndex()), Rules(), CATALOGUE.windows_before())
    subscriber = Subscriber(sums)
    for message in [claim(0, WorkerStatus()), *publication(0, panes, WorkerStatus(at=ms(NOW)), full=True)]:
        subscriber.accept(message.key, message.value, "owner")
    subscriber.settle()
    sums.advance(ms(NOW))
    assert revenue(View(CATALOGUE, sums)) == 6 * LARGE
