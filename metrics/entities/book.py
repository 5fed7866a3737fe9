"""The book of an entity: what it adds to the measures, in chapters that are written anew only where they change.

A chapter is a *pure function* of its subject: the few facts and values that it is about. Most facts leave most subjects
as they were (a tenth call moves no first response), so comparing subjects saves computing, adding up and comparing
contributions. Because chapters are pure, a book that grew fact by fact says the same as one written in one go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from salesgauge.metrics.entities.contributions import Contributions, difference
from salesgauge.metrics.rules.model import Rules

Chapter = Callable[..., None]
"""``chapter(out, rules, *subject)`` adds to ``out`` what the subject adds to the measures."""

_NOTHING = Contributions()


class Book:
    """What one entity adds to the measures.

    ``view`` is the entity's own reading of its facts, kept while the book is open.
    """

    __slots__ = ("_chapters", "_logs", "_recalling", "changes", "rules", "view")

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.view: Any = None
        self.changes: list[Contributions] = []
        self._chapters: dict[object, tuple[tuple[Any, ...], Contributions]] = {}
        self._logs: dict[Chapter, tuple[Sequence[Any], int, tuple[Any, ...]]] = {}
        self._recalling = False

    def recall(self, write: Callable[[], None]) -> None:
        """Have what ``write`` writes as what was added before: it is no change."""
        self._recalling = True
        write()
        self._recalling = False
        self.changes.clear()

    def take_changes(self) -> list[Contributions]:
        """What was added and taken back since the last call; the parts are to be added up."""
        changes, self.changes = self.changes, []
        return changes

    def chapter(self, write: Chapter, *subject: Any, about: object = None) -> None:
        """Have a chapter about ``subject``; where the subject begins with None there is nothing to tell.

        ``about`` tells chapters apart that are written by one function.
        """
        name = write if about is None else (write, about)
        known = self._chapters.get(name)
        if known is None:
            if subject[0] is None:
                return
        elif known[0] == subject:
            return
        out = Contributions()
        if subject[0] is not None:
            write(out, self.rules, *subject)
        self._chapters[name] = (subject, out)
        change = out if known is None else difference(out, known[1])
        if change:
            self.changes.append(change)

    def log(self, write: Chapter, items: Sequence[Any], *header: Any) -> None:
        """Have a chapter with an entry for each of ``items``, under a common header.

        The same list, grown at its end, has only its new entries written. No entries are kept: those of an old header
        are computed again, when they are to be taken back.
        """
        known = self._logs.get(write)
        if known is None:
            if not items:
                return
            change = _NOTHING if self._recalling else self._entries(write, items, header)
        elif known[2] == header:
            change = self._turnover(write, known, items)
        else:
            old = self._entries(write, known[0][: known[1]], known[2])
            change = difference(self._entries(write, items, header), old)
        self._logs[write] = (items, len(items), header)
        if change:
            self.changes.append(change)

    def _turnover(
        self, write: Chapter, known: tuple[Sequence[Any], int, tuple[Any, ...]], items: Sequence[Any]
    ) -> Contributions:
        """What the entries that came add, less what those that went had added."""
        before, count, header = known
        if before is items:
            return self._entries(write, items[count:], header)
        # Facts of an open entity are the same objects as before: telling them apart needs no comparison of contents.
        old, new = {id(item) for item in before[:count]}, {id(item) for item in items}
        came = self._entries(write, [item for item in items if id(item) not in old], header)
        went = self._entries(write, [item for item in before[:count] if id(item) not in new], header)
        return difference(came, went) if went else came

    def strike(self) -> None:
        """Take everything back: the entity tells nothing any more."""
        for _, out in self._chapters.values():
            self.changes.append(difference(_NOTHING, out))
        for write, (items, count, header) in self._logs.items():
            self.changes.append(difference(_NOTHING, self._entries(write, items[:count], header)))
        self._chapters.clear()
        self._logs.clear()

    def _entries(self, write: Chapter, items: Sequence[Any], header: tuple[Any, ...]) -> Contributions:
        out = Contributions()
        if items:
            write(out, self.rules, items, *header)
        return out


class Draft(Book):
    """A book that is written in one go and not kept: nothing in it is ever compared or taken back."""

    __slots__ = ("_out",)

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._out = Contributions()

    def take_changes(self) -> list[Contributions]:
        """Everything."""
        out, self._out = self._out, Contributions()
        return [out]

    def chapter(self, write: Chapter, *subject: Any, about: object = None) -> None:
        """Write a chapter about ``subject``."""
        del about
        if subject[0] is not None:
            write(self._out, self.rules, *subject)

    def log(self, write: Chapter, items: Sequence[Any], *header: Any) -> None:
        """Write an entry for each of ``items``."""
        if items:
            write(self._out, self.rules, items, *header)

    def strike(self) -> None:
        """Take everything back."""
        self._out.clear()
