"""What a process logs: its own messages, and of the libraries only what is not normal."""

from __future__ import annotations

import logging
import time


class _Sparse(logging.Filter):
    """Lets a library say the same thing only now and then: with a broker away they repeat it many times a second."""

    def __init__(self, every: float = 30.0) -> None:
        super().__init__()
        self._every = every
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("salesgauge"):
            return True
        what = record.name, str(record.msg)
        now = time.monotonic()
        if now - self._said.get(what, -self._every) < self._every:
            return False
        self._said[what] = now
        return True


def quiet_logs(level: int = logging.WARNING) -> None:
    """Only warnings of the libraries; they log much that is normal."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_Sparse())
    for name in ("faust", "aiokafka", "mode", "asyncio"):
        logging.getLogger(name).setLevel(max(level, logging.ERROR))
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # its errors are raised, and shown by us
