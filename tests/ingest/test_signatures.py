"""Signatures: the makers' own vectors, forgeries, windows of time and secrets that are replaced."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest

from salesgauge.schemas.sources.source import Hook
from salesgauge.streams.ingest.signatures import SignedRequest, refusal
from tests.support.shared import require_shared

HUBSPOT = b"yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
URL = "https://www.example.com/webhook_uri"
BODY = b'{"event":"invitee.created","id":"7"}'
KEY = b"salesgauge-test"
AT = 1_790_000_000


def hook(signature: str, **fields: Any) -> Hook:
    return Hook.model_validate({"signature": signature, "secret": {"env": "X"}, "url": URL, **fields})


def request(body: bytes = BODY, url: str = URL, **headers: str) -> SignedRequest:
    return SignedRequest("POST", url, {name.replace("_", "-"): value for name, value in headers.items()}, body)


VECTORS = {
    "hubspot v3": (
        hook("hubspot"), HUBSPOT, 1_693_657_560,
        request(b"{'example_field':'example_value'}", x_hubspot_request_timestamp="1693657560000",
                x_hubspot_signature_v3="K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="),
    ),
    "hubspot v2": (
        hook("hubspot"), HUBSPOT, AT,
        request(b'{"example_field":"example_value"}', x_hubspot_signature_version="v2",
                x_hubspot_signature="9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900"),
    ),
    "calendly": (
        hook("calendly"), KEY, AT,
        request(calendly_webhook_signature=f"t={AT},v1=aaaedb7e45e8ef02ca10dc0883de78cc1f6985356e53c670a43578313c1c52ba"),
    ),
    "stripe": (
        hook("stripe"), KEY, AT,
        request(stripe_signature=f"t={AT},v1={'0' * 64},"
                "v1=aaaedb7e45e8ef02ca10dc0883de78cc1f6985356e53c670a43578313c1c52ba,v0=x"),
    ),
    "close": (
        hook("close"), b"ab" * 32, AT,
        request(close_sig_timestamp=str(AT),
                close_sig_hash="65b60981c4be5d2d5684863678d7901c3686b99db2cd22349c3b9fa37bf91bff"),
    ),
    "standard": (
        hook("standard"), b"whsec_c2FsZXNnYXVnZS10ZXN0LWtleS0yNGJ5", AT,
        request(webhook_id="msg_1", webhook_timestamp=str(AT),
                webhook_signature="v1,AAAA v1,gF7RnjvJDOo9Z1fqMPmh9Nwlx9/vtwxCscJwGLe/1oY="),
    ),
    "svix": (
        hook("standard"), b"c2FsZXNnYXVnZS10ZXN0LWtleS0yNGJ5", AT,
        request(svix_id="msg_1", svix_timestamp=str(AT),
                svix_signature="v1,gF7RnjvJDOo9Z1fqMPmh9Nwlx9/vtwxCscJwGLe/1oY="),
    ),
    "twenty": (
        hook("twenty"), KEY, AT,
        request(x_twenty_webhook_timestamp=f"{AT}000",
                x_twenty_webhook_signature=hmac.new(KEY, f"{AT}000:".encode() + BODY, "sha256").hexdigest()),
    ),
    "frappe": (
        hook("frappe"), KEY, AT,
        request(x_frappe_webhook_signature=base64.b64encode(hmac.digest(KEY, BODY, "sha256")).decode()),
    ),
    "typeform": (
        hook("typeform"), KEY, AT,
        request(typeform_signature="sha256=" + base64.b64encode(hmac.digest(KEY, BODY, "sha256")).decode()),
    ),
    "intercom": (
        hook("intercom"), KEY, AT, request(x_hub_signature="sha1=" + hmac.new(KEY, BODY, "sha1").hexdigest()),
    ),
    "twilio": (  # the example of Twilio's documentation
        hook("twilio"), b"12345", AT,
        request(b"Digits=1234&To=%2B18005551212&From=%2B14158675310&Caller=%2B14158675310&CallSid=CA1234567890ABCDE",
                url="https://example.com/myapp.php?foo=1&bar=2",
                x_twilio_signature="L/OH5YylLD5NRKLltdqwSvS0BnU="),
    ),
    "basic": (hook("basic"), b"anna:geheim", AT, request(authorization="Basic YW5uYTpnZWhlaW0=")),
    "header": (hook("header", header="X-Token"), KEY, AT, request(x_token="salesgauge-test")),
    "bearer": (hook("header", header="Authorization"), KEY, AT, request(authorization="Bearer salesgauge-test")),
    "query": (hook("query", field="key"), KEY, AT, request(url=f"{URL}?key=salesgauge-test")),
    "body": (hook("body"), KEY, AT, request(b'{"token": "salesgauge-test"}')),
    "hmac": (
        hook("hmac", header="X-Sig", digest="sha512"), KEY, AT,
        request(x_sig=hmac.new(KEY, BODY, "sha512").hexdigest()),
    ),
    "hmac with its name": (
        hook("hmac", header="X-Sig"), KEY, AT,
        request(x_sig="sha256=" + base64.b64encode(hmac.digest(KEY, BODY, "sha256")).decode()),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_a_genuine_request_is_believed(name: str) -> None:
    scheme, secret, now, genuine = VECTORS[name]
    assert refusal(genuine, scheme, [secret], now) is None


@pytest.mark.parametrize("name", VECTORS)
def test_the_old_secret_is_valid_beside_the_new_one(name: str) -> None:
    scheme, secret, now, genuine = VECTORS[name]
    assert refusal(genuine, scheme, [b"c2FsZXNnYXVnZS1hbm90aGVyLW9uZSEh", secret], now) is None
    assert refusal(genuine, scheme, [b"c2FsZXNnYXVnZS1hbm90aGVyLW9uZSEh"], now) is not None


SIGNS_NO_BODY = {"basic", "header", "bearer", "query", "body"}


@pytest.mark.parametrize("name", sorted(VECTORS.keys() - SIGNS_NO_BODY))
def test_a_changed_body_is_refused(name: str) -> None:
    scheme, secret, now, genuine = VECTORS[name]
    forged = SignedRequest(genuine.method, genuine.url, genuine.headers, genuine.body + b"1")
    assert refusal(forged, scheme, [secret], now) == "wrong signature"


@pytest.mark.parametrize("name", VECTORS)
def test_without_a_signature_nothing_is_believed(name: str) -> None:
    scheme, secret, now, genuine = VECTORS[name]
    bare = SignedRequest("POST", URL, {}, b'{"a": 1}')
    assert genuine.body != bare.body
    assert refusal(bare, scheme, [secret], now) == "unsigned"
    assert refusal(bare, scheme, [], now) == "unsigned"


@pytest.mark.parametrize("name", ["hubspot v3", "calendly", "stripe", "close", "standard", "svix", "twenty"])
def test_signed_times_have_a_window(name: str) -> None:
    scheme, secret, now, genuine = VECTORS[name]
    assert refusal(genuine, scheme, [secret], now + 299) is None
    assert refusal(genuine, scheme, [secret], now + 301) == "stale"
    assert refusal(genuine, scheme, [secret], now - 299) is None
    assert refusal(genuine, scheme, [secret], now - 301) == "from the future"


def test_hubspot_signs_its_address_partly_unescaped() -> None:
    called, signed = f"{URL}?a=%2Fb%20c%40d&e=%26", f"{URL}?a=/b%20c@d&e=%26"
    digest = hmac.digest(HUBSPOT, f"POST{signed}".encode() + BODY + b"1790000000000", "sha256")
    given = request(
        url=called,
        x_hubspot_request_timestamp="1790000000000",
        x_hubspot_signature_v3=base64.b64encode(digest).decode(),
    )
    assert refusal(given, hook("hubspot"), [HUBSPOT], AT) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"calendly_webhook_signature": "t=,v1=x"},
        {"calendly_webhook_signature": ",,="},
        {"calendly_webhook_signature": "ü"},
        {"calendly_webhook_signature": "t=1e3,v1=" + hmac.new(KEY, b"1e3." + BODY, "sha256").hexdigest()},
    ],
)
def test_odd_signatures_are_refused_not_raised(headers: dict[str, str]) -> None:
    assert refusal(request(BODY, URL, **headers), hook("calendly"), [KEY], AT) is not None


def test_the_vector_of_the_first_version_from_the_documentation() -> None:
    vector = json.loads(require_shared("payloads", "hubspot_signature_vectors.json").read_text())["v1"]
    given = request(vector["request_body"].encode(), x_hubspot_signature=vector["expected_sha256_hex"])
    assert refusal(given, hook("hubspot"), [vector["client_secret"].encode()], AT) is None
