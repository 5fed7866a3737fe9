"""A sheet of an Excel or OpenDocument workbook as CSV, with what its cells hold and not how they are shown."""

from __future__ import annotations

import csv
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, SheetVisibleEnum

from salesgauge.schemas.sources.mapping import ConvertError

_TITLES = 2
_EXACT = 10**15
"""Excel keeps 15 digits; what is longer, and a number, has lost the others."""


def workbook_as_csv(name: str, path: Path, sheet: str | None, copy: Path) -> Path:
    """Write a sheet as CSV in UTF-8 to ``copy``: numbers exactly, dates and times in ISO 8601, no empty rows.

    Args:
        name: of the input, for messages.
        path: the workbook.
        sheet: the sheet's name; without it the workbook must have one visible sheet with content.
        copy: the file to write.

    Raises:
        ConvertError: the file is no workbook, is protected, or the sheet cannot be told.
    """
    try:
        with CalamineWorkbook.from_path(str(path)) as book, copy.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)
            writer.writerows(_rows(_sheet(name, path, book, sheet)))
    except CalamineError as error:
        raise ConvertError(
            f"input {name}: {path.name} cannot be read as a workbook: {error}; if it is protected by a password or "
            "damaged, save it again, or export it as CSV"
        ) from error
    return copy


def sheets_of(path: Path) -> list[str]:
    """The visible sheets with content.

    Raises:
        ConvertError: the file is no workbook.
    """
    try:
        with CalamineWorkbook.from_path(str(path)) as book:
            return [sheet.name for sheet in _filled(book)]
    except CalamineError as error:
        raise ConvertError(f"{path.name} cannot be read as a workbook: {error}") from error


def _filled(book: CalamineWorkbook) -> list[CalamineSheet]:
    visible = [s.name for s in book.sheets_metadata if s.visible is SheetVisibleEnum.Visible]
    return [found for found in map(book.get_sheet_by_name, visible) if found.height > 1]


def _sheet(name: str, path: Path, book: CalamineWorkbook, sheet: str | None) -> CalamineSheet:
    if sheet is not None:
        if sheet not in book.sheet_names:
            raise ConvertError(
                f"input {name}: {path.name} has no sheet '{sheet}'; its sheets: {_names(book.sheet_names)}"
            )
        return book.get_sheet_by_name(sheet)
    filled = _filled(book)
    if len(filled) > 1:
        raise ConvertError(
            f"input {name}: {path.name} has several sheets; say which one, sheet: … in the mapping: "
            f"{_names([s.name for s in filled])}"
        )
    if not filled:
        raise ConvertError(f"input {name}: {path.name} has no sheet with a header and a row")
    return filled[0]


def _names(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _rows(sheet: CalamineSheet) -> list[list[str]]:
    """The rows from the header on: titles above it have one cell, and some programs repeat it for each group."""
    rows = [[_text(value) for value in row] for row in sheet.to_python(skip_empty_area=True)]
    rows = [row for row in rows if any(row)]
    while (len(rows) > 1 and sum(map(bool, rows[0])) == 1 < sum(map(bool, rows[1]))) or _is_title(rows):
        rows.pop(0)
    return [row for number, row in enumerate(rows) if not number or row != rows[0]]


def _is_title(rows: list[list[str]]) -> bool:
    """Whether the first two rows are titles of a wider table below."""
    return (
        len(rows) > _TITLES
        and all(sum(map(bool, row)) == 1 for row in rows[:_TITLES])
        and sum(map(bool, rows[_TITLES])) > 1
    )


def _text(value: Any) -> str:
    """A cell's value as text that can be read again without loss; a number that Excel has rounded in E notation."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        minutes, seconds = divmod(int(value.total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    return str(value)


def _number(value: float) -> str:
    if value.is_integer():
        return str(int(value)) if abs(value) < _EXACT else f"{value:.14E}"
    return repr(value)
