"""Whether the numbers are whole: what the board may show and judge."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_FAST = 40.0
_FAST_SHARE = 0.002
"""Events a second, and their share of all events, beyond which a backlog is coming in."""
_OLD_MS = 3_600_000
"""Where the newest event is older than this, a few events a second are a backlog too."""
_SLOW = 5.0
_SETTLED_MS = 10_000
"""So long no backlog must come in before the numbers are taken for whole."""
_BETWEEN_MS = 1_000


class BoardState(enum.StrEnum):
    """``STARTING``: nothing to show yet. ``CATCHING_UP``: history comes in; shown, not judged.
    ``INCOMPLETE``: parts are missing; counts are lower bounds, nothing is judged. ``LIVE``: whole.
    """  # noqa: D205 - a list

    STARTING = "starting"
    CATCHING_UP = "catching-up"
    INCOMPLETE = "incomplete"
    LIVE = "live"


@dataclass(slots=True)
class Progress:
    """Watches how fast events come in: while there are many more of them at each look, history is being read."""

    _looked: int | None = None
    _events: int = 0
    _newest: int = 0
    _backlog_at: int | None = None
    _unsure: bool = False
    _began: tuple[int, float] | None = None
    _share: float = field(default=1.0)

    def look(self, now: int, events: int, newest: int, first: int) -> None:
        """Take note of the totals; call it as often as you like.

        Args:
            now: the instant, ms.
            events: seen in all.
            newest: instant of the newest event, ms.
            first: instant of the first event, ms.
        """
        if self._looked is not None and now - self._looked < _BETWEEN_MS:
            return
        first_look = self._looked is None
        if self._comes_in(now, events, newest):
            self._backlog_at = now
        elif self._unsure:
            self._backlog_at = None  # only the first look said so, when nothing was known yet
        self._unsure = first_look
        if self._backlog_at == now and self._began is None:
            self._began = (now, self._share_read(now, newest, first))
        self._share = self._share_read(now, newest, first)
        # The most that were seen: a partition that is missing while its worker changes comes back, which is no backlog.
        self._looked, self._events, self._newest = now, max(events, self._events), newest

    def _comes_in(self, now: int, events: int, newest: int) -> bool:
        if self._looked is None:
            return events > 0  # nothing is known yet of how fast they come
        rate = (events - self._events) / max(1, now - self._looked) * 1000
        slow = now - newest > _OLD_MS and rate > _SLOW
        return slow or rate > max(_FAST, events * _FAST_SHARE)

    @staticmethod
    def _share_read(now: int, newest: int, first: int) -> float:
        return min(1.0, max(0.0, (newest - first) / (now - first))) if now > first else 1.0

    def state(self, now: int, engine: Mapping[str, Any], *, empty: bool) -> dict[str, Any]:
        """The state and, while history is read, how much of it is (``share``) and how long it will take (s)."""
        ready = engine.get("ready", True)
        if not ready and empty:
            return {"state": BoardState.STARTING}
        if self._backlog_at is not None and now - self._backlog_at < _SETTLED_MS:
            return {"state": BoardState.CATCHING_UP, "share": self._share, "as_of": self._newest} | self._left(now)
        self._began = None
        return {"state": BoardState.LIVE if ready else BoardState.INCOMPLETE}

    def _left(self, now: int) -> dict[str, Any]:
        if self._began is None:
            return {}
        at, share = self._began
        gained = self._share - share
        return {"seconds_left": round((now - at) / 1000 / gained * (1 - self._share))} if gained > 0 else {}
