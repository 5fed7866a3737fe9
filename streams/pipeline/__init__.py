"""The delivery path: batches of a partition through Faust, state acknowledged before offsets.

* :mod:`streams.pipeline.processor` is the contract with the engine, free of any Kafka client.
* :mod:`streams.pipeline.transport` holds the subclasses of Faust's transport.
* :mod:`streams.pipeline.changelog` reads and writes the entity table.
* :mod:`streams.pipeline.app` composes the Faust app, its agent and the publication.
"""

from __future__ import annotations

from streams.pipeline.processor import Output, Processor, Publication, Record, Send

__all__ = ["Output", "Processor", "Publication", "Record", "Send"]
