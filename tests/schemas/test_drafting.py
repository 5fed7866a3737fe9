"""Mappings drafted for exports of ten CRMs: a right reading, or a question, never a wrong number."""

# ruff: noqa: E501 (exports as CRMs write them)

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from salesgauge.schemas.events import DealLost, DealWon, LeadCreated, OpportunityCreated, SpendRecorded
from salesgauge.schemas.sources.conversion import Rejected, convert
from salesgauge.schemas.sources.describing import describe
from salesgauge.schemas.sources.drafting import Draft, draft
from salesgauge.schemas.sources.mapping import parse_mapping
from salesgauge.schemas.sources.roles import meaning
from tests.support.shared import require_shared
from tests.support.workbooks import workbook

HUBSPOT = """Record ID,Deal Name,Deal Stage,Pipeline,Amount,Close Date,Create Date,Deal owner,Associated Company,Closed Lost Reason,Is Closed Won
1001,Acme renewal,Closed won,Sales,12000,2026-03-14 10:00,2026-01-05 09:00,Ada Byron,Acme,,true
1002,Beta,Closed lost,Sales,5000,2026-03-20 11:30,2026-01-07 10:00,Ben Okri,Beta,Price,false
1003,Gamma,Contract sent,Sales,7000.50,2026-05-01 00:00,2026-02-01 12:00,Ada Byron,Gamma,,false
1004,Delta,Closed won,Sales,800.25,2026-04-02 08:15,2026-02-11 12:00,Ben Okri,Delta,,true
"""
SALESFORCE = """Opportunity ID,Opportunity Name,Account Name,Stage,Amount,Amount Currency,Close Date,Created Date,Opportunity Owner,Lead Source,Type,Probability (%)
006A1,Acme,Acme Inc,Closed Won,"12,000.00",USD,4/14/2026,1/5/2026,Ada Byron,Web,New,100
006A2,Beta,Beta Ltd,Closed Lost,"5,000.00",USD,3/20/2026,1/17/2026,Ben Okri,Web,New,0
006A3,Gamma,Gamma,Negotiation/Review,"7,000.50",USD,5/1/2026,2/1/2026,Ada Byron,Fair,New,90
"""
SALESFORCE_DATA = """Id,Name,AccountId,StageName,Amount,CloseDate,CreatedDate,OwnerId,IsClosed,IsWon
006A1,Acme,001,Abgeschlossen,12000,2026-04-14,2026-01-05T09:00:00.000Z,005,true,true
006A2,Beta,002,Verloren,5000,2026-03-20,2026-01-17T09:00:00.000Z,005,true,false
006A3,Gamma,003,Angebot,7000,2026-06-20,2026-02-17T09:00:00.000Z,005,false,false
"""
PIPEDRIVE = """Deal - ID,Deal - Title,Deal - Value,Deal - Currency of Value,Deal - Stage,Deal - Status,Deal - Owner,Deal - Deal created,Deal - Won time,Deal - Lost time,Deal - Lost reason,Deal - Contact person,Deal - Organization,Deal - Expected close date
1,Acme,12000,EUR,Negotiation,Won,Ada,2026-01-05 09:00:00,2026-04-14 10:00:00,,,Ann,Acme,2026-04-01
2,Beta,5000,EUR,Proposal,Lost,Ben,2026-01-07 09:00:00,,2026-03-20 11:00:00,Price,Bob,Beta,2026-03-01
3,Gamma,7000,EUR,Proposal,Open,Ben,2026-02-07 09:00:00,,,,Cid,Gamma,2026-07-01
"""
ZOHO = """Record Id,Deal Owner,Amount,Deal Name,Closing Date,Account Name,Stage,Lead Source,Contact Name,Created Time
zcrm_1,Ada Byron,€ 12.000,Acme,14.04.2026,Acme,Closed Won,Web,Ann,05.01.2026 09:00
zcrm_2,Ben Okri,"€ 5.000,50",Beta,20.03.2026,Beta,Closed Lost,Web,Bob,07.01.2026 10:00
zcrm_3,Ben Okri,€ 700,Gamma,20.06.2026,Gamma,Qualification,Fair,Bob,08.01.2026 10:00
"""
CLOSE = """id,lead_id,lead_name,status_label,status_type,value,value_formatted,value_currency,value_period,date_created,date_won,date_lost,user_name
oppo_1,lead_1,Acme,Won,won,1200000,"$12,000.00",USD,one_time,2026-01-05T09:00:00+00:00,2026-04-14T10:00:00+00:00,,Ada
oppo_2,lead_2,Beta,Lost,lost,500000,"$5,000.00",USD,one_time,2026-01-07T09:00:00+00:00,,2026-03-20T11:00:00+00:00,Ben
oppo_3,lead_3,Gamma,Active,active,70000,$700.00,USD,one_time,2026-02-07T09:00:00+00:00,,,Ben
"""
FRESHSALES = """Id,Name,Amount,Currency,Deal stage,Sales owner,Sales account,Expected close,Closed date,Created at,Lost reason,Source
15001,Acme,12000.00,USD,Won,Ada,Acme,2026-04-10,2026-04-14,2026-01-05 09:00:00,,Web
15002,Beta,5000.00,USD,Lost,Ben,Beta,2026-03-01,2026-03-20,2026-01-07 09:00:00,Price,Web
15003,Gamma,700.00,USD,New,Ben,Gamma,2026-07-01,,2026-02-07 09:00:00,,Web
"""
COPPER = """Copper ID,Name,Company,Primary Contact,Owned By,Status,Pipeline,Stage,Value,Close Date,Created At,Loss Reason,Source
91,Acme,Acme,Ann,Ada,Won,Sales,Contract,"$12,000.00",04/14/2026,01/05/2026,,Web
92,Beta,Beta,Bob,Ben,Lost,Sales,Proposal,"$5,000.00",03/20/2026,01/17/2026,Price,Web
93,Gamma,Gamma,Cid,Ben,Open,Sales,Proposal,$700.00,07/20/2026,02/17/2026,,Web
94,Delta,Delta,Dan,Ben,Abandoned,Sales,Proposal,$900.00,02/20/2026,02/17/2026,,Web
"""
INSIGHTLY = """Opportunity ID,Opportunity Name,Opportunity State,Current Pipeline Stage,Opportunity Value,Bid Currency,Forecast Close Date,Actual Close Date,Date Created,User Responsible,Organization
1,Acme,WON,Closing,12000,GBP,10/04/2026,14/04/2026,05/01/2026 09:00,Ada,Acme
2,Beta,LOST,Proposal,5000,GBP,01/03/2026,20/03/2026,17/01/2026 09:00,Ben,Beta
3,Gamma,OPEN,Proposal,700,GBP,01/07/2026,,17/02/2026 09:00,Ben,Gamma
"""
ZENDESK = """ID,Name,Value,Currency,Stage,Owner,Company,Primary contact,Added on,Closed date,Loss reason,Source
7,Acme,12000,EUR,Won,Ada,Acme,Ann,2026-01-05T09:00:00Z,2026-04-14T10:00:00Z,,Web
8,Beta,5000,EUR,Lost,Ben,Beta,Bob,2026-01-07T09:00:00Z,2026-03-20T11:00:00Z,Price,Web
9,Gamma,700,EUR,Qualified,Ben,Gamma,Cid,2026-02-07T09:00:00Z,,,Web
"""
MONDAY: list[list[Any]] = [
    ["Deals", None, None, None, None, None, None],
    ["Active deals", None, None, None, None, None, None],
    ["Name", "Stage", "Owner", "Deal Value", "Close date", "Creation log", "Item ID (auto generated)"],
    ["Acme", "Won", "Ada", 12000, "2026-04-14", "Jan 5, 2026 09:00 AM", "501"],
    ["Beta", "Lost", "Ben", 5000, "2026-03-20", "Jan 7, 2026 09:00 AM", "502"],
    ["Gamma", "Proposal", "Ben", 700, None, "Feb 7, 2026 09:00 AM", "503"],
]


ATTIO = """Record ID,Deal name,Deal stage,Deal owner,Deal value,Associated people,Associated company,Created at,Created by,Close date
8f1c2d3e-0000-4000-8000-000000000001,Acme,Won 🎉,Ada Byron,"USD 12,000.00",Ann,Acme,2026-01-05T09:00:00.000000000Z,Ada Byron,2026-04-14
8f1c2d3e-0000-4000-8000-000000000002,Beta,Lost,Ben Okri,"USD 5,000.00",Bob,Beta,2026-01-07T09:00:00.000000000Z,Ben Okri,2026-03-20
8f1c2d3e-0000-4000-8000-000000000003,Gamma,In Progress,Ben Okri,"USD 700.00",Cid,Gamma,2026-02-07T09:00:00.000000000Z,Ben Okri,
"""
ODOO = """External ID,Opportunity,Expected Revenue,Stage,Salesperson,Sales Team,Created on,Closed Date,Lost Reason,Active,Probability,Customer,Currency
crm.lead_1,Acme,12000.0,Won,Ada,Europe,2026-01-05 09:00:00,2026-04-14 10:00:00,,True,100.0,Acme,EUR
crm.lead_2,Beta,5000.0,Proposition,Ben,Europe,2026-01-07 09:00:00,2026-03-20 11:00:00,Too expensive,False,0.0,Beta,EUR
crm.lead_3,Gamma,700.0,Qualified,Ben,America,2026-02-07 09:00:00,,,True,40.0,Gamma,EUR
"""
SUGAR = """id,name,account_name,amount,amount_usdollar,currency_id,sales_stage,date_entered,date_closed,assigned_user_name,lead_source,probability,deleted,lost_reason
a-1,Acme,Acme,12000.00,12000.00,-99,Closed Won,2026-01-05 09:00:00,2026-04-14,ada,Web,100,0,
a-2,Beta,Beta,5000.00,5000.00,-99,Closed Lost,2026-01-07 09:00:00,2026-03-20,ben,Web,0,0,Price
a-3,Gamma,Gamma,700.00,700.00,-99,Prospecting,2026-02-07 09:00:00,2026-07-20,ben,Fair,10,0,
a-4,Delta,Delta,900.00,900.00,-99,Closed Won,2026-02-07 09:00:00,2026-03-20,ben,Fair,100,1,
"""
HUBSPOT_SPANISH = """ID de registro,Nombre del negocio,Etapa del negocio,Fecha de cierre,Propietario del negocio,Valor,Fecha de creación,Empresa asociada
1,Acme,Cierre ganado,2026-04-14 10:00,Ada,12000,2026-01-05 09:00,Acme
2,Beta,Cierre perdido,2026-03-20 11:00,Ben,5000,2026-01-07 09:00,Beta
3,Gamma,Cita programada,2026-07-20 11:00,Ben,700,2026-02-07 09:00,Gamma
"""
PIPEDRIVE_FRENCH = """Affaire - ID,Affaire - Titre,Affaire - Valeur,Affaire - Devise,Affaire - Étape,Affaire - Statut,Affaire - Propriétaire,Affaire - Affaire créée,Affaire - Date de gain,Affaire - Date de perte
1,Acme,12000,EUR,Négociation,Gagné,Ada,2026-01-05 09:00:00,2026-04-14 10:00:00,
2,Beta,5000,EUR,Offre,Perdu,Ben,2026-01-07 09:00:00,,2026-03-20 11:00:00
3,Gamma,700,EUR,Offre,Ouvert,Ben,2026-02-07 09:00:00,,
"""
DYNAMICS = """(Do Not Modify) Opportunity,(Do Not Modify) Modified On,Topic,Potential Customer,Est. close date,Actual Close Date,Actual Revenue,Status,Owner,Created On
a1,4/14/2026 5:10 PM,Acme,Acme,4/10/2026,4/14/2026,12000,Won,Ada,1/5/2026 9:30 AM
a2,3/20/2026 1:00 PM,Beta,Beta,3/1/2026,3/20/2026,,Lost,Ben,1/7/2026 9:30 AM
a3,2/7/2026 1:00 PM,Gamma,Gamma,7/1/2026,,,Open,Ben,2/7/2026 9:30 AM
"""
SEVERAL_IDS = """id,contact_id,lead_id,name,value,stage_name,stage_category,owner_name,created_at,closed_at
1001,5001,900,Acme,12000,Won,won,Ada,2026-01-05T09:00:00Z,2026-04-14T10:00:00Z
1002,5002,900,Beta,5000,Lost,lost,Ben,2026-01-07T09:00:00Z,2026-03-20T11:00:00Z
1003,5003,900,Gamma,700,Qualified,qualified,Ben,2026-02-07T09:00:00Z,
"""
CLOSE_LEADS = """id,display_name,status_label,date_created,primary_contact_name,primary_contact_primary_email,num_calls,custom.Lead Owner,custom.Source
lead_1,Acme,Qualified,2026-01-05T09:00:00+00:00,Ann,ann@acme.test,2,Ada,Web
lead_2,Beta,Bad Fit,2026-01-07T09:00:00+00:00,Bob,bob@beta.test,0,Ben,Cold list
"""


def drafted(folder: Path, text: str | bytes, name: str = "deals.csv", **answers: str) -> Draft:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return draft(describe(folder / name), answers, folder=folder)


def events_of(folder: Path, made: Draft) -> list[Any]:
    mapping = parse_mapping(yaml.safe_load(made.text("x")))
    files = [Path(path) for spec in mapping.inputs.values() for path in spec.path]
    return [result for result in convert(mapping, folders=(folder,), allowed=files) if not isinstance(result, Rejected)]


def figures(events: list[Any]) -> tuple[Any, ...]:
    """Opened, won, lost, revenue."""
    kinds = Counter(type(event) for event in events)
    revenue = sum(
        (line.unit_price for event in events if isinstance(event, DealWon) for line in event.lines), Decimal()
    )
    return kinds[OpportunityCreated], kinds[DealWon], kinds[DealLost], revenue


@pytest.mark.parametrize(
    ("vendor", "text", "expected", "currency"),
    [
        ("hubspot", HUBSPOT, (4, 2, 1, Decimal("12800.25")), None),
        ("salesforce", SALESFORCE, (3, 1, 1, 12000), "USD"),
        ("salesforce", SALESFORCE_DATA, (3, 1, 1, 12000), None),
        ("pipedrive", PIPEDRIVE, (3, 1, 1, 12000), "EUR"),
        ("zoho", ZOHO, (3, 1, 1, 12000), "EUR"),
        ("close", CLOSE, (3, 1, 1, 12000), "USD"),
        ("freshsales", FRESHSALES, (3, 1, 1, 12000), "USD"),
        ("copper", COPPER, (3, 1, 1, 12000), None),  # of the abandoned one nobody knows what it is to be
        ("insightly", INSIGHTLY, (3, 1, 1, 12000), "GBP"),
        ("zendesk-sell", ZENDESK, (3, 1, 1, 12000), "EUR"),
        ("attio", ATTIO, (3, 1, 1, 12000), "USD"),
        ("odoo", ODOO, (3, 1, 1, 12000), "EUR"),  # archived there is lost
        ("export", SUGAR, (3, 1, 1, 12000), None),  # without the deleted deal
        ("export", HUBSPOT_SPANISH, (3, 1, 1, 12000), None),
        ("export", PIPEDRIVE_FRENCH, (3, 1, 1, 12000), "EUR"),
    ],
)  # fmt: skip
def test_exports_of_crms_without_an_answer(
    tmp_path: Path, vendor: str, text: str, expected: Any, currency: str | None
) -> None:
    made = drafted(tmp_path, text)
    assert made.mapping["source_system"] == vendor
    assert made.currency == currency
    assert not [question for question in made.questions if question.needed]
    events = events_of(tmp_path, made)
    assert figures(events) == expected
    won = [event for event in events if isinstance(event, DealWon)]
    assert {event.rep_id for event in won} <= {"Ada Byron", "Ben Okri", "Ada", "ada", "005"}
    assert f"{won[0].occurred_at:%m-%d}" in ("03-14", "04-02", "04-14")


def test_dates_are_written_as_the_others_of_their_file(tmp_path: Path) -> None:
    """1/5/2026 alone may be in May; beside 4/14/2026 it is not."""
    made = drafted(tmp_path, DYNAMICS)
    assert any("Created On: dates as in" in guess and "mdy" in guess for guess in made.guesses)
    events = events_of(tmp_path, made)
    assert figures(events) == (3, 1, 1, 12000)
    opened = sorted(f"{e.occurred_at:%m-%d}" for e in events if isinstance(e, OpportunityCreated))
    assert opened == ["01-05", "01-07", "02-07"]


def test_dates_of_a_file_with_several_notations_are_asked(tmp_path: Path) -> None:
    text = DYNAMICS
    for month_first, day_first in (("4/10/2026", "10/4/2026"), ("3/1/2026,", "28/3/2026,"), ("7/1/2026,", "1/7/2026,")):
        text = text.replace(month_first, day_first)
    made = drafted(tmp_path, text)
    assert "date:Created On" in {question.key for question in made.questions}
    assert not any("dates as in" in guess for guess in made.guesses)


def test_of_several_ids_the_rows_own_tells_deals_apart(tmp_path: Path) -> None:
    made = drafted(tmp_path, SEVERAL_IDS)
    assert "deals.csv: id: the identifier, different in every row" in made.guesses
    assert figures(events_of(tmp_path, made)) == (3, 1, 1, 12000)


def test_changes_of_deals_are_not_deals(tmp_path: Path) -> None:
    """Each change has an id of its own, but a deal has several."""
    made = drafted(tmp_path, SEVERAL_IDS.replace("lead_id", "deal_id"))
    assert not made.usable
    assert any("deal_id comes several times" in line for line in made.left_out)


def test_leads_by_the_mail_address_of_their_contact(tmp_path: Path) -> None:
    events = events_of(tmp_path, drafted(tmp_path, CLOSE_LEADS, "leads.csv"))
    assert [(e.lead_id, e.rep_id, e.source) for e in events] == [
        ("lead_1", "Ada", "Web"),
        ("lead_2", "Ben", "Cold list"),
    ]


def test_a_workbook_with_titles(tmp_path: Path) -> None:
    workbook(tmp_path / "deals.xlsx", Deals=MONDAY)
    made = draft(describe(tmp_path / "deals.xlsx"), {}, folder=tmp_path)
    assert made.mapping["source_system"] == "monday"
    assert figures(events_of(tmp_path, made)) == (3, 1, 1, 12000)


def test_what_may_be_an_end_is_asked_and_else_left_out_as_a_whole(tmp_path: Path) -> None:
    made = drafted(tmp_path, COPPER)
    (won, lost) = made.questions
    assert (won.key, lost.key, won.needed) == ("won", "lost", False)
    assert any("Abandoned (1)" in text for text in made.left_out)
    answered = drafted(tmp_path, COPPER, won="none", lost="Abandoned")
    assert figures(events_of(tmp_path, answered))[:3] == (4, 1, 2)
    as_open = drafted(tmp_path, COPPER, won="none", lost="none")
    assert figures(events_of(tmp_path, as_open))[:3] == (4, 1, 1)


@pytest.mark.parametrize("word", ["Payment Done", "Signed", "Customer", "Converted", "Closed", "Not won"])
def test_without_a_clear_win_there_is_a_question_and_no_board(tmp_path: Path, word: str) -> None:
    made = drafted(tmp_path, HUBSPOT.replace("Closed won", word).replace("Is Closed Won", "Nonsense"))
    assert not made.usable
    assert [question.key for question in made.questions if question.needed] == ["won"]
    assert (
        figures(
            events_of(
                tmp_path, drafted(tmp_path, HUBSPOT.replace("Closed won", word).replace("Is Closed Won", "x"), won=word)
            )
        )[1]
        == 2
    )


def test_amounts_that_may_be_several_columns_are_asked(tmp_path: Path) -> None:
    text = HUBSPOT.replace("Pipeline,Amount", "List price,Net price").replace("Sales,", "100,")
    made = drafted(tmp_path, text)
    assert not made.usable
    (question,) = made.questions
    assert (question.key, [value for value, _ in question.choices]) == ("amount", ["List price", "Net price", "none"])
    assert figures(events_of(tmp_path, drafted(tmp_path, text, amount="Net price")))[3] == Decimal("12800.25")
    assert figures(events_of(tmp_path, drafted(tmp_path, text, amount="none")))[1:] == (2, 1, 0)


def test_amounts_and_dates_with_two_readings_are_asked(tmp_path: Path) -> None:
    text = "Deal ID,Stage,Amount,Close Date,Create Date\n1,Won,1.500,03/04/2026,01/02/2026\n2,Lost,2.250,05/04/2026,02/02/2026\n"
    made = drafted(tmp_path, text)
    assert not made.usable
    keys = {question.key: question.needed for question in made.questions}
    assert keys["number:Amount"]
    answers = {"number:Amount": ",", "date:Close Date": "mdy", "date:Create Date": "mdy"}
    events = events_of(tmp_path, drafted(tmp_path, text, **answers))
    assert figures(events) == (2, 1, 1, 1500)
    assert {event.occurred_at.month for event in events} == {1, 2, 3, 5}


def test_doubtful_dates_are_left_out_and_asked(tmp_path: Path) -> None:
    text = "Deal ID,Stage,Amount,Close Date,Create Date\n1,Won,1500,03/04/2026,2026-02-01\n2,Lost,2250,05/04/2026,2026-02-02\n"
    made = drafted(tmp_path, text)
    assert {question.key: question.needed for question in made.questions} == {"date:Close Date": False, "closed": True}
    answered = drafted(tmp_path, text, **{"date:Close Date": "dmy"})
    assert not answered.questions
    assert figures(events_of(tmp_path, answered))[:3] == (2, 1, 1)


def test_a_forecast_is_no_closing(tmp_path: Path) -> None:
    made = drafted(tmp_path, FRESHSALES.replace("Closed date", "Whatever"))
    assert any("Expected close is a forecast" in text for text in made.left_out)
    assert [question.key for question in made.questions if question.needed] == ["closed"]
    text = FRESHSALES.replace("Closed date", "Whatever")
    assert figures(events_of(tmp_path, drafted(tmp_path, text, closed="none"))) == (1, 0, 0, 0)
    assert figures(events_of(tmp_path, drafted(tmp_path, text, closed="Expected close"))) == (3, 1, 1, 12000)


def test_deals_that_ended_without_a_date_are_neither_open_nor_won(tmp_path: Path) -> None:
    text = FRESHSALES + "15004,Delta,90.00,USD,Won,Ada,Delta,2026-04-10,,2026-01-05 09:00:00,,Web\n"
    assert figures(events_of(tmp_path, drafted(tmp_path, text))) == (3, 1, 1, 12000)


def test_a_history_is_not_one_row_per_deal(tmp_path: Path) -> None:
    made = drafted(tmp_path, HUBSPOT + HUBSPOT.splitlines()[1].replace("Closed won", "Qualified") + "\n")
    assert not made.usable
    assert any("comes several times" in text for text in made.left_out)


def test_amounts_by_month_and_in_other_currencies_are_left_out(tmp_path: Path) -> None:
    monthly = drafted(tmp_path, CLOSE.replace("one_time", "monthly", 1))
    assert figures(events_of(tmp_path, monthly))[1:] == (1, 1, 0)
    assert any("by month or year" in text for text in monthly.left_out)
    more = ZENDESK + "10,Delta,99,CHF,Won,Ada,Delta,Dan,2026-01-05T09:00:00Z,2026-04-14T10:00:00Z,,Web\n"
    made = drafted(tmp_path, more)
    assert figures(events_of(tmp_path, made)) == (4, 2, 1, 12000)
    assert any("1 in CHF" in text for text in made.left_out)


GERMAN = """Datensatz-ID;Deal-Name;Deal-Phase;Betrag;Abschlussdatum;Erstellungsdatum;Zuständiger Mitarbeiter für Deal
1;Köln;Gewonnen;1.200,50 €;14.03.2026;01.02.2026;Jörg
2;Bonn;Verloren;3.000,00 €;15.03.2026;02.02.2026;Jörg
"""


def test_an_export_of_windows_in_german(tmp_path: Path) -> None:
    made = drafted(tmp_path, GERMAN.encode("cp1252"))
    events = events_of(tmp_path, made)
    assert (figures(events), made.currency) == ((2, 1, 1, Decimal("1200.50")), "EUR")
    assert {event.rep_id for event in events} == {"Jörg"}


def test_columns_with_unknown_headers_can_be_named(tmp_path: Path) -> None:
    text = "Nr,Stand,Summe,Anfang,Ende\n1,Won,12,2026-01-05,2026-02-05\n2,Lost,7,2026-01-06,2026-02-06\n"
    made = drafted(tmp_path, text)
    assert not made.usable
    assert any("--answer stage=COLUMN" in said for said in made.left_out)
    named = {"id": "Nr", "stage": "Stand", "amount": "Summe", "created": "Anfang", "closed": "Ende"}
    assert figures(events_of(tmp_path, drafted(tmp_path, text, **named))) == (2, 1, 1, 12)


def test_leads_and_costs(tmp_path: Path) -> None:
    leads = "Record ID,First Name,Last Name,Email,Create Date,Original Source,Contact owner,Lifecycle Stage\n1,A,B,a@x.org,2026-01-05 09:00,Organic,Ada,Lead\n2,C,D,c@x.org,2026-01-06 09:00,Paid,Ben,Customer\n"
    made = drafted(tmp_path, leads, "contacts.csv")
    assert [(e.lead_id, e.source, e.rep_id) for e in events_of(tmp_path, made) if isinstance(e, LeadCreated)] == [
        ("1", "Organic", "Ada"), ("2", "Paid", "Ben"),
    ]  # fmt: skip
    assert not any(event.needs_response for event in events_of(tmp_path, made))
    spend = "Day,Campaign name,Amount spent (EUR),Impressions\n2026-01-05,brand,10.50,100\n2026-01-06,brand,20,90\n"
    made = drafted(tmp_path, spend.replace("Amount spent (EUR)", "Amount spent"), "ads.csv")
    costs = [event for event in events_of(tmp_path, made) if isinstance(event, SpendRecorded)]
    assert sum(event.amount for event in costs) == Decimal("30.50")


@pytest.mark.parametrize(
    ("stage", "means"),
    [("Closed Won", "won"), ("closedwon", "won"), ("8 - Closed (Won)", "won"), ("GEWONNEN", "won"), ("gagné", "won"), ("Closed Lost", "lost"),
     ("closedlost", "lost"), ("Lost - price", "lost"), ("perdido", "lost"), ("Not won", "doubtful"), ("Won/Lost", "doubtful"),
     ("Payment Done", "doubtful"), ("Closed", "doubtful"), ("Abandoned", "doubtful"), ("Proposal", "open"), ("On hold", "open"),
     ("Negotiation", "open"), ("Wonderful", "open"), ("Lostwithiel visit", "open")],
)  # fmt: skip
def test_what_stages_say(stage: str, means: str) -> None:
    assert meaning(stage) == means


def test_the_real_exports(tmp_path: Path) -> None:
    folder = require_shared("maven_crm")
    exports = [export for path in sorted(folder.glob("*.csv")) for export in describe(path)]
    made = draft(exports, {}, folder=tmp_path)
    events = events_of(tmp_path, made)
    assert figures(events) == (8300, 4238, 2473, 10_005_534)
    assert len({event.team for event in events if isinstance(event, DealWon)}) == 6
    school = describe(require_shared("school_crm") / "deals.csv")
    assert not draft(school, {}, folder=tmp_path).usable
    answers = {"won": "Payment Done", "amount": "Offer Total Amount"}
    opened, won, lost, _ = figures(events_of(tmp_path, draft(school, answers, folder=tmp_path)))
    rows = pl.read_csv(require_shared("school_crm") / "deals.csv", infer_schema=False).filter(
        pl.col("Id").is_not_null()
    )
    ended = rows.filter(pl.col("Closing Date").is_not_null())["Stage"].value_counts()
    counts = dict(ended.iter_rows())
    assert (won, lost) == (counts["Payment Done"], counts["Lost"])
    assert opened == won + lost + rows.filter(~pl.col("Stage").is_in(["Payment Done", "Lost"])).height
