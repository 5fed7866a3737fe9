"""The envelope that all events share, and the register of their kinds.

Every event says what happened (past tense), to whom (its key) and when (``occurred_at``). Field values are
facts as the source system knows them; no KPI is computed here. Unknown extra fields are ignored, so that a
producer may send more than this version reads.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, model_validator

from salesgauge.schemas.values import Identifier, Name, Time, Whole

SCHEMA_VERSION = 1
TOPIC_PREFIX = "crm."

Stage = Literal["subscriber", "lead", "mql", "sql", "opportunity", "customer", "evangelist", "disqualified"]
STAGES: tuple[Stage, ...] = get_args(Stage)

DECLARED: dict[str, type[EventBase]] = {}
"""Event name -> model: every class that is derived from :class:`EventBase` and has a name."""


class EventBase(BaseModel):
    """The envelope that all events share.

    ``event_id`` identifies the event for ever: the same id again is a repetition and changes nothing.
    ``recorded_at`` is the instant at which the source system learnt the fact (default: ``occurred_at``);
    of two versions of one fact the one recorded last holds.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    KEY_FIELDS: ClassVar[tuple[str, ...]] = ()

    event_id: Identifier
    occurred_at: Time
    schema_version: Annotated[int, Whole(1, SCHEMA_VERSION)] = SCHEMA_VERSION
    source_system: Name | None = None
    recorded_at: Time | None = None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Register a kind of event.

        Raises:
            TypeError: its name is taken, or it does not say what its key is.
        """
        super().__pydantic_init_subclass__(**kwargs)
        named = cls.model_fields.get("event")
        if named is None:
            return
        if named.default in DECLARED:
            raise TypeError(f"there are two kinds of event named {named.default}")
        if not cls.KEY_FIELDS:
            raise TypeError(f"{cls.__name__} must name its key in KEY_FIELDS")
        DECLARED[named.default] = cls

    @property
    def name(self) -> str:
        """The event's name, for example ``lead_created``."""
        return str(self.event)  # type: ignore[attr-defined]

    @property
    def key(self) -> str:
        """The Kafka message key: the identity of the entity that the event is about."""
        for field in self.KEY_FIELDS:
            value = getattr(self, field)
            if value:
                return str(value)
        raise AssertionError(f"{self.name} without a key")  # excluded by validation

    @property
    def topic(self) -> str:
        """The Kafka topic of this kind of event."""
        return topic_of(self.name)


def topic_of(event: str) -> str:
    """``lead_created`` -> ``crm.lead-created``."""
    return TOPIC_PREFIX + event.replace("_", "-")


class LeadEvent(EventBase):
    """An event about a lead."""

    KEY_FIELDS = ("lead_id",)
    lead_id: Identifier


class DealEvent(EventBase):
    """An event about a deal, which is an entity of its own: lead, account and owner are its attributes."""

    KEY_FIELDS = ("deal_id",)
    deal_id: Identifier


class AccountEvent(EventBase):
    """An event about an account."""

    KEY_FIELDS = ("account_id",)
    account_id: Identifier


class RepEvent(EventBase):
    """An event about a rep."""

    KEY_FIELDS = ("rep_id",)
    rep_id: Identifier


class LeadOrAccountEvent(EventBase):
    """An event about a lead or, where it names none, about an account."""

    KEY_FIELDS = ("lead_id", "account_id")
    lead_id: Name | None = None
    account_id: Name | None = None

    @model_validator(mode="after")
    def _has_a_key(self) -> Self:
        if not self.lead_id and not self.account_id:
            raise ValueError("lead_id or account_id is required")
        return self
