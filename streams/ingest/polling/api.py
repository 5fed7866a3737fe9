"""Requests to a source's API: authorised, spaced, repeated where that helps, and counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec

_ATTEMPTS = 6
_TIMEOUT_SECONDS = 60.0
_LONGEST_WAIT = 300.0
_AGAIN = frozenset({429, 500, 502, 503, 504})
_REFUSED = frozenset({401, 403})


class ApiError(Exception):
    """The API does not answer as it should; the message says what was asked and what came."""


class ForbiddenError(ApiError):
    """The credentials are wrong, or lack a permission."""


@dataclass(slots=True)
class Api:
    """An API under one address. Requests go out one at a time, ``interval`` seconds apart at least."""

    session: aiohttp.ClientSession
    base: str
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    interval: float = 0.0
    count: Callable[[str], None] = lambda _: None
    """Is told the outcome of each request: ok, limited, failed or refused."""
    _next: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The JSON at a path.

        Raises:
            ApiError: it does not come, even after several attempts.
        """
        return await self._request("GET", path, params=dict(query or {}))

    async def post(self, path: str, body: Any = None, *, form: Mapping[str, str] | None = None) -> Any:
        """The JSON that a posted body, or form, is answered with.

        Raises:
            ApiError: it does not come, even after several attempts.
        """
        if form is not None:
            return await self._request("POST", path, data=dict(form))
        return await self._request("POST", path, data=msgspec.json.encode(body))

    async def _request(self, method: str, path: str, **options: Any) -> Any:
        said = ""
        for attempt in range(_ATTEMPTS):
            async with self._lock:
                wait = self._next - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                self._next = time.monotonic() + self.interval
                status, said, again, body = await self._once(method, path, options)
                if again is not None:  # nobody else asks meanwhile: the limit is the account's
                    self._next = time.monotonic() + again
            if body is not None:
                return body
            if status in _REFUSED:
                self.count("refused")
                raise ForbiddenError(f"{method} {path}: {status}: {said[:300]}")
            if status not in _AGAIN and status != 0:
                self.count("failed")
                raise ApiError(f"{method} {path}: {status}: {said[:300]}")
            self.count("limited" if status == 429 else "failed")  # noqa: PLR2004 - too many requests
            if again is None:
                await asyncio.sleep(min(2.0**attempt, 30.0))
        raise ApiError(f"{method} {path}: no answer after {_ATTEMPTS} attempts: {said[:300]}")

    async def _once(self, method: str, path: str, options: dict[str, Any]) -> tuple[int, str, float | None, Any]:
        """Status (0 where nothing came), what was said, for how long to wait, and the body where all is well."""
        url = path if path.startswith("http") else self.base + path
        headers = dict(self.headers)
        if isinstance(options.get("data"), bytes):
            headers["Content-Type"] = "application/json"
        try:
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
            async with self.session.request(method, url, headers=headers, timeout=timeout, **options) as answer:
                data = await answer.read()
                if answer.status < 300:  # noqa: PLR2004 - success
                    self.count("ok")
                    return answer.status, "", None, msgspec.json.decode(data or b"{}")
                again = _retry_after(answer.headers.get("Retry-After"))
                return answer.status, data.decode(errors="replace"), again, None
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            return 0, f"{type(error).__name__}: {error}", None, None


def _retry_after(text: str | None) -> float | None:
    """Seconds to wait, from seconds or a date."""
    if text is None:
        return None
    try:
        return min(max(float(text), 0.0), _LONGEST_WAIT)
    except ValueError:
        pass
    try:
        return min(max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0), _LONGEST_WAIT)
    except (ValueError, TypeError):
        return None
