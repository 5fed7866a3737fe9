"""The guides are current: docs/operations.md has every reason and topic, and every setting has a text."""

from __future__ import annotations

import errno
import os
import re

import pytest
from pydantic import BaseModel

from salesgauge.schemas.codec import Reason
from salesgauge.streams.settings.model import load, origins
from salesgauge.streams.settings.reference import settings_reference
from tests.support.kafka import ROOT

GUIDE = (ROOT / "docs" / "operations.md").read_text()


def test_every_setting_is_explained():
    settings = settings_reference()
    paths = [one.path for one in settings]
    assert len(set(paths)) == len(paths) > 60
    known = {path for path, _, _ in origins(load())}
    assert {path for path in paths if not any(k.startswith(path) or path.startswith(k) for k in known)} == set()
    assert {path for path in known if not any(path.startswith(p) for p in paths)} == set()
    assert all(one.text.endswith((".", ")")) for one in settings)


def test_a_setting_is_shown_with_the_default_that_holds():
    shown = {one.path: one.default for one in settings_reference()}
    assert shown["kafka.partitions"] == "8"
    assert shown["rules.response_sla"] == "PT15M"
    assert shown["rules.coarse_retention"] == "P731D"
    assert shown["rules.calendar.weekdays"] == "[0, 1, 2, 3, 4]"
    assert shown["kafka.sasl.mechanism"] == ""


def test_a_setting_without_a_text_is_refused():
    class Half(BaseModel):
        said: int = 1
        """Text."""
        unsaid: int = 2

    with pytest.raises(LookupError, match="setting unsaid has no docstring; write one below the field"):
        settings_reference(Half)


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
    for topic in (settings.windows_topic, settings.rekey_topic, settings.identity_topic):
        assert f"`{topic.replace('v1', 'vN')}`" in GUIDE
