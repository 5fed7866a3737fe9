"""A mapping: one YAML file that says how a CRM's export becomes events.

``inputs`` names files, ``views`` (optional) holds queries that several events share, ``events`` lists one SQL
query per kind of event. See docs/convert.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingABC
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from salesgauge.schemas.errors import SalesgaugeError
from salesgauge.schemas.events import EVENTS
from salesgauge.schemas.sources.advice import near_event
from salesgauge.schemas.sources.helpers import view_sql
from salesgauge.schemas.values import Currency, Label

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
SHIPPED = Path(__file__).parent / "mappings"
"""The folder of the mappings that come with the package."""
DateOrder = Literal["dmy", "mdy", "ymd"]
STRICT = ConfigDict(frozen=True, extra="forbid")


class ConvertError(SalesgaugeError):
    """A conversion cannot start or go on; the message says what to change. Nothing has been written."""


class InputSpec(BaseModel):
    """Where an input lies and how DuckDB reads it. What is absent is detected from the whole file."""

    model_config = STRICT

    path: Annotated[tuple[str, ...], Field(min_length=1)]
    format: Literal["csv", "parquet", "json", "excel"] | None = None
    """By default the file's suffix tells."""
    duplicates: Literal["keep", "drop"] = "keep"
    """Whether rows that are equal in all their columns are read once only."""
    types: dict[str, str] = {}
    """CSV: column -> DuckDB type, where detection would be wrong."""
    all_varchar: bool | None = None
    """CSV: all columns are text."""
    delim: str | None = None
    header: bool | None = None
    quote: str | None = None
    escape: str | None = None
    comment: str | None = None
    skip: Annotated[int, Field(ge=0)] | None = None
    nullstr: str | list[str] | None = None
    encoding: str | None = None
    """CSV: by its name in Python, such as ``cp1252``. By default UTF-8, or what the file's byte order mark says."""
    sheet: str | None = None
    """Excel: the sheet's name, where there are several."""
    dates: DateOrder | dict[str, DateOrder] | None = None
    """The order of day, month and year in dates such as 03/04/2026: ``dmy``, ``mdy`` or ``ymd``; or column -> order."""
    dateformat: str | None = None
    timestampformat: str | None = None
    decimal_separator: str | None = None
    thousands: str | None = None
    strict_mode: bool | None = None
    null_padding: bool | None = None
    ignore_errors: bool | None = None
    """CSV: false ends the conversion at a line that cannot be read; otherwise it is a rejected row. JSON: true leaves
    out what cannot be read; it is not counted, so repair the file rather."""

    @field_validator("path", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                " ".encode(value)  # unlike a look-up it refuses codecs that are not of text
        except LookupError as error:
            raise ValueError(f"unknown encoding '{value}'; use utf-8, utf-16, cp1252, latin-1 …") from error
        return value


class EventSpec(BaseModel):
    """One kind of event and the SQL query whose rows are its events."""

    model_config = STRICT

    event: str
    sql: Annotated[str, Field(min_length=1)]

    @field_validator("event")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in EVENTS:
            near = near_event(value, EVENTS)
            hint = f"did you mean '{near}'?" if near else f"known events: {', '.join(EVENTS)}"
            raise ValueError(f"unknown event '{value}'; {hint}")
        return value


class Queries(BaseModel):
    """What files and live sources have in common: SQL that selects events from tables."""

    model_config = STRICT

    description: str = ""
    views: dict[str, str] = {}
    """Name -> query that the queries after it may select from."""
    events: list[EventSpec]
    timezone: str | None = None
    """IANA name of the zone of times without one, such as ``Europe/Berlin``."""
    currency: Currency | None = None
    """The currency of amounts whose row names none."""
    source_system: Label | None = None

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        if value is not None:
            zone_of(value)
        return value


class Mapping(Queries):
    """A whole mapping file."""

    inputs: Annotated[dict[str, InputSpec], Field(min_length=1)]
    events: Annotated[list[EventSpec], Field(min_length=1)]

    @field_validator("views", mode="before")
    @classmethod
    def _helpers(cls, value: Any) -> Any:
        """Helpers stand for the queries that they write."""
        return {name: view_sql(view) for name, view in value.items()} if isinstance(value, MappingABC) else value

    @field_validator("inputs", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        """A bare path, or a list of paths, stands for an input without options."""
        if not isinstance(value, MappingABC):
            return value
        return {name: {"path": spec} if isinstance(spec, str | list) else spec for name, spec in value.items()}

    @model_validator(mode="after")
    def _names(self) -> Self:
        for name in (*self.inputs, *self.views):
            if not _NAME.fullmatch(name):
                raise ValueError(f"'{name}' cannot name a table; use letters, digits and '_', a letter first")
        names = [name.lower() for name in (*self.inputs, *self.views)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"'{twice[0]}' names two inputs or views; names are compared without case")
        return self


def zone_of(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    Raises:
        ValueError: there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        message = f"unknown time zone '{name}'; use an IANA name such as 'Europe/Berlin' or 'UTC'"
        raise ValueError(message) from error


def shipped_mappings() -> list[str]:
    """Names of the mappings that come with the package."""
    names = [entry.name for entry in SHIPPED.iterdir()]
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def find_mapping(name: str) -> Path:
    """The file of a mapping given as a path or by the name of a shipped one; a file of that name goes first.

    Raises:
        ConvertError: there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_mappings()
    if name in shipped:
        return SHIPPED / f"{name}.yaml"
    raise ConvertError(f"no mapping '{name}': no such file, and the shipped ones are {', '.join(shipped)}")


def input_folders(path: Path) -> tuple[Path, ...]:
    """Where the files of a mapping lie: beside it, or here, if the mapping is a shipped one."""
    return (Path(),) if path.resolve().is_relative_to(SHIPPED.resolve()) else (path.parent,)


def load_mapping(path: Path) -> Mapping:
    """Read and check a mapping file.

    Raises:
        ConvertError: it cannot be read, is not YAML, or a key is wrong, missing or unknown (and named).
    """
    _refuse_export(path)
    return parse_mapping(read_yaml(path), where=str(path))


_EXPORTS = frozenset({".csv", ".tsv", ".xlsx", ".xls", ".xlsm", ".ods", ".parquet", ".json", ".jsonl", ".ndjson"})


def _refuse_export(path: Path) -> None:
    """Say it where somebody gives the data instead of the mapping."""
    if {suffix.lower() for suffix in path.suffixes} & _EXPORTS:
        raise ConvertError(
            f"{path} is an export, not a mapping. `salesgauge try {path}` drafts a mapping for it and shows its board; "
            f"`salesgauge convert --describe {path}` lists its columns"
        )


def read_yaml(path: Path) -> object:
    """The content of a YAML file.

    Raises:
        ConvertError: it cannot be read, is not YAML, or has a key twice.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConvertError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        remedy = "\nWrite SQL on lines of its own, after 'sql: |'." if "mapping values are not" in str(error) else ""
        raise ConvertError(f"{path}: is not YAML: {error}{remedy}") from error


def parse_mapping(content: object, *, where: str = "mapping") -> Mapping:
    """Check the content of a mapping; ``where`` names it in errors.

    Raises:
        ConvertError: see :func:`load_mapping`.
    """
    if not isinstance(content, dict):
        raise ConvertError(
            f"{where}: must be a YAML mapping with the keys inputs and events; is it the mapping, or the export? "
            "`salesgauge try FILE` drafts a mapping for an export"
        )
    try:
        return Mapping.model_validate(content)
    except ValidationError as error:
        raise ConvertError("\n".join(f"{where}: {line}" for line in explain_problems(error))) from error


class _Loader(yaml.SafeLoader):
    """YAML's last one of two equal keys would win silently; an input or option given twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        for key in keys:
            if keys.count(key) > 1:
                twice = f"the key '{key}' is there twice"
                raise yaml.constructor.ConstructorError(None, None, twice, node.start_mark)
        return super().construct_mapping(node, deep)


def explain_problems(
    error: ValidationError, whole: type[BaseModel] | None = None, parts: MappingABC[str, type[BaseModel]] | None = None
) -> list[str]:
    """One line per problem, naming the key; an unknown key gets the known ones.

    Args:
        error: what pydantic says.
        whole: the model of the file; a mapping's by default.
        parts: key -> model of what stands under it.
    """
    whole, parts = whole or Mapping, parts or {"inputs": InputSpec, "events": EventSpec}
    details = error.errors(include_url=False, include_context=False, include_input=False)
    lines = []
    for detail in details:
        location = detail["loc"]
        model = parts.get(str(location[0]), whole) if len(location) > 1 else whole
        lines.append(_line(location, detail["type"], detail["msg"], model))
    return lines


def _line(location: tuple[int | str, ...], kind: str, message: str, model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in location)
    if kind == "extra_forbidden":
        return f"unknown key '{key}'; known keys here: {', '.join(model.model_fields)}"
    if location == ("events",) and kind == "list_type":
        return "events must be a list: each entry begins with '- event: NAME' and has sql: | with its query below"
    if location[:1] == ("inputs",) and len(location) == 1 and kind == "dict_type":
        return "inputs must name files: a line such as 'deals: deals.csv' for each"
    if kind == "missing":
        return f"the key '{key}' is missing"
    return f"{key}: {message}".removeprefix(": ").replace("Value error, ", "")
