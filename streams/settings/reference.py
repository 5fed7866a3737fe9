"""What each setting means: its path, default and text, from the models and the docstrings of their fields."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from salesgauge.streams.settings.model import Settings


class Setting(NamedTuple):
    """One setting, or an optional group of settings."""

    path: str
    """Dotted, as in messages: ``kafka.tls.ca_file``."""
    default: str
    """As one would write it in the file; empty where the setting is required within its group."""
    text: str


def settings_reference(model: type[BaseModel] = Settings) -> list[Setting]:
    """All settings in the order of the models.

    Raises:
        LookupError: a field has no docstring; it names the field.
    """
    return list(_settings(model, ""))


def _settings(model: type[BaseModel], above: str) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        path, group = f"{above}{name}", _group(field)
        if group is None or field.default is None:
            yield Setting(path, _default(field), _text(model, name, path))
        if group is not None:
            yield from _settings(group, f"{path}.")


def _group(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a group, or may be one."""
    union = get_origin(field.annotation) in {Union, UnionType}
    kinds = get_args(field.annotation) if union else (field.annotation,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    if isinstance(field.default, timedelta) and not field.default.seconds:
        return f"P{field.default.days}D"
    kind: Any = field.annotation
    value: Any = TypeAdapter(kind).dump_python(field.get_default(call_default_factory=True), mode="json")
    if value is None:
        return "none"
    ordered = sorted(value) if isinstance(field.default, frozenset) else value
    return ordered if isinstance(ordered, str) else json.dumps(ordered)


def _text(model: type[BaseModel], name: str, path: str) -> str:
    for kind in model.__mro__:
        if text := _docstrings(kind).get(name):
            return text
    raise LookupError(f"setting {path} has no docstring; write one below the field in {model.__module__}")


@cache
def _docstrings(model: type) -> dict[str, str]:
    """Field -> the text below it in the class, on one line."""
    if not issubclass(model, BaseModel) or model in {BaseModel, BaseSettings}:
        return {}
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for statement, after in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            match after:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    found[statement.target.id] = " ".join(text.replace("``", "`").split())
    return found
