"""The base of all errors that are meant for the person who started something."""

from __future__ import annotations


class SalesgaugeError(Exception):
    """Something is wrong that a person can change; the message says what, and what to do."""


class InputError(SalesgaugeError):
    """A file, a topic, a time or a name that was given cannot be used."""


class TruncatedError(InputError):
    """A part of the input is missing: a cut file, a deleted start of a topic, a gap left by compaction."""


class OutputError(SalesgaugeError):
    """Something cannot be written or delivered."""
