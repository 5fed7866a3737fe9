"""The readers, by name, and the one for any JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from salesgauge.schemas.sources.hubspot import HubSpotReader
from salesgauge.schemas.sources.mapping import ConvertError
from salesgauge.schemas.sources.objects import (
    DELETED,
    FieldValue,
    ObjectChange,
    ObjectReader,
    ObjectState,
    RawRecord,
    Row,
    Told,
    Unusable,
)
from salesgauge.schemas.sources.pipedrive import PipedriveReader
from salesgauge.schemas.sources.salesforce import SalesforceReader
from salesgauge.schemas.sources.source import Source
from salesgauge.schemas.sources.twenty import TwentyReader

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
_RECORDS = {
    "key": "VARCHAR", "value": "JSON", "before": "JSON", "op": "VARCHAR", "source_time": "TIMESTAMPTZ",
    "recorded_at": "TIMESTAMPTZ", "received_at": "TIMESTAMPTZ", "headers": "JSON", "topic": "VARCHAR",
}  # fmt: skip


class RecordsReader:
    """Any JSON: a row per record in the table ``records``, completed by what is remembered where the source has a key.

    ``before`` has the former values of the fields that changed, or what the envelope says the record was.
    """

    tables: Mapping[str, Mapping[str, str]] = {"records": _RECORDS}
    lookups: frozenset[str] = frozenset()

    def __init__(self, source: Source) -> None:
        self._key = source.key
        self._each = source.each

    def tell(self, record: RawRecord) -> Iterable[Told]:
        """A record, or each of its members."""
        values = [record.value] if self._each is None else at_path(record.value, self._each)
        if not isinstance(values, list):
            yield Unusable("unknown shape", f"no list at {self._each}")
            return
        for value in values:
            if self._key is None:
                yield Row("records", _row(record, value))
            else:
                yield self._change(record, value)

    def _change(self, record: RawRecord, value: Any) -> Told:
        gone = record.op == "delete"
        said = record.before if gone and not isinstance(value, dict) else value
        if not isinstance(said, dict):
            number = record.key if gone else None
        else:
            found = at_path(said, self._key or "")
            number = None if found is None else str(found)
        if number is None:
            return Unusable("no id", f"no value at {self._key}")
        at = record.source_time if record.source_time is not None else record.at
        facts = [FieldValue(name, at, one) for name, one in (said or {}).items() if not name.startswith("@")]
        if isinstance(record.before, dict) and not gone:
            facts += [FieldValue(name, at - 1, one) for name, one in record.before.items() if not name.startswith("@")]
        return ObjectChange("record", number, [*facts, FieldValue(DELETED, at, gone)])

    def histories(self, kind: str) -> frozenset[str]:
        """All fields keep their former values: the SQL may ask for any."""
        del kind
        return _AllFields()

    def rows(self, kind: str, number: str, state: ObjectState) -> Iterable[Row]:
        """The record as it is now."""
        del kind
        at = state.latest
        before = {
            name: runs[-2][1]
            for name in state.names()
            if len(runs := state.runs(name)) > 1 and runs[-1][0] == at and not name.startswith("@")
        }
        op = "delete" if state.get(DELETED) else "change"
        times = {"source_time": at, "recorded_at": state.recorded(), "received_at": at}
        yield Row("records", {"key": number, "value": state.values(), "before": before, "op": op, **times})


class _AllFields(frozenset[str]):
    """Contains every name."""

    def __contains__(self, name: object) -> bool:
        return True


def _row(record: RawRecord, value: Any) -> dict[str, Any]:
    return {
        "key": record.key,
        "value": value,
        "before": record.before,
        "op": record.op,
        "source_time": record.source_time,
        "recorded_at": record.source_time,
        "received_at": record.at,
        "headers": dict(record.headers),
        "topic": record.topic,
    }


def at_path(value: Any, path: str) -> Any:
    """What stands at a path such as ``data.items[0].id`` or ``$.id``; None where there is nothing."""
    for name, index in _STEP.findall(path.removeprefix("$")):
        if isinstance(value, dict) and name:
            value = value.get(name)
        elif isinstance(value, list) and index and int(index) < len(value):
            value = value[int(index)]
        else:
            return None
    return value


_READERS: Mapping[str, Any] = {
    "records": RecordsReader,
    "hubspot": HubSpotReader,
    "pipedrive": PipedriveReader,
    "salesforce": SalesforceReader,
    "twenty": TwentyReader,
}


def reader_for(source: Source) -> ObjectReader:
    """The reader of a source.

    Raises:
        ConvertError: there is none of its name.
    """
    if source.reader not in _READERS:
        raise ConvertError(f"{source.name}: reader: no reader '{source.reader}'; there are {', '.join(_READERS)}")
    reader: ObjectReader = _READERS[source.reader](source)
    return reader
