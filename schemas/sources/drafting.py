"""A first mapping for exports nobody has described: what is certain is mapped, what is doubtful is asked or left out.

A draft never guesses what would make a number wrong. Where no header and no value tells, it has a
:class:`DraftQuestion`; without an answer, the rows or fields that depend on it are left out and named.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from salesgauge.schemas.sources.columns import currency_of
from salesgauge.schemas.sources.describing import Described, Export
from salesgauge.schemas.sources.roles import Meaning, Parts, meaning, parts_of
from salesgauge.schemas.sources.sql import literal, quoted

_WIDTH = 110
_NONE = "none"
_CODE = len("EUR")
_YES = ("1", "true", "yes", "y", "t", "ja", "oui", "sí", "sim")
_NO = ("0", "false", "no", "n", "f", "nein", "non", "não")
_ONE_OFF = ("one_time", "one-time", "onetime", "fixed bid", "fixed", "")


@dataclass(frozen=True, slots=True)
class DraftQuestion:
    """What only somebody who knows the export can say.

    Args:
        key: what an answer is given for, such as ``won``.
        text: the question.
        choices: (answer, what it means).
        several: whether an answer may be several choices, separated by commas.
        needed: whether numbers would be wrong, and not only missing, without an answer.
    """

    key: str
    text: str
    choices: tuple[tuple[str, str], ...]
    several: bool = False
    needed: bool = False


@dataclass(slots=True)
class Draft:
    """A drafted mapping, why it is so, and what it lacks."""

    mapping: dict[str, object] = field(default_factory=dict)
    guesses: list[str] = field(default_factory=list)
    """Each a column or a sort of rows, what it is taken for, and why."""
    left_out: list[str] = field(default_factory=list)
    questions: list[DraftQuestion] = field(default_factory=list)
    """Those without an answer."""
    currency: str | None = None

    @property
    def usable(self) -> bool:
        """Whether it makes any events."""
        return bool(self.mapping.get("events"))

    def text(self, command: str) -> str:
        """The mapping as YAML with its reasons, for editing; ``command`` is how to use it."""
        said = [
            f"Drafted from an export. Edit it as you like, then: {command}",
            "",
            "What it is taken from",
            *self.guesses,
        ]
        if self.left_out:
            said += ["", "Left out", *self.left_out]
        lines = [_comment(line) for line in said]
        return "\n".join(
            [*lines, "", yaml.dump(self.mapping, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)]
        )


class _Dumper(yaml.SafeDumper):
    """Writes queries as blocks."""


def _text_block(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text_block)


def _comment(line: str) -> str:
    return textwrap.fill(line, _WIDTH, initial_indent="# ", subsequent_indent="#   ") if line else "#"


def draft(
    exports: Sequence[Export], answers: MappingABC[str, str], *, folder: Path, timezone: str | None = None
) -> Draft:
    """Draft a mapping for exports.

    Args:
        exports: the described files.
        answers: key of a question -> answer.
        folder: where the mapping will lie; files below it are named relative to it.
        timezone: of times that name none; UTC where it is not said.
    """
    made = Draft()
    alike = _orders_of_neighbours(exports)
    answers = {**{key: order for key, (order, _) in alike.items()}, **answers}
    made.guesses += [why for key, (order, why) in alike.items() if answers[key] == order]
    described = [parts_of(_answered(export, answers), answers) for export in _distinct(exports)]
    vendors = Counter(parts.vendor for parts in described if parts.vendor)
    made.mapping = {"description": "Drafted by salesgauge try", "source_system": "export"}
    if vendors:
        vendor = vendors.most_common(1)[0][0]
        made.mapping["source_system"] = vendor.lower().replace(" ", "-")
        made.guesses.append(f"The headers are those of {vendor}")
    made.mapping["timezone"] = timezone or "UTC"
    inputs: dict[str, object] = {}
    views: dict[str, str] = {}
    events: list[dict[str, str]] = []
    teams = next((parts for parts in described if parts.sort == "teams"), None)
    for parts in described:
        writer = {"deals": _Deals, "leads": _Leads, "spend": _Spend}.get(parts.sort)
        if writer is None:
            if parts.sort != "teams":
                _name_other(made, parts)
            continue
        written = writer(parts, made, answers, teams if parts.sort == "deals" else None)
        before = len(events)
        events += written.events()
        if len(events) > before:
            inputs[parts.export.name] = _input(parts.export, folder, answers)
            views |= written.views
            if written.joined:
                inputs[written.joined.export.name] = _input(written.joined.export, folder, answers)
    if teams and teams.export.name not in inputs:
        made.left_out.append(f"{teams.export.path.name}: teams of reps that no other file has")
    if made.currency:
        made.mapping["currency"] = made.currency
    made.mapping |= {"inputs": inputs, **({"views": views} if views else {}), "events": events}
    return made


def _orders_of_neighbours(exports: Sequence[Export]) -> dict[str, tuple[str, str]]:
    """For doubtful columns of dates, the order in which all other dates of their file are written, and why it is so.

    One program writes a file, in one notation. In a file whose other dates are in several orders, or all doubtful,
    nothing is concluded.
    """
    found = {}
    for export in exports:
        told = {column.read.order: column.name for column in export.columns if column.read and column.read.order}
        if len(told) != 1:
            continue
        [(order, neighbour)] = told.items()
        for column in export.columns:
            doubt = column.read.doubt if column.read else None
            if (
                doubt is not None
                and doubt.what == "date"
                and all(order in {name for name, _ in readings} for _, readings in doubt.examples)
            ):
                why = f"{export.path.name}: {column.name}: dates as in {neighbour}, where only {order} is possible"
                found[f"date:{column.name}"] = (str(order), why)
    return found


def _distinct(exports: Sequence[Export]) -> list[Export]:
    """The exports under names that differ."""
    seen: Counter[str] = Counter()
    named = []
    for export in exports:
        seen[export.name] += 1
        name = export.name if seen[export.name] == 1 else f"{export.name}_{seen[export.name]}"
        named.append(Export(name, export.path, export.spec, export.rows, export.columns, export.unreadable))
    return named


def _answered(export: Export, answers: MappingABC[str, str]) -> Export:
    """The export, in which a doubtful column is one of dates or numbers once there is an answer."""
    kept = []
    for column in export.columns:
        doubt = column.read.doubt if column.read else None
        answer = answers.get(f"{doubt.what}:{column.name}") if doubt else None
        if doubt is None or answer in (None, _NONE):
            kept.append(column)
            continue
        kind = "DATE" if doubt.what == "date" else "DOUBLE"
        kept.append(
            Described(column.name, kind, column.rows, column.filled, column.distinct, column.samples, column.values)
        )
    return Export(export.name, export.path, export.spec, export.rows, tuple(kept), export.unreadable)


def _input(export: Export, folder: Path, answers: MappingABC[str, str]) -> object:
    path = export.path.resolve()
    shown = str(path.relative_to(folder.resolve())) if path.is_relative_to(folder.resolve()) else str(path)
    spec: dict[str, object] = {"path": shown}
    for key in ("sheet", "encoding", "format"):
        if getattr(export.spec, key):
            spec[key] = getattr(export.spec, key)
    names = {column.name for column in export.columns}
    dates = {
        key.partition(":")[2]: answer
        for key, answer in answers.items()
        if key.startswith("date:") and answer != _NONE and key.partition(":")[2] in names
    }
    if dates:
        spec["dates"] = dates
    for key, answer in answers.items():
        if key.startswith("number:") and key.partition(":")[2] in names and answer != _NONE:
            spec["decimal_separator"] = answer
    return spec if len(spec) > 1 else shown


def _name_other(made: Draft, parts: Parts) -> None:
    what = {
        "activities": "looks like activities: response times and touches need them; write a query for activity_logged",
        "other": "it cannot be told what its rows are; say which column is what, such as "
        "--answer id=COLUMN --answer stage=COLUMN --answer amount=COLUMN --answer created=COLUMN "
        "--answer closed=COLUMN",
    }[parts.sort]
    made.left_out.append(f"{parts.export.path.name} ({parts.export.rows:,} rows): {what}")


# --- what all sorts of rows share


@dataclass(slots=True)
class _Writer:
    """Writes the queries of one export.

    Args:
        parts: the export and the parts that its columns play.
        made: the draft.
        answers: key of a question -> answer.
        teams: a file of the teams of reps.
    """

    parts: Parts
    made: Draft
    answers: MappingABC[str, str]
    teams: Parts | None = None
    views: dict[str, str] = field(default_factory=dict)
    joined: Parts | None = None

    @property
    def table(self) -> str:
        return self.parts.export.name

    @property
    def file(self) -> str:
        return self.parts.export.path.name

    def events(self) -> list[dict[str, str]]:
        raise NotImplementedError

    def take(self, part: str, field_name: str) -> str | None:
        """The column of a part, quoted; noted as a guess."""
        name = self.parts.name(part)
        if name is None:
            return None
        self.guess(f"{name}: {field_name}")
        return quoted(name)

    def guess(self, text: str) -> None:
        """Note why something is so."""
        self.made.guesses.append(f"{self.file}: {text}")

    def leave(self, text: str) -> None:
        """Note what is missing, and why."""
        self.made.left_out.append(f"{self.file}: {text}")

    def ask(self, question: DraftQuestion) -> str | None:
        """The answer to a question; without one the question is open."""
        answer = self.answers.get(question.key)
        if answer is None and question.key not in {asked.key for asked in self.made.questions}:
            self.made.questions.append(question)
        return None if answer == _NONE else answer

    def identity(self) -> str | None:
        """The column that tells rows apart."""
        column = self.parts.columns.get("id")
        if column is not None and column.distinct == column.filled:
            self.guess(f"{column.name}: the identifier, different in every row")
            return quoted(column.name)
        if column is not None:
            self.leave(f"all rows: {column.name} comes several times, so rows are versions or lines, not one each")
            return None
        for part in ("email", "name"):
            column = self.parts.columns.get(part)
            if column is not None and column.unique:
                self.guess(f"{column.name}: the identifier, since it is different in every row and there is no id")
                return quoted(column.name)
        self.leave("all rows: no column tells them apart; export the record's id as well")
        return None

    def kept(self) -> str:
        """SQL of the rows that are not deleted or archived; empty where nothing says so."""
        column = self.parts.columns.get("deleted")
        gone = _YES if column is not None else _NO
        column = column or self.parts.columns.get("active")
        said = {text.lower() for text, _ in column.values} if column is not None else set()
        if column is None or not said or not said <= {*_YES, *_NO}:
            return ""
        count = sum(number for text, number in column.values if text.lower() in gone)
        if count:
            self.leave(f"rows that are deleted or archived by {column.name}: {count:,}")
        return f"NOT {_says(column.name, gone)}"

    def time(self, part: str, what: str) -> str | None:
        """The column of a time, if its notation is clear or answered."""
        column = self.parts.columns.get(part)
        if column is None:
            return None
        if column.type in ("DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS"):
            self.guess(f"{column.name}: {what}" + (f", written {column.note}" if column.note else ""))
            return quoted(column.name)
        doubt = column.read.doubt if column.read else None
        if doubt is not None and doubt.what == "date":
            value, readings = doubt.examples[0]
            choices = tuple((order, f"{value} is {day}") for order, day in readings)
            self.ask(
                DraftQuestion(
                    f"date:{column.name}", f"{self.file}: how are the dates of {column.name} written?", choices
                )
            )
            self.leave(f"{column.name}: {doubt}")
        else:
            self.leave(f"{column.name}: not all of its values are times{f' ({column.note})' if column.note else ''}")
        return None

    def amount(self) -> tuple[str | None, bool]:
        """SQL of the amount, and whether it is certain that this is the amount."""
        shown = self.parts.columns.get("amount_shown")
        column = shown if shown is not None and _is_number(shown) else self.parts.columns.get("amount")
        if shown is not None and column is not shown:
            self.leave(
                f"amounts: {shown.name} is no plain amount, so the unit of {self.parts.name('amount')} is not known"
            )
            return None, True
        if column is None:
            column = self._asked_amount()
            if column is None:
                return None, not self.parts.amounts or self.answers.get("amount") == _NONE
        if not _is_number(column):
            return None, self._doubt_amount(column)
        self.guess(f"{column.name}: the amount" + (f", written {column.note}" if column.note else ""))
        self._currency(column)
        amount = quoted(column.name)
        period = self.parts.columns.get("period")
        if period is not None and any(text.lower() not in _ONE_OFF for text, _ in period.values):
            self.leave(f"amounts by month or year ({period.name}): what they come to is not known")
            amount = f"CASE WHEN lower({quoted(period.name)}) IN {_list(_ONE_OFF)} THEN {amount} END"
        return amount, True

    def _asked_amount(self) -> Described | None:
        choices = tuple((name, f"e.g. {', '.join(self._column(name).samples)}") for name in self.parts.amounts)
        if len(choices) == 1:
            self.guess(f"{choices[0][0]}: the only column of amounts")
            return self._column(choices[0][0])
        if not choices:
            self.leave("revenue: there is no column of amounts")
            return None
        question = DraftQuestion(
            "amount",
            f"{self.file}: which column is what a deal is worth?",
            (*choices, (_NONE, "leave amounts out")),
            needed=True,
        )
        answer = self.ask(question)
        if answer is None:
            self.leave(f"amounts: {' or '.join(self.parts.amounts)}")
        return self.parts.export.column(answer) if answer else None

    def _column(self, name: str) -> Described:
        column = self.parts.export.column(name)
        assert column is not None
        return column

    def _doubt_amount(self, column: Described) -> bool:
        """Ask what a column of amounts means; whether amounts may be left out without an answer."""
        doubt = column.read.doubt if column.read else None
        if doubt is not None and doubt.what == "number":
            value, readings = doubt.examples[0]
            signs = [way.rpartition("'")[0].rpartition("'")[2] for way, _ in readings]
            choices = tuple((sign, f"{value} is {number}") for sign, (_, number) in zip(signs, readings, strict=True))
            question = DraftQuestion(
                f"number:{column.name}", f"{self.file}: which sign begins the decimals of {column.name}?",
                (*choices, (_NONE, "leave amounts out")), needed=True,
            )  # fmt: skip
            self.ask(question)
            self.leave(f"{column.name}: {doubt}")
            return question.key in self.answers
        self.leave(f"{column.name}: not all of its values are numbers{f' ({column.note})' if column.note else ''}")
        question = DraftQuestion(
            f"number:{column.name}",
            f"{self.file}: {column.name} cannot be read as amounts ({column.note or 'mixed values'})",
            ((_NONE, "leave amounts out"),), needed=True,
        )  # fmt: skip
        self.ask(question)
        return question.key in self.answers

    def _currency(self, column: Described) -> None:
        """The currency by its column, by the sign of amounts or by the header."""
        named = self.parts.columns.get("currency")
        if named is not None and named.values:
            self.made.currency = named.values[0][0].upper()
            return
        sign = column.read.sign if column.read else ""
        words = [word for word in column.name.replace("(", " ").replace(")", " ").split() if currency_of(word)]
        found = (
            currency_of(sign)
            if sign
            else next((currency_of(w) for w in words if len(w) == len("EUR") and w.isupper()), None)
        )
        if found in (None, self.made.currency):
            if found is None:
                self.leave(
                    f"the currency of {column.name}: nothing says it; amounts are shown in the reporting currency"
                )
            return
        self.made.currency = found

    def currency(self) -> str | None:
        """The column of currencies, where there is one; amounts in others than the commonest are left out."""
        column = self.parts.columns.get("currency")
        if column is None or not column.values:
            return None
        if len(column.values) > 1:
            others = ", ".join(f"{count:,} in {code}" for code, count in column.values[1:])
            self.leave(f"amounts in other currencies than {column.values[0][0]} ({others}): they need rules.rates")
        return quoted(column.name)

    def in_one_currency(self, amount: str | None) -> str | None:
        """SQL of the amount where it is in the commonest currency."""
        column = self.parts.columns.get("currency")
        if amount is None or column is None or len(column.values) <= 1:
            return amount
        return f"CASE WHEN {quoted(column.name)} = {literal(column.values[0][0])} THEN {amount} END"


def _is_number(column: Described) -> bool:
    return column.type in ("BIGINT", "DOUBLE", "HUGEINT", "INTEGER", "FLOAT") or column.type.startswith("DECIMAL")


def _list(values: Sequence[str]) -> str:
    return f"({', '.join(literal(value) for value in values)})"


def _where(*conditions: str) -> str:
    """The clause of these conditions; empty ones are always true."""
    return f"WHERE {' AND '.join(condition for condition in conditions if condition)}"


def _says(column: str, values: Sequence[str]) -> str:
    return f"coalesce(lower(trim(CAST({quoted(column)} AS VARCHAR))) IN {_list(values)}, false)"


def _select(fields: MappingABC[str, str | None], source: str) -> str:
    columns = ",\n".join(
        f"  {name}" if sql == name else f"  {sql} AS {name}" for name, sql in fields.items() if sql is not None
    )
    return f"SELECT\n{columns}\nFROM {source}\n"


# --- deals


class _Deals(_Writer):
    """One row per deal as it is now: opened, won or lost."""

    def events(self) -> list[dict[str, str]]:
        self.guess(f"its rows are deals, by {self.parts.why}")
        identity = self.identity()
        ends = self._ends()
        if identity is None or ends is None:
            return []
        amount, certain = self.amount()
        if not certain:
            self.leave("all rows: without the amount the board would show a wrong revenue")
            return []
        won, lost, clear = ends
        view = f"{self.table}_deal"
        shared = self._shared(identity)
        fields = {**shared, "amount": self.in_one_currency(amount), "currency": self.currency() if amount else None}
        product, reason = self.take("product", "the product"), self.take("reason", "why a deal was lost")
        extra = {"product": product, "reason": reason, **self._times(), "is_won": won, "is_lost": lost}
        where = _where(f"{identity} IS NOT NULL", clear, self.kept())
        self.views[view] = _select({**fields, **extra}, f"{self._source()}\n{where}")
        return self._queries(view, {**fields, **extra})

    def _shared(self, identity: str) -> dict[str, str | None]:
        team = self.take("team", "the team")
        if team is None and self._joins():
            assert self.joined is not None
            team = f"team_of_rep.{quoted(self.joined.name('manager') or '')}"
            self.guess(f"{self.joined.export.path.name}: {self.joined.name('manager')} is the team of each rep")
        alias = f"{quoted(self.table)}." if self.joined else ""
        return {
            "deal_id": alias + identity,
            "lead_id": alias + identity,
            "account_id": self._of(alias, self.take("account", "the customer")),
            "rep_id": self._of(alias, self.take("owner", "the rep")),
            "team": team,
        }

    @staticmethod
    def _of(alias: str, column: str | None) -> str | None:
        return None if column is None else alias + column

    def _joins(self) -> bool:
        """Whether a file of teams has the reps of this one."""
        mine, theirs = self.parts.columns.get("owner"), self.teams.columns.get("owner") if self.teams else None
        if mine is None or theirs is None or not theirs.unique or self.teams is None:
            return False
        known = {text for text, _ in theirs.values}
        if not any(text in known for text, _ in mine.values):
            return False
        self.joined = self.teams
        return True

    def _source(self) -> str:
        if self.joined is None:
            return quoted(self.table)
        mine, theirs = self.parts.name("owner") or "", self.joined.name("owner") or ""
        return (
            f"{quoted(self.table)} LEFT JOIN {quoted(self.joined.export.name)} AS team_of_rep\n"
            f"  ON {quoted(self.table)}.{quoted(mine)} = team_of_rep.{quoted(theirs)}"
        )

    def _times(self) -> dict[str, str | None]:
        created = self.time("created", "when a deal was opened")
        closed = self.time("closed", "when it was won or lost")
        won, lost = self.time("won_at", "when it was won"), self.time("lost_at", "when it was lost")
        if closed is None and (won is None or lost is None):
            closed = self._asked_closing()
        at = {"won_at": (won, closed), "lost_at": (lost, closed)}
        return {
            "opened_at": created,
            **{name: _coalesced([column for column in columns if column]) for name, columns in at.items()},
        }

    def _asked_closing(self) -> str | None:
        """The forecast as the closing date, if somebody says so."""
        expected, changed = self.parts.columns.get("expected"), self.parts.columns.get("stage_changed")
        offered = (
            (changed, "take the latest change of stage, if closed deals keep their stage"),
            (expected, "take the forecast as the closing date"),
        )
        found = tuple((column.name, meaning) for column, meaning in offered if column is not None)
        choices = (*found, (_NONE, "show deals that are still open only"))
        answer = self.ask(DraftQuestion("closed", f"{self.file}: when were deals won or lost?", choices, needed=True))
        if answer is not None:
            return self.time("closed", "when it was won or lost")
        what = f"{expected.name} is a forecast" if expected else "no column says it clearly"
        self.leave(f"when deals were won or lost: {what}; export the actual closing date as well")
        return None

    def _queries(self, view: str, fields: MappingABC[str, str | None]) -> list[dict[str, str]]:
        shared = [name for name in ("deal_id", "lead_id", "account_id", "rep_id", "team") if fields[name]]
        money = [name for name in ("amount", "currency") if fields[name]]
        found = []
        if fields["opened_at"]:
            columns = {name: name for name in (*shared, *money)} | {"occurred_at": "opened_at"}
            undated = [
                f"NOT {end}" + (f" OR {at} IS NOT NULL" if fields[at] else "")
                for end, at in _ENDS
                if fields[end] != "false"
            ]
            where = " AND ".join(["opened_at IS NOT NULL", *(f"({condition})" for condition in undated)])
            found.append(_event("opportunity_created", columns, f"{view}\nWHERE {where}"))
        else:
            self.leave("open deals and cycles: nothing says when a deal was opened")
        for event, at, is_so, more in (
            ("deal_won", "won_at", "is_won", self._won_fields(fields)),
            ("deal_lost", "lost_at", "is_lost", self._lost_fields(fields)),
        ):
            if fields[at] is None or fields[is_so] == "false":
                continue
            reject = f"CASE WHEN {at} IS NULL THEN 'closed without a date' END"
            columns = {name: name for name in shared} | more | {"occurred_at": at, "reject_reason": reject}
            found.append(_event(event, columns, f"{view}\nWHERE {is_so}"))
        return found

    @staticmethod
    def _won_fields(fields: MappingABC[str, str | None]) -> dict[str, str]:
        if not fields["amount"]:
            return {}
        currency = {"currency": "currency"} if fields["currency"] else {}
        product = "coalesce(product, 'unknown')" if fields["product"] else "'unknown'"
        lines = f"[{{'product': {product}, 'quantity': 1, 'unit_price': amount}}]"
        return {"lines": f"CASE WHEN amount IS NOT NULL THEN {lines} END", **currency}

    @staticmethod
    def _lost_fields(fields: MappingABC[str, str | None]) -> dict[str, str]:
        return {name: name for name in ("product", "reason") if fields[name]}

    # what a deal's end is told by

    def kept(self) -> str:
        """As of all rows; what Odoo archives is lost, not gone."""
        return "" if self._archives_the_lost() else super().kept()

    def _archives_the_lost(self) -> bool:
        return self.parts.vendor == "Odoo" and "active" in self.parts.columns

    def _ends(self) -> tuple[str, str, str] | None:
        """SQL of won, of lost, and of 'its end is certain' (empty: always); None where nothing tells."""
        flag = self.parts.columns.get("is_won")
        closed = self.parts.columns.get("is_closed")
        if flag is not None and flag.type == "BOOLEAN":
            won = quoted(flag.name)
            self.guess(f"{flag.name}: whether a deal is won")
            if closed is not None and closed.type == "BOOLEAN":
                self.guess(f"{closed.name}: whether it is closed")
                return f"coalesce({won}, false)", f"coalesce({quoted(closed.name)} AND NOT {won}, false)", ""
        column = self._stages()
        if column is None:
            self.leave("all rows: no column with stages or statuses tells which deals are won")
            return None
        ends = self._by_stage(column)
        if ends is None or not self._archives_the_lost():
            return ends
        won, lost, clear = ends
        active = self.parts.name("active") or ""
        self.guess(f"{active}: what is archived is lost")
        return won, f"({lost} OR ({_says(active, _NO)} AND NOT {won}))", clear

    def _stages(self) -> Described | None:
        """The column that says how deals ended: a status with won and lost before a stage."""
        columns = [column for part in ("status", "stage") if (column := self.parts.columns.get(part)) is not None]
        with_values = [column for column in columns if column.values]
        telling = [c for c in with_values if any(meaning(text) in ("won", "lost") for text, _ in c.values)]
        return next(iter(telling or with_values), None)

    def _by_stage(self, column: Described) -> tuple[str, str, str] | None:
        means: dict[str, Meaning] = {text: meaning(text) for text, _ in column.values}
        ends: tuple[Meaning, ...] = ("won", "lost")
        for end in ends:
            stages = set(self.answers.get(end, "").split(","))
            means |= {text: end for text in means if text in stages}
        doubtful = [text for text, sense in means.items() if sense == "doubtful"]
        if doubtful and "won" in self.answers:
            means |= dict.fromkeys(doubtful, "open")
            doubtful = []
        counts = dict(column.values)
        won, lost = ([text for text, sense in means.items() if sense == key] for key in ("won", "lost"))
        if doubtful or not won:
            self._ask_stages(column, doubtful or list(means), needed=not won)
        if not won:
            self.leave(f"all rows: none of the values of {column.name} says clearly that a deal is won")
            return None
        for key, texts in (("won", won), ("lost", lost)):
            if texts:
                self.guess(f"{column.name}: {key} is {', '.join(f'{s} ({counts[s]:,})' for s in texts)}")
        if doubtful:
            named = ", ".join(f"{text} ({counts[text]:,})" for text in doubtful)
            self.leave(f"deals whose {column.name} may be an end or not: {named}")
        name = quoted(column.name)
        clear = f"trim({name}) NOT IN {_list(doubtful)}" if doubtful else ""
        unknown = f"({clear} OR {name} IS NULL)" if clear else ""
        return _among(name, won), _among(name, lost), unknown

    def _ask_stages(self, column: Described, stages: Sequence[str], *, needed: bool) -> None:
        counts = dict(column.values)
        choices = tuple((text, f"{counts[text]:,} deals") for text in stages)
        of = f"{self.file}: which values of {column.name} mean that a deal is"
        self.ask(DraftQuestion("won", f"{of} won?", (*choices, (_NONE, "none of them")), several=True, needed=needed))
        self.ask(DraftQuestion("lost", f"{of} lost?", (*choices, (_NONE, "none of them")), several=True))


_ENDS = (("is_won", "won_at"), ("is_lost", "lost_at"))


def _among(column: str, values: Sequence[str]) -> str:
    return f"coalesce(trim({column}) IN {_list(values)}, false)" if values else "false"


def _coalesced(columns: Sequence[str]) -> str | None:
    if not columns:
        return None
    return columns[0] if len(columns) == 1 else f"coalesce({', '.join(columns)})"


def _event(name: str, columns: MappingABC[str, str | None], source: str) -> dict[str, str]:
    return {"event": name, "sql": _select(columns, source)}


# --- leads and spend


class _Leads(_Writer):
    """One row per lead or contact."""

    def events(self) -> list[dict[str, str]]:
        self.guess(f"its rows are leads, by {self.parts.why}")
        identity = self.identity()
        created = self.time("created", "when the lead came")
        if identity is None or created is None:
            self.leave("all rows: leads need an identifier and the time of their creation")
            return []
        self.leave("response times and waiting leads: they need an export of activities; until then none is expected")
        fields = {
            "lead_id": identity,
            "occurred_at": created,
            "source": self.take("source", "where the lead came from"),
            "rep_id": self.take("owner", "the rep"),
            "team": self.take("team", "the team"),
            "location": self.take("location", "the location"),
            "needs_response": "false",  # without activities every lead would be late
        }
        where = _where(f"{identity} IS NOT NULL", self.kept())
        return [_event("lead_created", fields, f"{quoted(self.table)}\n{where}")]


class _Spend(_Writer):
    """One row per day and campaign."""

    def events(self) -> list[dict[str, str]]:
        self.guess(f"its rows are campaign costs, by {self.parts.why}")
        at = self.time("date", "the day")
        cost = self.parts.columns["cost"]
        campaign, source = self.take("campaign", "the campaign"), self.take("source", "the channel")
        if at is None or not _is_number(cost) or (campaign is None and source is None):
            self.leave("all rows: costs need a day, a readable amount and a campaign or channel")
            return []
        self.guess(f"{cost.name}: what was spent")
        named = _coalesced([column for column in (campaign, source) if column])
        fields = {"campaign_id": named, "channel": source, "occurred_at": at, "amount": quoted(cost.name)}
        rest = [c.name for c in self.parts.export.columns if quoted(c.name) not in fields.values()]
        apart = {f"_{number}": quoted(name) for number, name in enumerate(rest) if self._tells_apart(name)}
        return [_event("spend_recorded", {**fields, **apart}, quoted(self.table))]

    def _tells_apart(self, name: str) -> bool:
        """Texts such as the name of an ad tell rows apart; clicks and impressions are restated with the costs."""
        return self._column(name).type == "VARCHAR"
