"""Proof that a request comes from the system it says it comes from.

All schemes look at the bytes of the body as they came, compare in constant time, and take several secrets, so that
one can be replaced without a gap. Where a scheme signs the time, a request outside of its window is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, parse_qsl, urlsplit

import msgspec

from salesgauge.schemas.sources.source import Hook

WINDOW_SECONDS = 300
"""How old a signed time may be, and how far ahead of our clock."""

Refusal = Literal["unsigned", "wrong signature", "stale", "from the future", "unreadable signature"]

_HUBSPOT_ESCAPES = {
    escape: chr(int(escape[1:], 16))
    for escape in ("%3A", "%2F", "%3F", "%40", "%21", "%24", "%27", "%28", "%29", "%2A", "%2C", "%3B")
}
_HUBSPOT_ESCAPE = re.compile("|".join(_HUBSPOT_ESCAPES), re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a signature may cover. ``url`` is the address that the sender called; header names are in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """A header's value, empty where there is none."""
        return self.headers.get(name, "")


_Check = Callable[[SignedRequest, bytes, float, Hook], Refusal | None]


def refusal(request: SignedRequest, hook: Hook, secrets: Sequence[bytes], now: float) -> Refusal | None:
    """Why a request is not to be believed, or None if one of the secrets signed it.

    Args:
        request: the request.
        hook: names the scheme, and of the plain ones the header.
        secrets: the valid ones, at least one unless the scheme is ``none``.
        now: seconds since the epoch.
    """
    if hook.signature == "none":
        return None
    check = _SCHEMES[hook.signature]
    reason: Refusal | None = "unsigned"
    for secret in secrets:
        try:
            reason = check(request, secret, now, hook)
        except (ValueError, binascii.Error):
            reason = "unreadable signature"
        if reason is None:
            return None
    return reason


def _same(given: str, expected: str) -> Refusal | None:
    if not given:
        return "unsigned"
    return None if hmac.compare_digest(given.encode(), expected.encode()) else "wrong signature"


def _any_same(given: Sequence[str], expected: str) -> Refusal | None:
    """Whether one of several signatures is the expected one; all are compared."""
    if not given:
        return "unsigned"
    matches = [hmac.compare_digest(one.encode(), expected.encode()) for one in given]
    return None if any(matches) else "wrong signature"


def _aged(text: str, now: float, *, per_second: int = 1) -> Refusal | None:
    age = now - int(text) / per_second
    if age > WINDOW_SECONDS:
        return "stale"
    return "from the future" if age < -WINDOW_SECONDS else None


def _hex(secret: bytes, message: bytes, digest: str = "sha256") -> str:
    return hmac.new(secret, message, digest).hexdigest()


def _base64(secret: bytes, message: bytes, digest: str = "sha256") -> str:
    return base64.b64encode(hmac.digest(secret, message, digest)).decode()


# --- the schemes


def _hubspot(request: SignedRequest, secret: bytes, now: float, hook: Hook) -> Refusal | None:
    """Version 3, or what the version header says; workflows still sign by version 2."""
    del hook
    signature = request.header("x-hubspot-signature-v3")
    if signature:
        at = request.header("x-hubspot-request-timestamp")
        message = (request.method + _hubspot_url(request.url)).encode() + request.body + at.encode()
        return _same(signature, _base64(secret, message)) or _aged(at, now, per_second=1000)
    covered = request.body
    if request.header("x-hubspot-signature-version").lower() == "v2":
        covered = (request.method + request.url).encode() + request.body
    return _same(request.header("x-hubspot-signature"), hashlib.sha256(secret + covered).hexdigest())


def _hubspot_url(url: str) -> str:
    """The address with the escapes undone that HubSpot undoes before it signs."""
    return _HUBSPOT_ESCAPE.sub(lambda found: _HUBSPOT_ESCAPES[found[0].upper()], url)


def _standard(request: SignedRequest, secret: bytes, now: float, hook: Hook) -> Refusal | None:
    """Standard Webhooks; Svix sends the same under names of its own."""
    del hook
    prefix = "webhook" if "webhook-signature" in request.headers else "svix"
    at = request.header(f"{prefix}-timestamp")
    key = base64.b64decode(secret.removeprefix(b"whsec_"), validate=True)
    message = f"{request.header(f'{prefix}-id')}.{at}.".encode() + request.body
    given = [part for part in request.header(f"{prefix}-signature").split() if part.startswith("v1,")]
    return _any_same(given, f"v1,{_base64(key, message)}") or _aged(at, now)


def _timed(name: str) -> _Check:
    """``t=…,v1=…``, as Calendly and Stripe sign."""

    def check(request: SignedRequest, secret: bytes, now: float, hook: Hook) -> Refusal | None:
        del hook
        parts = [part.strip().partition("=") for part in request.header(name).split(",")]
        at = next((value for key, _, value in parts if key == "t"), "")
        given = [value for key, _, value in parts if key == "v1"]
        return _any_same(given, _hex(secret, at.encode() + b"." + request.body)) or _aged(at, now)

    return check


def _close(request: SignedRequest, secret: bytes, now: float, hook: Hook) -> Refusal | None:
    del hook
    at = request.header("close-sig-timestamp")
    expected = _hex(bytes.fromhex(secret.decode()), at.encode() + request.body)
    return _same(request.header("close-sig-hash"), expected) or _aged(at, now)


def _twenty(request: SignedRequest, secret: bytes, now: float, hook: Hook) -> Refusal | None:
    del hook
    at = request.header("x-twenty-webhook-timestamp")
    expected = _hex(secret, at.encode() + b":" + request.body)
    return _same(request.header("x-twenty-webhook-signature"), expected) or _aged(at, now, per_second=1000)


def _frappe(request: SignedRequest, secret: bytes, now: float, hook: Hook) -> Refusal | None:
    del now, hook
    return _same(request.header("x-frappe-webhook-signature"), _base64(secret, request.body))


def _typeform(request: SignedRequest, secret: bytes, now: float, hook: Hook) -> Refusal | None:
    del now, hook
    return _same(request.header("typeform-signature"), f"sha256={_base64(secret, request.body)}")


def _intercom(request: SignedRequest, secret: bytes, now: float, hook: Hook) -> Refusal | None:
    del now, hook
    return _same(request.header("x-hub-signature"), f"sha1={_hex(secret, request.body, 'sha1')}")


def _twilio(request: SignedRequest, secret: bytes, now: float, hook: Hook) -> Refusal | None:
    del now, hook
    form = sorted(parse_qsl(request.body.decode(), keep_blank_values=True))
    message = request.url + "".join(key + value for key, value in form)
    return _same(request.header("x-twilio-signature"), _base64(secret, message.encode(), "sha1"))


def _basic(request: SignedRequest, secret: bytes, now: float, hook: Hook) -> Refusal | None:
    """Basic authentication; the secret is ``user:password``."""
    del now, hook
    return _same(request.header("authorization"), f"Basic {base64.b64encode(secret).decode()}")


def _header(request: SignedRequest, secret: bytes, now: float, hook: Hook) -> Refusal | None:
    """The secret itself in a header."""
    del now
    given = request.header(hook.header.lower())
    return _same(given.removeprefix("Bearer "), secret.decode())


def _query(request: SignedRequest, secret: bytes, now: float, hook: Hook) -> Refusal | None:
    """The secret itself in the address, for senders that cannot do better."""
    del now
    return _same(next(iter(parse_qs(urlsplit(request.url).query).get(hook.field, [])), ""), secret.decode())


def _body(request: SignedRequest, secret: bytes, now: float, hook: Hook) -> Refusal | None:
    """The secret itself in a field of the JSON body."""
    del now
    try:
        content = msgspec.json.decode(request.body)
    except msgspec.DecodeError:
        return "unreadable signature"
    given = content.get(hook.field) if isinstance(content, dict) else None
    return _same(given if isinstance(given, str) else "", secret.decode())


def _hmac(request: SignedRequest, secret: bytes, now: float, hook: Hook) -> Refusal | None:
    """HMAC of the body in a header, in hexadecimal or base64, with or without ``sha256=`` before it."""
    del now
    given = request.header(hook.header.lower())
    digest, separator, value = given.partition("=")
    if separator and digest in ("sha1", "sha256", "sha512") and value:
        given = value
    if not given:
        return "unsigned"
    expected = (_hex(secret, request.body, hook.digest), _base64(secret, request.body, hook.digest))
    matches = [hmac.compare_digest(given.encode(), one.encode()) for one in expected]
    return None if any(matches) else "wrong signature"


_SCHEMES: Mapping[str, _Check] = {
    "hubspot": _hubspot,
    "standard": _standard,
    "calendly": _timed("calendly-webhook-signature"),
    "stripe": _timed("stripe-signature"),
    "close": _close,
    "twenty": _twenty,
    "frappe": _frappe,
    "typeform": _typeform,
    "intercom": _intercom,
    "twilio": _twilio,
    "basic": _basic,
    "header": _header,
    "query": _query,
    "body": _body,
    "hmac": _hmac,
}
