"""Which column of an export plays which part: by the headers that CRMs write, and by what the values are."""

# ruff: noqa: E501 (tables of headers)

from __future__ import annotations

import re
from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from salesgauge.schemas.sources.describing import Described, Export

Sort = Literal["deals", "leads", "spend", "teams", "activities", "other"]

_NAMES: dict[str, str] = {
    "name": "deal name|opportunity name|deal title|name|title|subject",
    "email": "email|email address|e mail|work email|person email work|contact email|primary email|primary contact primary email",
    "created": "create date|created date|created time|created at|date created|creation date|created on|date added|added on"
    "|add time|created|deal created|lead created|person created|open date|opened|opened on|engage date|start date"
    "|creation log|erstellungsdatum|erstellt am|created time utc|signup date|record created|date entered|entered on|fecha de creación"
    "|negocio creado|trato creado|date de création|affaire créée|data de criação|negócio criado|data creazione|aangemaakt op|créée|creado|criado",
    "won_at": "won time|won date|date won|won at|won on|date de gain|fecha de ganado|fecha ganado|data de ganho|hora de ganho|gewonnen am",
    "lost_at": "lost time|lost date|date lost|lost at|lost on|date de perte|fecha de pérdida|fecha perdido|data de perda|hora de perda|verloren am",
    "closed": "close date|closed date|closing date|closed at|actual close date|date closed|closed on|closed time|closed"
    "|abschlussdatum|won lost at|deal close time|close time|end date|fecha de cierre|date de fermeture|date de clôture"
    "|data de fechamento|data di chiusura|sluitingsdatum|date closed won|closed won date",
    "expected": "expected close date|expected close|forecast close date|estimated close date|expected closing date",
    "stage_changed": "last stage change at|last stage change|stage last changed|stage changed at|stage change date|date entered current stage|stage updated at",
    "stage": "deal stage|opportunity stage|sales stage|milestone|deal phase|phase|stage|stage name|pipeline stage|current pipeline stage|status label|current stage|etapa|etapa del negocio|étape|phase de la transaction|etapa do negócio|estágio|fase",
    "status": "deal status|opportunity status|opportunity state|status|state|status type|outcome|result|won lost|statut|estado",
    "is_won": "is closed won|is won|iswon|won",
    "is_closed": "is closed|isclosed|is deal closed|closed lost|is deal closed",
    "amount": "amount|value|deal value|deal amount|opportunity value|opportunity amount|close value|deal size|contract value"
    "|revenue|total value|income|betrag|deal betrag|wert|umsatz|valor|importe|monto|montant|valeur|valore|importo|bedrag",
    "amount_shown": "value formatted",
    "period": "value period|bid type",
    "currency": "currency|currency code|deal currency|bid currency|value currency|currency of value|deal currency code"
    "|amount currency|opportunity currency|currency iso code|moneda|divisa|devise|moeda|valuta|währung",
    "owner": "deal owner|opportunity owner|lead owner|contact owner|owner|sales owner|owned by|user responsible|owner name"
    "|deal owner name|contact owner name|lead owner name|user name|sales agent|agent|assigned to|sales rep|rep|salesperson"
    "|assigned user name|zuständiger mitarbeiter für deal|verantwortlicher|besitzer|account executive|responsible|assignee|seller|ownerid|owner id|people|person responsible"
    "|propietario|propietario del negocio|propriétaire|propriétaire de la transaction|proprietário|proprietário do negócio|proprietario|eigenaar",
    "team": "team|sales team|hubspot team|hub spot team|deal owner team|group",
    "account": "account name|associated company primary|associated company|company name|company|organization|organization name"
    "|organisation|sales account|account|accounts|account id|customer|client|unternehmen|firma|kunde|organisation name|lead name"
    "|empresa|empresa asociada|organización|entreprise|entreprise associée|empresa associada|organização|azienda|bedrijf",
    "contact": "contact name|primary contact|contact person|associated contact|contact|contacts|contact id|primary contact name",
    "reason": "lost reason|closed lost reason|loss reason|reason lost|deal lost reason|motivo de pérdida|motif de perte|motivo da perda|verlustgrund",
    "deleted": "deleted|is deleted|archived|is archived",
    "active": "active|is active",
    "source": "lead source|source|original source|original traffic source|deal source|source name|utm source|leadsource"
    "|lead origin|primary lead source|quelle|channel|network|platform",
    "product": "product|product name|products|deal products|product category",
    "location": "city|country|region|office|regional office|location",
    "date": "date|day|reporting starts|week|month",
    "cost": "spend|cost|costs|amount spent|ad spend|amount spent eur|amount spent usd|marketing spend|spent",
    "campaign": "campaign|campaign name|campaign id",
    "manager": "manager|team|sales manager|regional office|team name",
    "lead_status": "lead status|lifecycle stage|contact status|lead stage",
    "first_name": "first name|last name|full name|firstname|lastname",
    "activity": "type|activity type|call duration|due date|call outcome|direction|task|due",
}  # fmt: skip
_PARTS = {part: names.split("|") for part, names in _NAMES.items()}
_IDS: dict[Sort, str] = {
    "deals": "record id|id de registro|id de registre|id del negocio|external id|deal id|opportunity id|copper id|item id auto generated|item id|datensatz id|opportunity number"
    "|deal number|do not modify opportunity|id|deal no|number|uuid|lead id",
    "leads": "record id|id de registro|id de registre|external id|lead id|contact id|person id|copper id|item id auto generated|item id|datensatz id"
    "|do not modify lead|do not modify contact|id|number|uuid",
}
"""Of the ids of several things in one row, that of the row itself: of deals the deal's, whatever leads they name. It
goes before a plain 'id', which in a history is that of the change."""
_PREFIX = re.compile(
    r"^custom |^(?:custom )?(deal|opportunity|opp|lead|person|contact|organization|affaire|transaction|negocio|trato|negócio) "
)
_AMOUNT_WORDS = re.compile(r"\b(amount|value|price|revenue|total)\b")
_NOT_AN_AMOUNT = re.compile(
    r"\b(weighted|forecast|expected|company currency|probability|tax|discount|cost|acv|arr|mrr|tcv|type|period|months?)\b"
)

VENDORS: dict[str, tuple[frozenset[str], ...]] = {
    "Attio": (frozenset({"record id", "deal stage", "associated people"}),),
    "Odoo": (frozenset({"expected revenue", "salesperson"}), frozenset({"expected revenue", "external id"})),
    "HubSpot": (frozenset({"record id", "deal stage", "close date"}), frozenset({"record id", "deal stage", "pipeline"}), frozenset({"record id", "lifecycle stage"}),
                frozenset({"record id", "contact owner"}), frozenset({"record id", "lead status"})),
    "Salesforce": (frozenset({"id", "stage name", "close date"}), frozenset({"opportunity id", "opportunity owner"}),
                   frozenset({"opportunity name", "opportunity owner", "stage"}), frozenset({"lead id", "lead owner"}),
                   frozenset({"id", "lead source", "is converted"})),
    "Pipedrive": (frozenset({"deal id", "deal title", "deal status"}), frozenset({"deal value", "deal title", "deal stage"}),
                  frozenset({"person id", "person name"}), frozenset({"lead id", "lead title"})),
    "Zoho": (frozenset({"record id", "deal owner", "closing date"}), frozenset({"id", "deal owner name", "closing date"}),
             frozenset({"deal name", "closing date", "stage"}), frozenset({"record id", "lead owner", "created time"})),
    "Close": (frozenset({"lead id", "status type", "value"}), frozenset({"lead id", "status label", "date created"})),
    "Freshsales": (frozenset({"deal stage", "sales owner", "sales account"}), frozenset({"sales owner", "deal pipeline"})),
    "Copper": (frozenset({"copper id"}), frozenset({"owned by", "primary contact", "loss reason"})),
    "monday": (frozenset({"deal value", "stage", "item id auto generated"}), frozenset({"deal value", "stage", "creation log"})),
    "Insightly": (frozenset({"opportunity state", "user responsible"}), frozenset({"opportunity id", "bid currency"})),
    "Zendesk Sell": (frozenset({"added on", "stage", "primary contact"}), frozenset({"value", "stage", "loss reason", "added on"})),
}  # fmt: skip
"""System -> sets of headers, one of which its exports have; it only names the source, meaning comes from the columns."""

VENDOR_PARTS: dict[str, dict[str, str]] = {
    "Odoo": {"amount": "expected revenue", "name": "opportunity"},  # Zoho's is weighted
}
"""System -> part -> the header that has it there and means something else in others."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that an export's columns play."""

    export: Export
    sort: Sort
    vendor: str | None
    columns: MappingABC[str, Described]
    amounts: tuple[str, ...]
    """Columns that may be the amount, where no header says which."""
    why: str
    """What the sort was told by."""

    def name(self, part: str) -> str | None:
        """The name of the column that plays a part."""
        column = self.columns.get(part)
        return column.name if column else None


def parts_of(export: Export, named: MappingABC[str, str]) -> Parts:
    """What sort of rows an export has, and which column plays which part.

    Args:
        export: the described file.
        named: part -> column, where somebody has said so.
    """
    headers = {_plain(column.name): column for column in export.columns if column.filled}
    said = {part: export.column(name) for part, name in named.items() if part in {*_PARTS, "id"}}
    found: dict[str, Described] = {part: column for part, column in said.items() if column is not None}
    for part, names in _PARTS.items():
        if part in found:
            continue
        taken = frozenset() if part in _SHARED else {column.name for column in found.values()}
        column = _playing(names, headers, taken)
        if column is not None:
            found[part] = column
    vendor = next((v for v, sets in VENDORS.items() if any(known <= _all(export) for known in sets)), None)
    for part, header in VENDOR_PARTS.get(vendor or "", {}).items():
        if part not in found and header in headers:
            found[part] = headers[header]
    amounts = () if "amount" in found else tuple(c.name for h, c in headers.items() if _is_amount(h, c))
    sort, why = _sort(found, amounts, export)
    if "id" not in found and sort in _IDS:
        identity = _playing(_IDS[sort].split("|"), headers, frozenset())
        if identity is not None:
            found["id"] = identity
    return Parts(export, sort, vendor, found, amounts, why)


def _playing(names: Sequence[str], headers: MappingABC[str, Described], taken: AbstractSet[str]) -> Described | None:
    """The column with the first of these names; a header that is one of them goes before one with a word in front."""
    stripped = {_PREFIX.sub("", header): column for header, column in reversed(list(headers.items()))}
    free = (columns[name] for columns in (headers, stripped) for name in names if name in columns)
    return next((column for column in free if column.name not in taken), None)


_SHARED = frozenset({"manager", "activity", "lead_status", "source", "date"})
"""Parts that may be played by a column that plays another one, since rows of one sort use only one of them."""


def _all(export: Export) -> frozenset[str]:
    return frozenset(_plain(column.name) for column in export.columns)


def _plain(header: str) -> str:
    """A header in lower case, without signs: 'Deal - Won time' -> 'deal won time', 'IsWon' -> 'is won'."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", header)
    return " ".join(re.findall(r"[^\W_]+", apart.lower()))


def _is_amount(header: str, column: Described) -> bool:
    number = column.type in ("BIGINT", "DOUBLE", "HUGEINT") or column.type.startswith("DECIMAL")
    doubtful = column.read is not None and column.read.doubt is not None and column.read.doubt.what == "number"
    return bool((number or doubtful) and _AMOUNT_WORDS.search(header) and not _NOT_AN_AMOUNT.search(header))


def _sort(found: MappingABC[str, Described], amounts: tuple[str, ...], export: Export) -> tuple[Sort, str]:
    """The sort of rows, and the columns that tell it."""
    progress = found.keys() & {"stage", "status", "is_won"}
    closing = found.keys() & {"closed", "won_at", "lost_at", "expected", "created"}
    money = found.keys() & {"amount", "amount_shown"} or set(amounts)
    people = found.keys() & {"email", "first_name", "lead_status"}
    if "cost" in found and "date" in found and not progress:
        return "spend", f"{found['date'].name} and {found['cost'].name}"
    if progress and closing and (money or not people) and not _is_about_people(export, found):
        return "deals", ", ".join(found[part].name for part in sorted(progress | closing))
    if "created" in found and (people or "source" in found):
        told = sorted(people or {"source"})
        return "leads", ", ".join(found[part].name for part in ("created", *told))
    if "owner" in found and "manager" in found and "created" not in found and not money:
        return "teams", f"{found['owner'].name} and {found['manager'].name}"
    if "activity" in found:
        return "activities", found["activity"].name
    return "other", ""


def _is_about_people(export: Export, found: MappingABC[str, Described]) -> bool:
    """Leads have statuses and dates, too; but a name of their own, and no closing."""
    closings = found.keys() & {"closed", "won_at", "lost_at", "expected", "amount"}
    return bool(found.keys() & {"email", "first_name"}) and not closings and "deal" not in export.name


# --- what a stage means

Meaning = Literal["won", "lost", "open", "doubtful"]

_NEGATED = re.compile(r"\b(not|no|un|nicht|pas)\b")
_WON = re.compile(r"\b(won|closedwon|win|gewonnen|gagn[eé]e?|ganad[oa]|ganho|vint[oa]|wygran[ae]|vunnen)\b")
_LOST = re.compile(r"\b(lost|closedlost|verloren|perdue?|perdid[oa]|pers[oa]|przegran[ae]|f\u00f6rlorad)\b")
_DOUBTFUL = re.compile(
    r"\b(abandoned|cancel+ed|suspended|dead|closed|done|paid|payment|signed|customer|completed?|success(ful)?|converted"
    r"|finished|finali[sz]ed|rejected|declined|refused|unqualified|disqualified|junk|duplicate|invoiced?|delivered|archived"
    r"|deleted|accepted|approved|sold|purchased|live|onboarded|no decision|expired|inactive|churned|ended|failed)\b"
)


def meaning(stage: str) -> Meaning:
    """What a stage or status says of a deal's end, as far as its words leave no doubt."""
    words = " ".join(re.findall(r"\w+", stage.lower()))
    won, lost = bool(_WON.search(words)), bool(_LOST.search(words))
    if (won or lost) and (won == lost or _NEGATED.search(words)):
        return "doubtful"
    if won or lost:
        return "won" if won else "lost"
    return "doubtful" if _DOUBTFUL.search(words) else "open"
