"""What was refused: counted by reason and, where a file is given, listed in it.

Every command lists it in the same form, one JSON object a line:

``origin``
    the file; ``topic/partition``; of a conversion the query of the mapping; ``entities`` of what was sound, but could
    not be computed.
``position``
    the line of a text file, the row of a table, the offset in a partition; null where there is none.
``event``, ``event_id``
    what the record itself says of them; null where it says nothing.
``reason``, ``detail``
    why, as a word to count by and as a sentence.
``payload``
    the object; the text of what is no JSON object; null where there is none.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import msgspec

from salesgauge.schemas.codec import Reason
from salesgauge.schemas.values import MAX_EVENT_BYTES
from salesgauge.streams.io.records import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Callable

    from salesgauge.schemas.codec import Rejection
    from salesgauge.streams.io.records import RawRecord

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list; see the module for its fields."""

    origin: str
    position: int | None
    event: str | None
    event_id: str | None
    reason: str
    detail: str
    payload: Any

    def line(self) -> bytes:
        """As JSON, with its newline."""
        return msgspec.json.encode(self) + b"\n"

    def decoded(self) -> Reject:
        """With the payload's object as a dictionary."""
        if not isinstance(self.payload, msgspec.Raw):
            return self
        return msgspec.structs.replace(self, payload=msgspec.json.decode(self.payload))


def reject(record: RawRecord, rejection: Rejection) -> Reject:
    """A record that was refused."""
    said = _said(record.payload)
    return Reject(
        origin=record.origin,
        position=None if record.position == NOWHERE else record.position,
        event=_name(said.get("event")),
        event_id=_name(said.get("event_id")),
        reason=rejection.reason.value,
        detail=rejection.detail,
        payload=_payload(record.payload, is_object=bool(said)),
    )


def _said(content: bytes | None) -> dict[str, msgspec.Raw]:
    """The fields of a JSON object; none where it is something else."""
    try:
        (content or b"").decode()
        return _fields(content or b"{}")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}


def _name(value: msgspec.Raw | None) -> str | None:
    try:
        return None if value is None else _text(value)
    except msgspec.MsgspecError:
        return None


def _payload(content: bytes | None, *, is_object: bool) -> Any:
    """The object on one line, its numbers as they were; or the text, no longer than an event may be."""
    if is_object and content is not None:
        return msgspec.Raw(msgspec.json.format(content, indent=-1))
    return None if content is None else content[:MAX_EVENT_BYTES].decode(errors="backslashreplace")


@dataclass(slots=True)
class Rejects:
    """What was refused so far.

    Attributes:
        file: where it is listed; None only counts.
        reasons: how much, by reason.
        on_reject: is called with each.
    """

    file: IO[bytes] | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    on_reject: Callable[[Reject], None] | None = None

    @property
    def count(self) -> int:
        """All that was refused."""
        return self.reasons.total()

    def add(self, record: RawRecord, rejection: Rejection) -> None:
        """A record is no event, or one that cannot count."""
        self.reasons[rejection.reason.value] += 1
        if self.file is None and self.on_reject is None:
            return
        refused = reject(record, rejection)
        if self.file is not None:
            self.file.write(refused.line())
        if self.on_reject is not None:
            self.on_reject(refused.decoded())

    def verdict(self, read: int) -> str | None:
        """What to say where so much of what was read was refused that the command must not end with 0.

        That is more than half of it, or any amount in a currency without a rate: revenue would be missing.
        """
        if foreign := self.reasons[Reason.UNKNOWN_CURRENCY.value]:
            return (
                f"{foreign:,} of {read:,} records have amounts in a currency without a rate, and count nowhere: set "
                "rules.rates (and rules.currency, the currency of all figures) in the settings"
            )
        if 2 * self.count <= read:
            return None
        return f"{self.count:,} of {read:,} records were rejected, more than half"
