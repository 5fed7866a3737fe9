"""Panels of KPIs: tiles, trends and breakdowns, each with its unit, colours, description and reason to be empty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import bargauge, stat, table, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTextDisplayOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import DashboardLink, FieldColor, ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DashboardLink as Link
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from salesgauge.grafana.promql import FILTERS, count_behind, gauge, scoped, unconnected
from salesgauge.grafana.units import NEUTRAL, colours, decimals, unit, why_absent, why_empty
from salesgauge.metrics.kpis.kpi import Kpi, Unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from salesgauge.grafana.thresholds import Thresholds
    from salesgauge.metrics.windows.series import Breakdown

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
SCORECARD = "salesgauge-rep-scorecard"
SHORT = ("1h", "24h", "today")

_TOP = 12
_UNCONNECTED = "Unconnected"
_Panel = stat.Panel | timeseries.Panel | bargauge.Panel | table.Panel


@dataclass(frozen=True, slots=True)
class Numbers:
    """What panels of KPIs are made from."""

    thresholds: Thresholds

    # --- panels of KPIs

    def tile(self, kpi: Kpi, name: str = "value", *, width: int = 4, title: str = "") -> stat.Panel:
        """The number as it is now."""
        target = instant(gauge(kpi, name, window=window_of(kpi)), legend_of(kpi, name))
        return self._number(kpi, name, target, width, title)

    def _number(self, kpi: Kpi, name: str, target: Dataquery, width: int, title: str = "") -> stat.Panel:
        behind = count_behind(kpi)
        panel = (
            big(title or title_of(kpi, name), describe(kpi, name), width)
            .unit(unit(kpi, name, self.thresholds.currency))
            .thresholds(self._colours(kpi, name))
            .color_mode(self._mode(kpi, name))
            .with_target(target)
        )
        _say_absence(panel, kpi, name)
        places = decimals(kpi, name)
        if places is not None:
            panel.decimals(places)
        if name == "value" and behind is not None and kpi.fraction is not None:
            panel.description(describe(kpi, name) + f"\n\nIts denominator: `{kpi.metric}_{behind}`.")
        return panel

    def head(self, kpi: Kpi, name: str = "value", *, width: int = 4) -> stat.Panel:
        """A headline number: narrowed to the team, rep or source that is chosen, and with its recent course.

        The course is drawn where the number always has a value; of others a value of the past could be taken for one
        of the present.
        """
        always = not kpi.stat(name).formula.can_be_empty() and kpi.trend
        target = (ranged if always else instant)(scoped(kpi, name, window_of(kpi)), legend_of(kpi, name))
        panel = self._number(kpi, name, target, width)
        return panel.graph_mode(BigValueGraphMode.AREA if always else BigValueGraphMode.NONE)

    def _colours(self, kpi: Kpi, name: str, by: Breakdown = ()) -> ThresholdsConfig:
        counted = kpi.stat(name).unit is Unit.COUNT
        return colours(self.thresholds.target(kpi.id, name, by), counted=counted)

    def trend(
        self, kpi: Kpi, names: Iterable[str] = ("value",), *, by: Breakdown = (), width: int = 12, title: str = ""
    ) -> timeseries.Panel:
        """The number over time, of the window that ends at each moment."""
        names = tuple(names)
        first = names[0]
        panel = (
            lines(title or f"{title_by(kpi, first, by)}, over time", describe(kpi, first), width)
            .unit(unit(kpi, first, self.thresholds.currency))
            .thresholds(self._colours(kpi, first, by))
            .no_value(why_empty(kpi, first, absent=True))
        )
        if self.thresholds.target(kpi.id, first, by) is not None:
            panel.thresholds_style(GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED))
        legend = " ".join(f"{{{{{label}}}}}" for label in by)
        for name in names:
            text = legend if by and len(names) == 1 else " ".join(filter(None, (legend, legend_of(kpi, name))))
            panel.with_target(ranged(gauge(kpi, name, by, window=window_of(kpi), where=filters(by)), text))
        return panel

    def bars(
        self,
        kpi: Kpi,
        by: Breakdown,
        name: str = "value",
        *,
        where: Mapping[str, str] | None = None,
        width: int = 8,
        title: str = "",
    ) -> bargauge.Panel:
        """The parts as they are now, the largest first; ``where`` narrows them to one value of a label."""
        chosen = where or {}
        query = gauge(kpi, name, by, window=window_of(kpi), where={**filters(by), **chosen})
        legend = " ".join(f"{{{{{label}}}}}" for label in by if label not in chosen)
        panel = (
            bargauge.Panel()
            .title(title or title_by(kpi, name, by))
            .description(f"{describe(kpi, name)}\n\nThe largest {_TOP}.")
            .datasource(DATASOURCE)
            .span(width)
            .height(8)
            .unit(unit(kpi, name, self.thresholds.currency))
            .thresholds(self._colours(kpi, name, by))
            .no_value(why_empty(kpi, name, absent=True))
            .display_mode(BarGaugeDisplayMode.BASIC)
            .orientation(VizOrientation.HORIZONTAL)
            .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(values=False))
            .with_target(instant(f"sort_desc(topk({_TOP}, {query}))", legend))
        )
        places = decimals(kpi, name)
        if places is not None:
            panel.decimals(places)
        links: list[Builder[Link]] = [_to_scorecard()] if "rep" in by else []
        if len(by) == 1 and by[0] in FILTERS:
            links.append(_to_live_board(self.thresholds.board, kpi, by[0]))
        return panel.data_links(links) if links else panel

    def table(
        self, title: str, by: str, columns: Iterable[tuple[Kpi, str]], *, width: int = 24, every: bool = False
    ) -> table.Panel:
        """Several numbers side by side for each part of a breakdown; ``every`` shows those not chosen above too."""
        columns = list(columns)
        refs = [chr(ord("A") + index) for index in range(len(columns))]
        names = {f"Value #{ref}": title_of(kpi, name) for ref, (kpi, name) in zip(refs, columns, strict=True)}
        about = "\n".join(f"- **{title_of(kpi, name)}** ({window_words(kpi)}): {kpi.help}" for kpi, name in columns)
        panel = (
            table.Panel()
            .title(title)
            .description(f"By {by}, as it is now.\n\n{about}")
            .datasource(DATASOURCE)
            .span(width)
            .height(10)
            .unit("none")
            .no_value("none in this window")
            .show_header(show_header=True)
            .with_transformation(DataTransformerConfig(id_val="merge", options={}))
            .with_transformation(
                DataTransformerConfig(
                    id_val="organize",
                    options={
                        "excludeByName": {"Time": True},
                        "indexByName": {by: 0, **{f"Value #{ref}": n for n, ref in enumerate(refs, 1)}},
                        "renameByName": {by: by.capitalize(), **names},
                    },
                )
            )
        )
        for ref, (kpi, name) in zip(refs, columns, strict=True):
            query = gauge(kpi, name, (by,), window=window_of(kpi), where={} if every else filters((by,)))
            panel.with_target(instant(query, f"{{{{{by}}}}}").format(PromQueryFormat.TABLE).ref_id(ref))
            panel.override_by_name(title_of(kpi, name), self._cell(kpi, name, by))
        if by == "rep":
            panel.override_by_name("Rep", [DynamicConfigValue("links", [_scorecard_link("${__value.text}")])])
        return panel

    def score(self, kpi: Kpi, name: str = "value", *, width: int = 4) -> stat.Panel:
        """A rep's number beside the median of all reps."""
        own = gauge(kpi, name, ("rep",), window=window_of(kpi), where={"rep": "$rep"})
        everybody = gauge(kpi, name, ("rep",), window=window_of(kpi))
        panel = (
            big(title_of(kpi, name), describe(kpi, name) + "\n\nBelow it, the median of all reps.", width, height=5)
            .unit(unit(kpi, name, self.thresholds.currency))
            .thresholds(self._colours(kpi, name, ("rep",)))
            .color_mode(self._mode(kpi, name))
            .text_mode(BigValueTextMode.VALUE_AND_NAME)
            .with_target(instant(own, "{{rep}}"))
            .with_target(instant(f"quantile(0.5, {everybody})", "median of all reps"))
        )
        _say_absence(panel, kpi, name)
        places = decimals(kpi, name)
        return panel if places is None else panel.decimals(places)

    def _mode(self, kpi: Kpi, name: str) -> BigValueColorMode:
        wanted = self.thresholds.target(kpi.id, name)
        return BigValueColorMode.BACKGROUND if wanted else BigValueColorMode.NONE

    def _cell(self, kpi: Kpi, name: str, by: str) -> list[DynamicConfigValue]:
        properties = [DynamicConfigValue("unit", unit(kpi, name, self.thresholds.currency))]
        places = decimals(kpi, name)
        if places is not None:
            properties.append(DynamicConfigValue("decimals", places))
        target = self.thresholds.target(kpi.id, name, (by,))
        if target is not None:
            properties.append(DynamicConfigValue("thresholds", self._colours(kpi, name, (by,)).build()))
            properties.append(DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
        return properties


def _say_absence(panel: stat.Panel, kpi: Kpi, name: str) -> None:
    """Let a number say why it is absent: nothing to speak of, or events that never came."""
    requires = kpi.stat(name).requires
    panel.no_value(why_empty(kpi, name, absent=bool(requires)))
    if requires:
        return  # the exporter says of KPIs whether they are connected, not of each number
    zero = ValueMap({"0": ValueMappingResult(text=why_absent(kpi.requires), color=NEUTRAL)})
    panel.with_target(instant(unconnected(kpi), "not connected").ref_id(_UNCONNECTED))
    panel.override_by_query(_UNCONNECTED, [DynamicConfigValue("mappings", [zero])])


# --- queries ----------------------------------------------------------------------------------------------------------


def instant(query: str, legend: str) -> Dataquery:
    """A query at the right end of the time range."""
    return Dataquery().expr(query).instant().legend_format(legend or "__auto").datasource(DATASOURCE)


def ranged(query: str, legend: str) -> Dataquery:
    """A query over the time range."""
    return Dataquery().expr(query).range().legend_format(legend or "__auto").datasource(DATASOURCE)


def window_of(kpi: Kpi) -> str:
    """The window that a panel shows of a KPI: its only one, or the chosen one; long ones have a choice of their own."""
    if len(kpi.windows) == 1:
        return kpi.windows[0]
    return "$window" if set(SHORT) <= set(kpi.windows) else "$long_window"


def window_words(kpi: Kpi) -> str:
    """The window of a panel in words."""
    window = window_of(kpi)
    return {"all": "now", "$window": "window", "$long_window": "long window"}.get(window, window)


def filters(by: Breakdown) -> Mapping[str, str]:
    """Variables that select parts of a breakdown."""
    return {label: f"${label}" for label in by if label in FILTERS}


# --- texts ------------------------------------------------------------------------------------------------------------


def title_of(kpi: Kpi, name: str) -> str:
    """``Lead response time, p90``; the window is said where it is not the chosen one."""
    words = kpi.stat(name).title
    title = kpi.title if name == "value" else f"{kpi.title}, {words}"
    return f"{title} (long window)" if window_of(kpi) == "$long_window" else title


def title_by(kpi: Kpi, name: str, by: Breakdown) -> str:
    """``Deals won by rep``; ``Sales by location, the parts`` where the KPI's name says it already."""
    title = title_of(kpi, name)
    if by and " by " in title and title.endswith(by):
        return f"{title}, the parts"
    return f"{title} by {' and '.join(by)}" if by else title


def legend_of(kpi: Kpi, name: str) -> str:
    """What a line of a panel is called: the KPI itself, or which of its numbers."""
    return kpi.title if name == "value" else kpi.stat(name).title


def describe(kpi: Kpi, name: str) -> str:
    """What the catalogue says of a number: meaning, formula, caveats."""
    secondary = next((s for s in kpi.secondary if s.name == name), None)
    about = (secondary.help, str(secondary.formula)) if secondary else (kpi.help, kpi.definition)
    parts = [about[0] or kpi.help, f"Formula: {about[1]}.", kpi.caveats and f"Caveats: {kpi.caveats}"]
    return "\n\n".join(filter(None, parts))


# --- frames -----------------------------------------------------------------------------------------------------------


def big(title: str, description: str, width: int, *, height: int = 4) -> stat.Panel:
    """A number that can be read from the other end of the room."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .span(width)
        .height(height)
        .graph_mode(BigValueGraphMode.NONE)
        .text_mode(BigValueTextMode.VALUE)
        .text(VizTextDisplayOptions().title_size(16))
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(values=False))
    )


def lines(title: str, description: str, width: int) -> timeseries.Panel:
    """Lines with a legend that tells the last value."""
    return (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .span(width)
        .height(8)
        .fill_opacity(8)
        .line_width(2)
        .color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
            .calcs(["lastNotNull"])
        )
    )


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Parts of one whole upon each other."""
    return panel.stacking(StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(60).line_width(0)


def _to_scorecard() -> DashboardLink:
    return (
        DashboardLink("Scorecard of ${__field.labels.rep}")
        .type(DashboardLinkType.LINK)
        .url(_scorecard_url("${__field.labels.rep}"))
    )


def _to_live_board(board: str, kpi: Kpi, dim: str) -> DashboardLink:
    """To the built-in board, narrowed to the part that was clicked."""
    name = f"${{__field.labels.{dim}}}"
    chosen = "" if window_of(kpi) == "all" else f"window=${{{window_of(kpi).removeprefix('$')}}}&"
    scope = f"{dim}=${{__field.labels.{dim}:percentencode}}"
    url = f"{board.rstrip('/')}/#{chosen}kpi={kpi.id}&{scope}"
    return DashboardLink(f"Live board of {name}").type(DashboardLinkType.LINK).url(url)


def _scorecard_link(rep: str) -> dict[str, object]:
    return {"title": f"Scorecard of {rep}", "url": _scorecard_url(rep)}


def _scorecard_url(rep: str) -> str:
    return f"/d/{SCORECARD}?var-rep={rep}&${{datasource:queryparam}}&${{window:queryparam}}&${{__url_time_range}}"
