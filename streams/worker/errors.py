"""Why a worker does not start, or must end; the messages are for the person who runs it."""

from __future__ import annotations


class ProduceError(Exception):
    """Records were not acknowledged; the worker must not go on."""


class UntestedFaustError(Exception):
    """This version of Faust was never tested with the subclasses that deliver batches."""
