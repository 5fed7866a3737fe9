"""A schema registry, asked once per schema: ``GET /schemas/ids/{id}``, which all of its kind answer."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import msgspec

from salesgauge.schemas.sources.envelopes import RegisteredSchema

_TIMEOUT_SECONDS = 10.0
_LARGEST = 4 * 1024 * 1024


class RegistryUnavailableError(Exception):
    """The registry does not answer: the record is to be read again later."""


class RegistryClient:
    """Looks schemas up by number or GUID and remembers them: they never change."""

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        self._known: dict[int | str, RegisteredSchema] = {}

    def __call__(self, number: int | str) -> RegisteredSchema:
        """The schema.

        Raises:
            LookupError: the registry does not know it.
            RegistryUnavailableError: the registry does not answer.
        """
        known = self._known.get(number)
        if known is None:
            kind = "ids" if isinstance(number, int) else "guids"
            found = self._get(f"/schemas/{kind}/{number}")
            if found.get("references"):
                raise LookupError(f"schema {number} refers to others, which is not supported")
            known = RegisteredSchema(found.get("schemaType", "AVRO"), str(found["schema"]))
            self._known[number] = known
        return known

    def _get(self, path: str) -> dict[str, Any]:
        url = self._address + path
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - an address of the settings
                found = msgspec.json.decode(answer.read(_LARGEST))
        except urllib.error.HTTPError as error:
            if error.code == 404:  # noqa: PLR2004
                raise LookupError(f"{url}: there is no such schema") from error
            raise RegistryUnavailableError(f"{url}: {error.code} {error.reason}") from error
        except (OSError, msgspec.DecodeError) as error:
            raise RegistryUnavailableError(f"{url}: {error}") from error
        if not isinstance(found, dict) or "schema" not in found:
            raise LookupError(f"{url}: the answer holds no schema")
        return found
