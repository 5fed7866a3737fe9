"""A source: one YAML file that says where live records come from and how they become events.

It has a mapping's views and events (:mod:`salesgauge.schemas.sources.mapping`), but its tables are filled by a
*reader*, batch by batch, instead of from files. ``use`` names a shipped source whose settings stand unless the file
gives its own. See docs/ingest.md.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from salesgauge.schemas.sources.mapping import STRICT, ConvertError, EventSpec, Queries, explain_problems, read_yaml

_SHIPPED = Path(__file__).parent / "shipped"
_COMMON = "_crm"
"""What the shipped sources of CRMs share."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")

Scheme = Literal[
    "hubspot", "standard", "calendly", "stripe", "close", "twenty", "frappe", "typeform", "intercom", "twilio",
    "basic", "header", "query", "body", "hmac", "none",
]  # fmt: skip
"""How requests are signed; ``header``, ``query`` and ``body`` compare the secret itself, ``hmac`` is configurable."""

_ADDRESSED = frozenset({"hubspot", "twilio"})
"""Schemes that sign the address, which is the public one."""


class SecretRef(BaseModel):
    """Where a secret is: in a variable or in a file. It never stands in the source's file."""

    model_config = STRICT
    env: str | None = None
    file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _not_plain(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError("name where the secret is, {env: VARIABLE} or {file: PATH}, not the secret itself")  # noqa: TRY004
        return value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("give one of env and file")
        return self


class Hook(BaseModel):
    """``POST /hooks/NAME``: how its requests are proven."""

    model_config = STRICT
    signature: Scheme
    secret: Annotated[tuple[SecretRef, ...], Field(max_length=4)] = ()
    """One, or the new and the old one while a secret is replaced."""
    url: str | None = None
    """The public address that the sender calls, where the scheme signs it."""
    header: str = "X-Webhook-Signature"
    """``header`` and ``hmac``: which header."""
    field: str = "token"
    """``query`` and ``body``: which parameter or field."""
    digest: Literal["sha1", "sha256", "sha512"] = "sha256"
    """``hmac``: of which hash."""

    @field_validator("secret", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else (value,)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.signature != "none" and not self.secret:
            raise ValueError(f"signature {self.signature} needs a secret: {{env: VARIABLE}} or {{file: PATH}}")
        if self.signature in _ADDRESSED and not self.url:
            raise ValueError(f"signature {self.signature} needs url, the public address that the sender calls")
        return self


Envelope = Literal["json", "debezium", "connect", "cloudevents", "rows"]
"""What a topic's records look like; see :mod:`salesgauge.schemas.sources.envelopes`."""


class Topics(BaseModel):
    """Topics of Kafka that others fill."""

    model_config = STRICT
    names: Annotated[tuple[str, ...], Field(min_length=1)]
    envelope: Envelope = "json"
    registry: str | None = None
    """Address of the schema registry, such as ``http://registry:8081``, where records are framed by it."""

    @field_validator("names", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class Poll(BaseModel):
    """The source's API: what webhooks do not send, or lose, is fetched."""

    model_config = STRICT
    secret: Annotated[tuple[SecretRef, ...], Field(min_length=1, max_length=2)]
    """HubSpot: a service key or a private app's token. Pipedrive: an API token. Salesforce: the id and the secret of a
    connected app with client credentials."""
    base: str | None = None
    """Address of the API; by default the maker's. Salesforce: ``https://acme.my.salesforce.com``."""
    every: Annotated[float, Field(gt=0)] = 300.0
    """Seconds between sweeps."""
    lookback: Annotated[float, Field(ge=0)] = 900.0
    """Seconds that a sweep looks back before the last one, as systems show changes late."""
    start: str | None = None
    """How far back the first sweep goes, such as 2025-01-01; everything by default."""
    objects: tuple[str, ...] | None = None
    """Which kinds of objects; all that the reader knows by default."""

    @field_validator("secret", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else (value,)


class Source(Queries):
    """A whole source."""

    name: str = ""
    revision: Annotated[int, Field(ge=0, le=1000)] = 0
    """Raise it when the file was mended and its events are made again (``--from``): then they replace the former."""
    reader: str = "records"
    """What fills the tables: ``records`` (any JSON), or the name of a system with a reader of its own."""
    key: str | None = None
    """``records``: JSON path of an object's id. Then the last state of each object is remembered, and a record that
    has some of its fields only is completed by it."""
    each: str | None = None
    """``records``: JSON path of a list in the body whose members are the records."""
    properties: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Fields to remember beside those that the reader needs, by kind of object."""
    hook: Hook | None = None
    topics: Topics | None = None
    poll: Poll | None = None
    ignore: str | None = None
    """``records``: an SQL condition on records that are rightly no event, so that they are not counted as unmapped."""

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if value and not _NAME.fullmatch(value):
            raise ValueError(f"'{value}' cannot name a source; use small letters, digits and '-'")
        return value


def shipped_sources() -> list[str]:
    """Names of the sources that come with the package."""
    names = (entry.name for entry in _SHIPPED.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml") and name[0] != "_")


def shipped_source(name: str) -> Source:
    """A shipped source.

    Raises:
        ConvertError: there is none of this name.
    """
    return parse_source({"use": name, "name": name}, where=name)


def load_source(path: Path) -> Source:
    """Read and check a source's file; its name is the file's, unless it says another.

    Raises:
        ConvertError: it cannot be read, is not YAML, or a key is wrong, missing or unknown (and named).
    """
    content = read_yaml(path)
    if isinstance(content, dict):
        content = {"name": path.stem.lower(), **content}
    return parse_source(content, where=str(path))


def parse_source(content: object, *, where: str) -> Source:
    """Check the content of a source's file; ``where`` names it in errors.

    Raises:
        ConvertError: see :func:`load_source`.
    """
    if not isinstance(content, dict):
        raise ConvertError(f"{where}: must be a YAML mapping; `salesgauge ingest init` writes one")
    try:
        return Source.model_validate(_completed(content, where))
    except ValidationError as error:
        lines = explain_problems(error, Source, {"hook": Hook, "topics": Topics, "poll": Poll, "events": EventSpec})
        raise ConvertError("\n".join(f"{where}: {line}" for line in lines)) from error


def _completed(content: dict[str, Any], where: str) -> dict[str, Any]:
    """The content on top of the shipped source that it uses."""
    own = dict(content)
    used = own.pop("use", None)
    if used is None:
        return own
    if used != _COMMON and used not in shipped_sources():
        raise ConvertError(f"{where}: use: no source '{used}' is shipped; there are {', '.join(shipped_sources())}")
    found = read_yaml(_SHIPPED / f"{used}.yaml")
    assert isinstance(found, dict)
    base = _completed(found, where)
    if "hook" not in own:  # the shipped one says how requests are signed, not by which secret
        base.pop("hook", None)
    merged = {**base, **own}
    for part in ("views", "hook", "properties"):
        if isinstance(base.get(part), dict) and isinstance(own.get(part), dict):
            merged[part] = base[part] | own[part]
    if isinstance(own.get("events"), list):
        kinds = {event.get("event") for event in own["events"] if isinstance(event, dict)}
        kept = [event for event in base["events"] if event["event"] not in kinds]
        merged["events"] = kept + own["events"]
    return merged
