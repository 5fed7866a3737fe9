"""The delivery path: batches of a partition through Faust, state acknowledged before offsets.

* :mod:`streams.delivery.processor` is the contract with the engine, free of any Kafka client.
* :mod:`streams.delivery.transport` holds the subclasses of Faust's transport.
* :mod:`streams.delivery.changelog` reads and writes the entity table.
* :mod:`streams.delivery.app` composes the Faust app, its agent and the publication.
"""

from __future__ import annotations

from streams.delivery.processor import Output, Processor, Publication, Record, Send

__all__ = ["Output", "Processor", "Publication", "Record", "Send"]
