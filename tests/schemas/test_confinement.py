"""A mapping from somebody else reads the inputs that it may read, and nothing else, and does not run for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from salesgauge.schemas.sources import inputs as inputs_module
from salesgauge.schemas.sources.conversion import convert
from salesgauge.schemas.sources.mapping import ConvertError, parse_mapping
from salesgauge.streams.cli.convert import convert_command

LEADS = "id,created\nL1,2026-01-01\n"
SQL = "SELECT id AS lead_id, created AS occurred_at FROM leads"


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """The folder of a mapping, and a secret file beside it."""
    folder = tmp_path / "theirs"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "leads.csv").write_text(LEADS)
    (tmp_path / "secret.csv").write_text(LEADS.replace("L1", "SECRET"))
    return folder, tmp_path / "secret.csv"


def run(folder: Path, path: Any = "data/leads.csv", sql: str = SQL, **more: Any) -> list[Any]:
    views = more.pop("views", {})
    content = {"inputs": {"leads": path}, "views": views, "events": [{"event": "lead_created", "sql": sql}]}
    return list(convert(parse_mapping(content), folders=(folder,), **more))


def refused(folder: Path, path: Any) -> str:
    with pytest.raises(ConvertError) as caught:
        run(folder, path)
    return str(caught.value)


@pytest.mark.parametrize(
    "path", ["../secret.csv", "data/../../secret.csv", "{secret}", "../*.csv", ["data/leads.csv", "{secret}"]]
)
def test_a_mapping_names_files_below_its_folder_only(places: tuple[Path, Path], path: Any) -> None:
    folder, secret = places
    named = [part.format(secret=secret) for part in path] if isinstance(path, list) else path.format(secret=secret)
    message = refused(folder, named)
    assert "outside of the mapping's folder" in message
    assert "--input leads=" in message


def test_links_are_followed_before_they_are_judged(places: tuple[Path, Path]) -> None:
    folder, secret = places
    (folder / "link.csv").symlink_to(secret)
    (folder / "up").symlink_to(secret.parent)
    assert "outside" in refused(folder, "link.csv")
    assert "outside" in refused(folder, "up/secret.csv")
    assert "outside" in refused(folder, "u*/*.csv")


def test_what_is_named_on_the_command_line_may_lie_anywhere(places: tuple[Path, Path]) -> None:
    folder, secret = places
    assert [e.lead_id for e in run(folder, overrides={"leads": str(secret)})] == ["SECRET"]
    assert [e.lead_id for e in run(folder, str(secret), allowed=[secret])] == ["SECRET"]


def test_the_command_does_not_look_in_the_current_folder(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, secret = places
    mapping = folder / "m.yaml"
    mapping.write_text(
        json.dumps({"inputs": {"leads": "secret.csv"}, "events": [{"event": "lead_created", "sql": SQL}]})
    )
    monkeypatch.chdir(secret.parent)
    arguments = [str(mapping), "--out", str(folder / "e.jsonl")]
    failed = CliRunner().invoke(convert_command, arguments)
    assert failed.exit_code == 2
    assert "--input leads=PATH" in failed.stderr
    assert CliRunner().invoke(convert_command, [*arguments, "--input", "leads=secret.csv"]).exit_code == 0


ESCAPES = [
    "SELECT content AS lead_id, now() AS occurred_at FROM read_text('{secret}')",
    "SELECT filename AS lead_id, now() AS occurred_at FROM read_blob('{secret}')",
    "SELECT id AS lead_id, created AS occurred_at FROM read_csv('{secret}')",
    "SELECT id AS lead_id, created AS occurred_at FROM '{secret}'",
    "SELECT id AS lead_id, created AS occurred_at FROM read_json_auto('{secret}')",
    "SELECT file AS lead_id, now() AS occurred_at FROM glob('{secret}')",
    "SELECT Columns::VARCHAR AS lead_id, now() AS occurred_at FROM sniff_csv('{secret}')",
    "SELECT file_name AS lead_id, now() AS occurred_at FROM parquet_metadata('{secret}')",
    "SELECT * FROM query('SELECT content AS lead_id, now() AS occurred_at FROM read_text(''{secret}'')')",
    "SELECT id AS lead_id, created AS occurred_at FROM 'https://example.org/x.csv'",
    "SELECT id AS lead_id, created AS occurred_at FROM read_csv('s3://bucket/x.csv')",
    "COPY leads TO '{folder}/out.csv'",
    "ATTACH '{folder}/x.db'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "PRAGMA database_list",
    "CREATE TABLE x AS FROM leads",
    "CREATE SECRET s (TYPE s3)",
    "EXPORT DATABASE '{folder}/x'",
    "SELECT 1; SELECT 2",
    "EXECUTE x",
    "CALL duckdb_settings()",
    "SELECT getenv('HOME') AS lead_id, now() AS occurred_at FROM leads",
    "SELECT id AS lead_id, created AS occurred_at FROM python_variable",
]


@pytest.mark.parametrize("sql", ESCAPES)
@pytest.mark.parametrize("as_view", [False, True])
def test_sql_cannot_reach_out(places: tuple[Path, Path], sql: str, as_view: bool) -> None:
    folder, secret = places
    python_variable = [{"id": "SECRET", "created": "2026-01-01"}]
    before = {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()}
    text = sql.format(secret=secret, folder=folder)
    arguments: dict[str, Any] = {"views": {"v": text}, "sql": "FROM v"} if as_view else {"sql": text}
    with pytest.raises(ConvertError) as caught:
        run(folder, **arguments)
    assert "SECRET" not in str(caught.value)
    assert {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()} == before
    assert python_variable


def test_a_query_that_never_ends_is_ended(places: tuple[Path, Path]) -> None:
    folder, _ = places
    endless = (
        f"WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) {SQL} WHERE (SELECT max(i) FROM n) > 0"
    )
    with pytest.raises(ConvertError, match="took longer than it may"):
        run(folder, sql=endless, seconds=1)


def test_a_query_that_wants_too_much_memory_is_ended(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = places
    monkeypatch.setattr(inputs_module, "_MEMORY", "60MB")
    greedy = f"{SQL} WHERE len((SELECT list(r) FROM range(200000000) AS t(r))) > 0"
    with pytest.raises(ConvertError, match="more memory"):
        run(folder, sql=greedy)
