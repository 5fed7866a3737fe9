"""docs/operations.md is current: every setting with its default, every reason, every topic."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING, get_args

import pytest
from pydantic import BaseModel

from salesgauge.schemas.codec import Reason
from salesgauge.streams.settings.model import Settings, load, origins
from tests.support.kafka import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

GUIDE = (ROOT / "docs" / "operations.md").read_text()
TABLE = dict(re.findall(r"^\| `([a-z_.]+)` \|\s*([^|]*?)\s*\|", GUIDE, re.MULTILINE))
IN_WORDS = {"rules.commission_tiers", "rules.calendar.holidays"}


def paths(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """The dotted path of every field; of a group that may be absent itself, too."""
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        group = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if group is None or field.default is None:
            yield f"{above}{name}"
        if group is not None:
            yield from paths(group, f"{above}{name}.")


def test_every_setting_is_in_the_table():
    entries = ("rules.rates.", "rules.commission_tiers.", "rules.team_calendars.")
    known = {path for path in paths(Settings) if not path.startswith(entries)}
    assert known - TABLE.keys() == set()


def test_every_default_is_right():
    for path, value, _ in origins(load()):
        if path not in IN_WORDS:
            assert TABLE[path] in {f"`{value}`", value}, path


def test_nothing_in_the_table_is_no_setting():
    known = set(paths(Settings)) | {one.path for one in origins(load())}
    assert {path for path in TABLE if "." in path and path.split(".")[0] in Settings.model_fields} - known == set()


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_of_a_dead_letter_is_explained(reason):
    assert f"`{reason.value}`" in GUIDE


def test_what_programs_say_is_quoted_as_they_say_it():
    """The messages in the table of failures are those in the source; one is the operating system's."""
    table = GUIDE.partition("## When something fails")[2]
    shown = re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
    quoted = {quote.removesuffix(" …") for one in shown for quote in re.findall("`([^`]* [^`]*)`", one)}
    source = "\n".join(path.read_text() for path in (ROOT / "streams").rglob("*.py"))
    absent = {text for text in quoted if any(part not in source for part in text.split("…"))}
    assert absent == {os.strerror(errno.ENOSPC)}
    assert len(quoted) > 8


def test_every_topic_is_named():
    settings = load()
    for topic in (settings.dead_letter_topic, settings.control_topic):
        assert f"`{topic}`" in GUIDE
    for topic in (settings.windows_topic, settings.rekey_topic):
        assert f"`{topic.replace('v1', 'vN')}`" in GUIDE
