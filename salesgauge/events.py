"""The events as models: ``from salesgauge.events import LeadCreated``. What each means is in docs/events.md."""

from salesgauge.schemas.events import *  # noqa: F403 - the room says what is public
from salesgauge.schemas.events import __all__ as __all__  # noqa: PLC0414 - re-exported
