"""The delivery path: batches of a partition through Faust, state acknowledged before offsets.

* :mod:`salesgauge.streams.worker.processor` is the contract with the engine, free of any Kafka client.
* :mod:`salesgauge.streams.worker.transport` holds the subclasses of Faust's transport.
* :mod:`salesgauge.streams.worker.changelog` reads and writes the entity table.
* :mod:`salesgauge.streams.worker.app` composes the Faust app, its agent and the publication.
"""

from __future__ import annotations

from salesgauge.streams.worker.processor import Output, Processor, Publication, Record, Send

__all__ = ["Output", "Processor", "Publication", "Record", "Send"]
