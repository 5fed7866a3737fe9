"""What looks like a person's address or number does not become a label value."""

from __future__ import annotations

import pytest

from salesgauge.metrics.measures.registry import MEASURES
from salesgauge.metrics.rules.privacy import REDACTED, redacted
from salesgauge.metrics.shard.leaves import CODES, LeafIndex
from salesgauge.metrics.windows.series import SeriesIndex

SOURCES = {"leads_created": ((), ("source",), ("rep",), ("source", "rep"))}


@pytest.mark.parametrize(
    "value",
    [
        "anna@example.org",
        "Anna Muster <anna.muster+crm@mail.example.co.uk>",
        "mailto:anna@example.org",
        "+49 30 1234567",
        "+4915112345678",
        "+1 (555) 010-9999",
        "call +44/20.7946.0958 now",
        "(030) 123 45 67",
    ],
)
def test_addresses_and_numbers_are_hidden(value):
    assert redacted(value) == REDACTED


@pytest.mark.parametrize(
    "value",
    [
        "",
        "newsletter",
        "trade fair 2026-05-01",
        "@handle",
        "a@b",
        "120210000012345678",
        "0000123456",
        "0012345678",
        "SKU-100-2000-3000",
        "GTX Plus+ 5500",
        "C++ 20240101",
        "+5",
        "plan (2024) 1",
        "10.0.0.1",
    ],
)
def test_names_and_ids_are_shown(value):
    assert redacted(value) == value


def lead_labels(source: str, rep: str) -> tuple[str, ...]:
    values = {"source": source, "rep": rep}
    return tuple(values.get(dim, "") for dim in MEASURES["leads_created"].dims)


def shown(index: SeriesIndex) -> set[tuple[str, ...]]:
    return {values for _, _, values in index.series}


def test_hidden_values_are_one_series_and_the_whole_stays_whole():
    leaves = LeafIndex()
    one = leaves.cells[MEASURES["leads_created"]][lead_labels("a@example.org", "rep-1")]
    other = leaves.cells[MEASURES["leads_created"]][lead_labels("b@example.org", "rep-1")]
    assert one == other
    index = SeriesIndex(SOURCES, leaves)
    whole, *_ = index.of_leaf(one // CODES)
    assert shown(index) == {(), (REDACTED,), ("rep-1",), (REDACTED, "rep-1")}
    assert index.series[whole] == ("leads_created", (), ())


def test_several_hidden_values_of_one_thing_count_once():
    leaves = LeafIndex()
    products = ("a@example.org", "b@example.org", "GTX")
    labels = tuple(products if dim == "product" else "" for dim in MEASURES["deals_won"].dims)
    index = SeriesIndex({"deals_won": ((), ("product",))}, leaves)
    numbers = index.of_leaf(leaves.cells[MEASURES["deals_won"]][labels] // CODES)
    assert len(numbers) == len(set(numbers)) == 3
    assert shown(index) == {(), (REDACTED,), ("GTX",)}


def test_a_dimension_can_be_exempted():
    leaves = LeafIndex(unredacted=frozenset({"rep"}))
    index = SeriesIndex(SOURCES, leaves)
    index.of_leaf(leaves.cells[MEASURES["leads_created"]][lead_labels("a@example.org", "anna@example.org")] // CODES)
    assert ("anna@example.org",) in shown(index)
    assert ("a@example.org",) not in shown(index)
