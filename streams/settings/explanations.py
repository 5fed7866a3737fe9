"""What is wrong with a setting, in one line that names it and says what to write."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

if TYPE_CHECKING:
    from pydantic import ValidationError

_EXAMPLES = {
    "kafka": "{bootstrap: 'kafka-1:9092,kafka-2:9092'}",
    "kafka.bootstrap": "kafka-1:9092,kafka-2:9092",
    "kafka.tls": "{ca_file: /etc/salesgauge/ca.pem}, or {} to trust the system's authorities",
    "kafka.sasl": "{mechanism: SCRAM-SHA-512, username: salesgauge}",
    "web": "{host: 0.0.0.0, port: 9108}",
    "web.tls": "{cert_file: /etc/salesgauge/web.pem}",
    "worker_web": "{host: 0.0.0.0, port: 9109}",
    "worker_web.tls": "{cert_file: /etc/salesgauge/web.pem}",
    "rules": "{zone: Europe/Berlin, currency: EUR}",
    "rules.calendar": "{opens: '09:00', closes: '17:00', holidays: DE}",
    "rules.calendar.weekdays": "[0, 1, 2, 3, 4] for Monday to Friday",
    "rules.calendar.hours": "{mon-fri: '09:00-12:00, 13:00-17:00', sat: '10:00-14:00'}",
    "rules.calendar.exceptions": "{2026-12-24: '09:00-12:00', 2026-12-31: closed}",
    "rules.calendar.extra_holidays": "['2026-12-24']",
    "rules.team_calendars": "{north: {zone: Europe/Berlin, opens: '08:00'}}",
    "rules.roster": "{rep-01: north}",
    "rules.rates": "[{currency: USD, rate: '0.92', since: '2026-01-01'}]",
    "rules.response_policies": "[{name: demo, source: demo request, target: PT5M, clock: working_hours}]",
    "rules.response_exempt_sources": "[import, list]",
    "rules.commission_tiers": "[{attainment: 0, rate: 0.05}, {attainment: 1, rate: 0.08}]",
    "rules.stages": "[{name: Proposal, probability: 0.4, limit_days: 14}, {name: Closed Won, kind: won}]",
    "rules.unredacted": "[rep]",
}
"""Of what holds more than one value."""

_WORDS = {
    "missing": "is missing",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "frozen_set_type": "must be a list",
    "set_type": "must be a list",
    "model_type": "must be a group of fields",
    "dict_type": "must be a group of names and values",
    "mapping_type": "must be a group of names and values",
    "string_type": "must be text; put a number in quotes",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "decimal_type": "must be a number",
    "decimal_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "path_type": "must be the path of a file",
    "time_delta_type": "must be a duration such as PT15M or P2D, or a number of seconds",
    "time_delta_parsing": "must be a duration such as PT15M or P2D, or a number of seconds",
    "time_type": "must be a time of day such as '09:00'",
    "time_parsing": "must be a time of day such as '09:00'",
    "date_type": "must be a date such as '2026-01-31'",
    "date_parsing": "must be a date such as '2026-01-31'",
    "date_from_datetime_parsing": "must be a date such as '2026-01-31'",
    "date_from_datetime_inexact": "must be a date such as '2026-01-31'",
}
_SHAPES = frozenset(
    {"tuple_type", "list_type", "frozen_set_type", "set_type", "model_type", "dict_type", "mapping_type"}
)


def explain(error: ValidationError, model: type[BaseModel], variables: Mapping[str, str]) -> str:
    """All that is wrong, each with the setting's dotted path.

    Args:
        error: what pydantic found.
        model: the settings.
        variables: name of a variable -> dotted path, of those that are set.
    """
    found: list[str] = []
    for detail in error.errors(include_url=False, include_input=False):
        place = _place(detail["loc"])
        said = _said(detail, place, model)
        line = f"{_path(place)}{_variable(place, variables)}: {said}" if place else said
        if line not in found:
            found.append(line)
    return "; ".join(found)


def _place(loc: tuple[int | str, ...]) -> list[str]:
    """The parts of a path: names, and entries of lists as `[1]`, as people count."""
    return [
        part if isinstance(part, str) else str(part) if loc[index + 1 :] == ("[key]",) else f"[{part + 1}]"
        for index, part in enumerate(loc)
        if part != "[key]"
    ]


def _said(detail: Mapping[str, Any], place: list[str], model: type[BaseModel]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(place, model)
    if kind == "value_error":
        return str(context["error"])
    said = _WORDS.get(kind) or str(detail["msg"]).replace("Input should be", "must be")
    names = [part for part in place if not part.startswith("[")]
    if kind in _SHAPES | {"missing"} and (example := _example(names[: -1 if kind == "missing" else None])):
        return f"{said}; write it as {example}"
    return said


def _path(place: Iterable[str]) -> str:
    return ".".join(place).replace(".[", "[")


def _variable(place: list[str], variables: Mapping[str, str]) -> str:
    path = ".".join(place) + "."
    name = next((name for name, known in variables.items() if path.startswith(known + ".")), None)
    return f" ({name})" if name else ""


def _example(names: list[str]) -> str | None:
    """Of the setting itself, or of the list or group that it is an entry of."""
    if names[:2] == ["rules", "team_calendars"] and len(names) > 3:  # noqa: PLR2004 - a field of a team's calendar
        names = ["rules", "calendar", *names[3:]]
    known = (".".join(names[:length]) for length in (len(names), len(names) - 1))
    return next((_EXAMPLES[path] for path in known if path in _EXAMPLES), None)


def _unknown(place: list[str], model: type[BaseModel]) -> str:
    *above, name = place
    if not above and "." in name:
        first, *rest = name.split(".")
        return f"write it as a group: {first}: {{{': {'.join(rest)}: ...{'}' * len(rest)}"
    group = _group(model, above)
    if group is None:
        return "there is no such setting"
    if near := difflib.get_close_matches(name.lower(), list(group.model_fields), 1):
        return f"there is no such setting; did you mean {near[0]}?"
    return f"there is no such setting; there are {', '.join(group.model_fields)}"


def _group(model: type[BaseModel], names: Iterable[str]) -> type[BaseModel] | None:
    """The model of the group of that path."""
    found: type[BaseModel] | None = model
    annotation: Any = model
    for name in names:
        if found is not None and name in found.model_fields:
            annotation = found.model_fields[name].annotation
        found = _model_in(annotation)
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in `X | None`, `tuple[X, ...]` or `Mapping[str, X]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner: Callable[[Any], type[BaseModel] | None] = _model_in
    return next((one for one in map(inner, get_args(annotation)) if one is not None), None)
