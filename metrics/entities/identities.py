"""Identities: which keys of leads and accounts are one lead or account, by the merges that are known.

Merges are few, so every shard knows all of them: it reads the identity log whole, and the survivor of a key is a pure
function of the set of merges (docs/identity.md). Times at which merges occurred play no part.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from salesgauge.metrics.entities.facts import Merge


class Survivors(Protocol):
    """Says where an address lives on: in itself, unless it was merged."""

    def __call__(self, address: str, /) -> str:
        """The address of the survivor."""


def itself(address: str, /) -> str:
    """Where nothing was ever merged."""
    return address


class Identities:
    """The standing merges, and the survivor of each key."""

    def __init__(self) -> None:
        self._merges: dict[tuple[str, int], Merge] = {}
        self._survivor: dict[str, str] = {}

    def __call__(self, address: str, /) -> str:
        """The address in which an address lives on."""
        return self._survivor.get(address, address)

    @property
    def merges(self) -> list[Merge]:
        """The version of each merge that was recorded last."""
        return list(self._merges.values())

    def frozen(self) -> Survivors:
        """The survivors as they are now, whatever is learnt later."""
        survivor = self._survivor

        def who(address: str, /) -> str:
            return survivor.get(address, address)

        return who

    def __len__(self) -> int:
        return len(self._merges)

    def learn(self, merges: Iterable[Merge]) -> set[str]:
        """Take merges, known ones included.

        Returns:
            The addresses whose survivor changed, and those that a new merge names: a new owner, who learns all merges
            at once, must also say what one that was taken back had led to.
        """
        named: set[str] = set()
        for merge in merges:
            name = (merge.about, merge.id)
            known = self._merges.get(name)
            if known is None or merge.version > known.version:
                self._merges[name] = merge
                named |= {merge.about, merge.survivor}
        if not named:
            return named
        before, self._survivor = self._survivor, survivors(self._merges.values())
        addresses = before.keys() | self._survivor.keys()
        return named | {address for address in addresses if before.get(address, address) != self(address)}


def survivors(merges: Iterable[Merge]) -> dict[str, str]:
    """The survivor of each address that the standing merges name.

    Connected addresses are one identity. It lives on in an address that was never merged away; of several, in the one
    named by the merge recorded last. Where all were merged away, in a circle, it is the survivor of that merge. A merge
    into itself takes an earlier version of itself back.
    """
    standing = [merge for merge in merges if merge.about != merge.survivor]
    root: dict[str, str] = {}
    for merge in standing:
        root[_root(root, merge.about)] = _root(root, merge.survivor)
    losers = {merge.about for merge in standing}
    best: dict[str, tuple[bool, tuple[int, bytes], str]] = {}
    for merge in standing:
        candidate = (merge.survivor not in losers, merge.version, merge.survivor)
        identity = _root(root, merge.about)
        if identity not in best or candidate > best[identity]:
            best[identity] = candidate
    return {address: best[_root(root, address)][2] for address in root}


def _root(root: dict[str, str], address: str) -> str:
    """The representative of a set of connected addresses; paths are halved on the way."""
    while (parent := root.setdefault(address, address)) != address:
        root[address] = root[parent]
        address = parent
    return address
