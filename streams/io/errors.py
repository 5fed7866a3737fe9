"""What can stop a replay; the messages are for the person who started it."""

from __future__ import annotations


class ReplayError(Exception):
    """A replay cannot start or go on; the message says why and what to do."""


class TruncatedError(ReplayError):
    """A part of the input is missing: a cut file, a deleted start of a topic, a gap left by compaction."""
