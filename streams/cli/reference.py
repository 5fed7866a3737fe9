"""Pages of the reference that `salesgauge generate` writes: events, KPIs, settings."""

from __future__ import annotations

from typing import Any

from pydantic.fields import FieldInfo

from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.families import family_name, stat_names
from salesgauge.metrics.kpis.kpi import Kpi
from salesgauge.schemas.events import EVENTS, EventBase, topic_of
from salesgauge.streams.cli.kpis import expression
from salesgauge.streams.settings.model import ENV_PREFIX
from salesgauge.streams.settings.reference import Setting, settings_reference

# --- events


def event_contract() -> dict[str, str]:
    """The events for those who publish them."""
    parts = [_header("schemas/events"), "# Event reference\n", _EVENTS_INTRODUCTION]
    for name, model in EVENTS.items():
        parts.append(f"## {name}\n")
        key = " or ".join(f"`{field}`" for field in model.KEY_FIELDS)
        parts.append(f"{_prose(model.__doc__ or '')}\n\nTopic `{topic_of(name)}`, keyed by {key}.\n")
        fields = [_field(field, info, model) for field, info in model.model_fields.items() if field not in _ENVELOPE]
        parts += ["| field | values | required? |", "|---|---|---|", *fields, ""]
    return {"docs/events.md": "\n".join(parts)}


_ENVELOPE = frozenset({"event", "event_id", "occurred_at", "schema_version", "source_system", "recorded_at"})


def _field(name: str, info: FieldInfo, model: type[EventBase]) -> str:
    schema = model.model_json_schema(ref_template="{model}")["properties"][name]
    need = "required" if info.is_required() else "optional"
    default = info.get_default()
    if not info.is_required() and default not in (None, ""):
        need = f"default `{default}`"
    return f"| `{name}` | {_values(schema)} | {need} |"


def _values(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return _values(schema["anyOf"][0])  # the usual form; the others are said once, for all fields
    if schema.get("type") == "array":
        return "list of `{product, quantity, unit_price}`"
    if schema.get("format") == "date-time":
        return "time with zone"
    return str(schema.get("type", "object")).replace("string", "text")


_EVENTS_INTRODUCTION = """Events are JSON objects: one per Kafka message, or one per line of a file. Their JSON Schemas
are in `schemas/json/`. Every event has these fields:

| field | values | required? |
|---|---|---|
| `event` | name of the event, such as `lead_created` | required |
| `event_id` | text of at most 200 characters. The same id again is a duplicate | required |
| `occurred_at` | ISO 8601 with a zone: when it happened | required |
| `recorded_at` | ISO 8601 with a zone: when the source learnt of it. The version recorded last holds | optional |
| `schema_version` | `1` | optional |
| `source_system` | text | optional |

- **Amounts** are in major units of `currency`. Without a currency they are in the reporting currency.
- **Keys.** Use the entity's id as the message key, with Kafka's default partitioner. A message that arrives in
  another partition is forwarded to the right one. This only takes longer.
- **Unknown fields** are ignored, but counted: the log, `salesgauge doctor` and a [metric](metrics.md#of-a-worker) name
  them, and `publish`, `replay` and `convert` refuse them with `--strict`.
- **Dead letters.** A message goes to the [dead letters](operations.md#dead-letters) if it is larger than 256 KiB, if it
  happened or was recorded before 1970 or more than five minutes in the future, or if it is not a valid event.

## Values

| value | accepted | refused |
|---|---|---|
| text | JSON text of at most 200 characters, not empty for ids and required texts; a JSON integer becomes text \
| floats, `true`, control characters, line separators, private-use and unassigned code points |
| time with zone | text in extended ISO 8601, such as `2026-03-01T09:00:00Z`: `T` or a space, seconds optional, \
up to nine decimals (cut to microseconds), `Z` or an offset such as `+01:00` or `+0100` \
| numbers, numbers as text, days without a time, times without a zone |
| number | a JSON number, or text such as `-1234.50` (as in JSON, without an exponent). Write numbers of more than \
15 digits as text, since JSON numbers are doubles \
| `true`, `NaN`, and the texts `1_000`, `1,000`, `+1`, `.5`, `1e3`, ` 1`, other digits |
| integer | a JSON number without a fraction, or text such as `12` | as for numbers |
| boolean | `true`, `false`, `1`, `0`, and the texts `true`, `yes`, `y`, `on`, `t`, `1` and their opposites, \
in any case | everything else |
| currency | three letters | everything else |

Texts that look the same are the same, ids too. Before anything is compared, invisible characters are removed
(zero-width spaces and joiners, direction marks, byte-order marks, variation selectors: Unicode's format and
default-ignorable characters), every kind of space becomes a plain space, spaces at the ends are dropped, and the rest
is normalised to Unicode's form NFC.
"""

# --- KPIs


def kpi_reference() -> dict[str, str]:
    """The KPI reference."""
    parts = [_header("metrics/kpis/catalogue"), "# KPI reference\n", _KPIS_INTRODUCTION]
    role = None
    for kpi in CATALOGUE.kpis:
        if kpi.role is not role:
            role = kpi.role
            parts.append(f"## {role.value}\n")
        parts.append(_entry(kpi))
    return {"docs/kpis.md": "\n".join(parts)}


_KPIS_INTRODUCTION = """Each KPI has one entry. W is the window and t is the instant at which it ends.

- **Form.** A *period* KPI looks at what happened in W. A *cohort* KPI looks at what entered in W, and at
  what became of it until t. A *retention* KPI looks at the customers at the start of W, and at what became of them
  until t. A *stock* KPI looks at the state at t.
- **No value.** A quotient with a zero denominator has no value. It is not shown as zero.
- **Metrics.** Each breakdown is a metric of its own: `crm_<id>_by_<dimensions>`. Every quotient also has
  `_numerator` and `_denominator`. Every cohort quotient has the mean age of its cohort in seconds, `_age_seconds`. A
  dimension that no event names is `unknown`.
- **Windows** end at t, inclusive. A rolling window begins at t minus its length, inclusive, or at the next full
  minute (up to 24 h) or full hour (longer ones). At a full hour all windows are exact. See
  [windows](windows.md).
- **Days without a time** count as midnight. Read such data at the end of a day (23:59:59), so that 30 days hold
  thirty midnights.
- **Quantiles** are within 1.1 %. Between two values they are interpolated, as in spreadsheets
  (`PERCENTILE.INC`) and numpy.
"""


def _entry(kpi: Kpi) -> str:
    number = f" ({kpi.number})" if kpi.number else ""
    rows = {
        "Formula": kpi.definition,
        "In symbols": f"`{expression(kpi)}`",
        "Also reported": "; ".join(f"`{s.name}`: {s.help} `{s.formula}`" for s in kpi.secondary),
        "Unit, form": f"{kpi.per or kpi.unit.value}, {kpi.form.value}; good is {kpi.direction.value}",
        "Windows": ", ".join(kpi.windows),
        "Breakdowns": ", ".join(" x ".join(b) for b in kpi.breakdowns) or "none",
        "Requires": ", ".join(" or ".join(f"`{event}`" for event in group.split("|")) for group in kpi.requires),
        "Affected by": ", ".join(f"`{event}`" for event in kpi.affected_by),
        "No value": kpi.empty and f"{kpi.empty}.",
        "Metrics": _metrics(kpi),
        "Caveats": kpi.caveats,
    }
    lines = [f"### {kpi.title}{number}\n", f"`{kpi.id}`: {kpi.help}\n"]
    lines += [f"- **{name}**: {text}" for name, text in rows.items() if text]
    return "\n".join(lines) + "\n"


def _metrics(kpi: Kpi) -> str:
    """The names of the whole, and what breakdowns add to them."""
    names = [family_name(kpi, stat, ()) for stat in stat_names(kpi)]
    listed = ", ".join(f"`{name}`" for name in dict.fromkeys([*([kpi.metric] if kpi.samples else []), *names]))
    stat = next(iter(stat_names(kpi)))
    whole = family_name(kpi, stat, ())
    ends = ", ".join(f"`{family_name(kpi, stat, one).removeprefix(whole)}`" for one in kpi.breakdowns)
    if not ends:
        return listed
    return f"{listed}; by dimension with {ends} at the end" + ("" if kpi.whole else " only")


# --- settings


def settings_page() -> dict[str, str]:
    """All settings with defaults and meaning, a table for each group."""
    settings = settings_reference()
    tables = [_table(group, settings) for group in dict.fromkeys(map(_group_of, settings))]
    return {"docs/settings.md": "\n".join([_header("the models of settings"), "# Settings\n", _SETTINGS, *tables])}


_SETTINGS = f"""A setting comes from the first of these that has it:

1. a flag of the command, such as `--bootstrap`;
2. an environment variable: `{ENV_PREFIX}` and the path in capitals, with two underscores for each dot.
   `kafka.bootstrap` is `{ENV_PREFIX}KAFKA__BOOTSTRAP`;
3. the YAML file given with `--config`;
4. the default.

The same settings in a file:

```yaml
kafka:
  bootstrap: kafka-1:9093,kafka-2:9093
  replication: 3
  tls: {{ca_file: /etc/salesgauge/ca.pem}}
  sasl: {{mechanism: SCRAM-SHA-512, username: salesgauge}}   # the password comes from {ENV_PREFIX}KAFKA__SASL__PASSWORD
rules:
  zone: Europe/Berlin
  response_sla: PT10M
```

- **Lists and groups** in a variable are written as in the file, or as JSON:
  `{ENV_PREFIX}RULES__RATES='[{{currency: USD, rate: "0.92", since: 2026-01-01}}]'`.
- **The file** is YAML 1.2 in UTF-8: `17:00` and `NO` are text. Unknown fields are errors.
- **Durations** are ISO 8601 (`PT10M`, `P2D`) or a number of seconds.
- **Same everywhere.** All processes of an installation need the same `rules` and the same `kafka.partitions`.
- **Changed rules.** The same events under other rules give other KPIs. A worker applies changed rules only to
  what it processes from then on. Run a [rebuild](operations.md#rebuild) to apply them to the past too.
  `rules.label_ceiling` and `rules.growth_target` are applied when gauges are read: for them a restart of the
  exporter is enough.
- **Check.** `salesgauge doctor --all` shows every setting, its value and where it comes from. It warns about
  variables that are not settings. Secrets are never shown.
"""


def _group_of(setting: Setting) -> str:
    return setting.path.partition(".")[0] if "." in setting.path else ""


def _table(group: str, settings: list[Setting]) -> str:
    """The settings of a group; those that it shares with `web` are only mentioned."""
    like_web = {one.path.removeprefix("web"): one for one in settings if one.path.startswith("web.")}
    rows = []
    for one in settings:
        if _group_of(one) != group:
            continue
        above, web, rest = one.path.partition("web.")
        same = like_web.get(f".{rest}") if web and above else None
        if same is None or same[1:] != one[1:]:
            rows.append(f"| `{one.path}` | {_code(one.default)} | {one.text} |")
        elif f"{above}web.*" not in "".join(rows):
            rows.append(f"| `{above}web.*` | | The other settings of `web`, with the same defaults. |")
    return "\n".join([f"## {group or 'General'}\n", "| setting | default | meaning |", "|---|---|---|", *rows, ""])


def _code(value: str) -> str:
    return value if value in {"", "none"} else f"`{value}`"


# --- of all pages


def _header(source: str) -> str:
    return f"<!-- Generated by `salesgauge generate` from {source}; do not edit. -->\n"


def _prose(docstring: str) -> str:
    """A docstring as Markdown on one line."""
    return " ".join(docstring.replace("``", "`").split())
