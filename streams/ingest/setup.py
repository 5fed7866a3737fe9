"""What must be there before data can come in: sources, secrets and topics."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from salesgauge.schemas.events import TOPICS
from salesgauge.schemas.sources.source import Source, load_source
from salesgauge.streams.kafka.connection import MAX_MESSAGE_BYTES, BrokerError, admin
from salesgauge.streams.kafka.topics import Topic, ensure
from salesgauge.streams.settings.file import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from salesgauge.schemas.sources.source import SecretRef
    from salesgauge.streams.settings.model import Settings

_DAY_MS = 86_400_000
_SUFFIXES = (".yaml", ".yml")


def read_sources(path: Path | None, names: Sequence[str] = ()) -> list[Source]:
    """The sources of a file or folder, in the order of their names.

    Args:
        path: a source's file, or a folder of them.
        names: take these only; all where it is empty.

    Raises:
        SettingsError: there is no such file or source, or two have one name.
        ConvertError: a file is wrong.
    """
    if path is None:
        raise SettingsError("no source: give --sources, or ingest.sources; `salesgauge ingest init` writes a file")
    if not path.exists():
        raise SettingsError(f"{path}: no such file or folder of sources")
    files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise SettingsError(f"{path} holds no source (*.yaml); `salesgauge ingest init` writes one")
    found: dict[str, Source] = {}
    for file in files:
        source = load_source(file)
        if source.name in found:
            raise SettingsError(f"{file}: another file names its source '{source.name}', too")
        found[source.name] = source
    unknown = sorted(set(names) - found.keys())
    if unknown:
        raise SettingsError(f"no source '{unknown[0]}' in {path}; there are {', '.join(found)}")
    return [source for name, source in sorted(found.items()) if not names or name in names]


def secrets(source: Source, refs: Iterable[SecretRef]) -> list[bytes]:
    """The secrets that are referred to.

    Raises:
        SettingsError: a variable or file is missing or empty.
    """
    found = []
    for ref in refs:
        if ref.env is not None:
            value, where = os.environ.get(ref.env, ""), f"the variable {ref.env}"
        else:
            assert ref.file is not None
            where = str(ref.file)
            try:
                value = ref.file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"source {source.name}: the secret's file cannot be read: {error}") from error
        if not value:
            raise SettingsError(f"source {source.name}: {where} holds no secret")
        found.append(value.encode())
    return found


def topics(settings: Settings, source: Source) -> list[Topic]:
    """A source's own topics: raw records, where it receives or polls, and what is remembered of objects."""
    days = settings.ingest.raw_retention_days
    kept = {
        "cleanup.policy": "delete",
        "retention.ms": str(days * _DAY_MS if days >= 0 else -1),
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
    }
    compacted = {"cleanup.policy": "compact", "max.message.bytes": str(MAX_MESSAGE_BYTES)}
    return [
        Topic(settings.raw_topic(source.name), 1, kept),
        Topic(settings.memory_topic(source.name), 1, compacted),
    ]


def require_topics(settings: Settings, sources: Iterable[Source], *, events: bool) -> None:
    """Refuse to start without the topics that are not ours to create here.

    Raises:
        BrokerError: one is missing, or the broker cannot be reached or refuses.
    """
    with admin(settings.kafka) as client:
        existing = set(client.list_topics())
    missing = sorted(set(TOPICS) - existing) if events else []
    if missing:
        raise BrokerError(f"{len(missing)} topics are missing ({missing[0]} …); run `salesgauge topics create`")
    for source in sources:
        absent = [name for name in (source.topics.names if source.topics else ()) if name not in existing]
        if absent:
            raise BrokerError(f"source {source.name}: there is no topic {absent[0]}")


def create_topics(settings: Settings, sources: Iterable[Source]) -> list[str]:
    """Create the sources' topics that are missing; the names of the new ones.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    return ensure(settings, [topic for source in sources for topic in topics(settings, source)])
