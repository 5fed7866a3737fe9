"""What a poller knows of a system: its objects, how changes are asked for, and how objects come in full."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from salesgauge.schemas.sources.source import Source
from salesgauge.streams.ingest.polling.api import Api

Bodies = list[dict[str, Any]]
"""Raw records as the system's reader knows them."""


class System(Protocol):
    """A system that can be polled. Instants are in ms since the epoch."""

    objects: Sequence[str]
    """The kinds of objects whose changes can be asked for."""

    def __init__(self, source: Source, secrets: Sequence[bytes]) -> None:
        """Keep what is needed for requests."""

    async def sign_in(self, api: Api) -> str:
        """Make the requests authorised; which account it is, in a few words.

        Raises:
            ForbiddenError: the credentials are refused.
        """

    async def lookups(self, api: Api) -> Bodies:
        """What other objects refer to: stages, owners."""

    def changed(self, api: Api, kind: str, since: int, until: int) -> AsyncIterator[Bodies]:
        """All objects of a kind that changed at or after ``since`` and before ``until``, page by page."""

    def deleted(self, api: Api, kind: str, since: int) -> AsyncIterator[Bodies]:
        """The objects of a kind that were deleted at or after ``since``, where the system tells."""

    async def fetch(self, api: Api, kind: str, numbers: Sequence[str]) -> Bodies:
        """Objects by their ids, in full."""

    def lacking(self, body: Any) -> list[tuple[str, str]]:
        """The objects (kind, id) of which a webhook's body says less than the API does."""
