"""Which KPIs, windows and breakdowns a replay computes: a smaller catalogue costs less time."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.kpi import Catalogue, Kpi
from salesgauge.metrics.rules.windows import WINDOWS
from salesgauge.schemas.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from salesgauge.metrics.windows.series import Breakdown

NONE = "none"
"""How the whole, without a breakdown, is asked for."""


@dataclass(frozen=True, slots=True)
class KpiChoice:
    """What of the catalogue is computed; nothing named is no restriction. See :func:`select`."""

    kpis: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    breakdowns: tuple[str, ...] = ()

    def catalogue(self) -> Catalogue:
        """The chosen part of the catalogue.

        Raises:
            InputError: there is no such KPI, window or breakdown, or nothing is left.
        """
        return select(self.kpis, self.windows, self.breakdowns)


def select(
    kpis: Sequence[str] = (),
    windows: Sequence[str] = (),
    breakdowns: Sequence[str] = (),
    catalogue: Catalogue = CATALOGUE,
) -> Catalogue:
    """The part of the catalogue that was asked for; an empty choice is no restriction.

    Args:
        kpis: ids.
        windows: names.
        catalogue: what to choose from.
        breakdowns: ``rep``, ``product,competitor`` or ``none`` for the whole.

    Raises:
        InputError: there is no such KPI, window or breakdown, or nothing is left.
    """
    check_known("KPI", kpis, catalogue.by_id)
    check_known("window", windows, WINDOWS)
    known = {_joined(breakdown) for kpi in catalogue.kpis for breakdown in kpi.breakdowns}
    wanted = {breakdown.replace(" ", "") for breakdown in breakdowns}
    check_known("breakdown", sorted(wanted), known | {NONE})
    chosen = [kpi for kpi in catalogue.kpis if not kpis or kpi.id in kpis]
    left = tuple(narrowed for kpi in chosen if (narrowed := _narrow(kpi, windows, wanted)) is not None)
    if not left:
        raise InputError(
            "none of the chosen KPIs has such a window and breakdown; `salesgauge kpis` lists what there is"
        )
    return Catalogue(left)


def check_known(what: str, given: Collection[str], known: Collection[str]) -> None:
    """See to it that all names are known.

    Raises:
        InputError: one is not; the message says which are, or which may have been meant.
    """
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(known))}"
            raise InputError(f"there is no {what} {name!r}{hint}")


def _narrow(kpi: Kpi, windows: Collection[str], breakdowns: Collection[str]) -> Kpi | None:
    """The KPI with what was chosen of it; None where that is nothing."""
    left = tuple(window for window in kpi.windows if not windows or window in windows)
    by = tuple(b for b in kpi.breakdowns if not breakdowns or _joined(b) in breakdowns)
    whole = kpi.whole and (not breakdowns or NONE in breakdowns)
    if not left or not (whole or by):
        return None
    return dataclasses.replace(kpi, windows=left, breakdowns=by, whole=whole)


def _joined(breakdown: Breakdown) -> str:
    return ",".join(breakdown)
