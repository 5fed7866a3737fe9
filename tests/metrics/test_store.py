"""A store of panes is a dictionary of dictionaries, whatever of it is packed."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesgauge.metrics.shard import pane_store as store
from salesgauge.metrics.shard.pane_store import PaneStore

STEPS = st.tuples(st.sampled_from(["add", "put", "pop", "empty", "trim"]), st.integers(0, 12), st.integers(1, 2**70))


@pytest.fixture(autouse=True, scope="module")
def two_are_open():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_OPEN", 2)
        yield


@given(st.lists(STEPS, max_size=60))
def test_it_is_a_dictionary_of_dictionaries(steps: list[tuple[str, int, int]]) -> None:
    panes, model = PaneStore(), dict[int, dict[int, int]]()
    for what, index, amount in steps:
        cell = amount % 7
        if what == "add":
            panes.open(index)[cell] = model.setdefault(index, {})[cell] = amount % 2**62
        elif what == "put":
            panes.put(index, {cell: 1})
            model[index] = {cell: 1}
        elif what == "pop":
            assert panes.pop(index) == model.pop(index, {})
        elif what == "empty":
            panes.open(index).clear()
            panes.drop_empty(index)
            model.pop(index, None)
        else:
            panes.trim()
        assert dict(panes.items()) == model
        assert sorted(panes) == sorted(model)
        assert len(panes) == len(model)
        assert (index in panes) == (index in model)
        assert panes.read(index) == model.get(index, {})


def test_panes_at_rest_take_a_tenth() -> None:
    panes = PaneStore()
    for index in range(20):
        panes.put(index, {cell * 1_000_003: 300 + cell for cell in range(2000)})
    cells = panes.read(0)
    spent = sys.getsizeof(cells) + sum(sys.getsizeof(cell) + sys.getsizeof(n) for cell, n in cells.items())
    panes.trim()
    assert len(panes._open) == 2
    assert len(panes._packed[0]) < spent / 8
