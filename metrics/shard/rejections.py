"""Why what is a valid event could not count: the same reasons and texts live, in replays and in the library."""

from __future__ import annotations

from salesgauge.schemas.codec import Reason, Rejection


def entity_full(max_facts: int) -> Rejection:
    """The entity remembers as many facts as it may."""
    return Rejection(Reason.ENTITY_FULL, f"the entity holds {max_facts:,} facts, the most that rules.max_facts allows")


def not_computed(error: Exception) -> Rejection:
    """What the entity adds could not be computed; nothing of the event was applied."""
    return Rejection(Reason.PROCESSING_FAILED, f"{type(error).__name__}: {error}")
