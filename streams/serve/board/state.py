"""Whether the numbers are whole: what the board may show and judge."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_BACKLOG = 200
_BACKLOG_SHARE = 0.01
_SETTLED_MS = 6_000
"""So long no backlog must come in before the numbers are taken for whole."""


class State(enum.StrEnum):
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
    _began: tuple[int, float] | None = None
    _share: float = field(default=1.0)

    def look(self, now: int, events: int, newest: int, first: int) -> None:
        """Take note of the totals.

        Args:
            now: the instant, ms.
            events: seen in all.
            newest: instant of the newest event, ms.
            first: instant of the first event, ms.
        """
        if self._looked is not None and events - self._events > max(_BACKLOG, events * _BACKLOG_SHARE):
            self._backlog_at = now
            if self._began is None:
                self._began = (now, self._share_read(now, newest, first))
        self._share = self._share_read(now, newest, first)
        self._looked, self._events, self._newest = now, max(events, self._events), newest

    @staticmethod
    def _share_read(now: int, newest: int, first: int) -> float:
        return min(1.0, max(0.0, (newest - first) / (now - first))) if now > first else 1.0

    def state(self, now: int, engine: Mapping[str, Any], *, empty: bool) -> dict[str, Any]:
        """The state and, while history is read, how much of it is (``share``) and how long it will take (s)."""
        ready = engine.get("ready", True)
        if not ready and empty:
            return {"state": State.STARTING}
        if self._backlog_at is not None and now - self._backlog_at < _SETTLED_MS:
            return {"state": State.CATCHING_UP, "share": self._share, "as_of": self._newest} | self._left(now)
        self._began = None
        return {"state": State.LIVE if ready else State.INCOMPLETE}

    def _left(self, now: int) -> dict[str, Any]:
        if self._began is None:
            return {}
        at, share = self._began
        gained = self._share - share
        return {"seconds_left": round((now - at) / 1000 / gained * (1 - self._share))} if gained > 0 else {}
