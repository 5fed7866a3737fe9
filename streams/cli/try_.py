"""`salesgauge try`: an export becomes a board, with a drafted mapping to go on from."""

from __future__ import annotations

import asyncio
import math
import shlex
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from salesgauge.streams.cli.common import Failed, available_port, err, explained, out
from salesgauge.streams.cli.live import run_loop, run_watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from salesgauge.schemas.events import EventBase
    from salesgauge.schemas.sources.conversion import Rejected
    from salesgauge.schemas.sources.drafting import Draft, DraftQuestion
    from salesgauge.streams.composition import Process
    from salesgauge.streams.settings.model import Settings

_PARTITIONS = 4
_LOOK_SECONDS = 0.2
_ROUNDS = 6
_ASKED_AT_MOST = 6
_SUFFIX = ".salesgauge.yaml"
_STARTING_SECONDS = 120.0


@click.command()
@click.argument("files", nargs=-1, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Ask nothing: what is doubtful is left out and named, or ends the command.")
@click.option(
    "--answer", "given", multiple=True, metavar="KEY=VALUE", help="Answer a question beforehand, as it is named there."
)
@click.option("--mapping", type=click.Path(path_type=Path, dir_okay=False), help="Use this mapping; draft none.")
@click.option("--draft-only", is_flag=True, help="Write the mapping and end, without a board.")
@click.option("--timezone", metavar="ZONE", help="Zone of times without one, and of the board (default: UTC).")
@click.option("--port", type=click.IntRange(0, 65535), default=9108, show_default=True, help="Port of the board.")
@click.option("--for", "seconds", type=click.FloatRange(min=1), metavar="SECONDS", help="End after this time.")
@click.option("--no-open", is_flag=True, help="Do not open the board in the browser.")
@explained
def try_command(
    files: tuple[Path, ...],
    given: tuple[str, ...],
    mapping: Path | None,
    timezone: str | None,
    port: int,
    seconds: float | None,
    *,
    yes: bool,
    draft_only: bool,
    no_open: bool,
) -> None:
    """Show the board of an export: CSV, Excel, Parquet or JSON files of a CRM.

    A mapping is drafted from the headers and values, with the reason for each guess, and written beside the export for
    editing. Then the files are converted and shown on a board of their own, at the time of their latest event: embedded
    broker, worker and exporter, all in this process. Nothing is kept but the mapping.

    Exit codes: 0 done, 1 nothing can be shown, or a question that must be answered was not; 2 an option is wrong.
    """
    if not files and mapping is None:
        raise click.UsageError("name one or more files of an export")
    path = mapping or _drafted(files, _answers(given), timezone=timezone, ask=not yes and sys.stdin.isatty())
    if draft_only:
        return
    with tempfile.TemporaryDirectory(prefix="salesgauge-") as folder:
        shown = _converted(path, files, Path(folder) / "events.jsonl", timezone)
        _board(shown, port=port, seconds=seconds, browse=not no_open and out.is_terminal)


def _answers(given: Iterable[str]) -> dict[str, str]:
    answers = {}
    for pair in given:
        key, separator, value = pair.partition("=")
        if not separator:
            raise click.UsageError(f"--answer {pair}: write it as KEY=VALUE")
        answers[key] = value
    return answers


# --- drafting


def _drafted(files: tuple[Path, ...], answers: dict[str, str], *, timezone: str | None, ask: bool) -> Path:
    """Draft and write the mapping of files; return its path."""
    from salesgauge.schemas.sources.describing import describe
    from salesgauge.schemas.sources.drafting import draft

    zone = timezone or "UTC"
    with err.status("reading"):
        exports = [export for file in files for export in describe(file, zone=zone)]
    folder = _folder(files[0])
    made = draft(exports, answers, folder=folder, timezone=timezone)
    for _ in range(_ROUNDS if ask else 0):
        if not made.questions:
            break
        answers |= {question.key: _asked(question) for question in made.questions[:_ASKED_AT_MOST]}
        made = draft(exports, answers, folder=folder, timezone=timezone)
    _say(made)
    needed = [question for question in made.questions if question.needed]
    if needed or not made.usable:
        _refuse(made, needed)
    path = _free(folder / f"{files[0].name.partition('.')[0]}{_SUFFIX}")
    path.write_text(made.text(f"salesgauge try --mapping {shlex.quote(path.name)}"), encoding="utf-8")
    err.print(f"mapping: {path} (edit it, then: salesgauge try --mapping {shlex.quote(str(path))})", markup=False)
    return path


def _folder(file: Path) -> Path:
    """Beside the export, or here if nothing can be written there."""
    beside = file.resolve().parent
    try:
        with tempfile.TemporaryFile(dir=beside):
            return beside
    except OSError:
        return Path.cwd()


def _free(path: Path) -> Path:
    """The path, or one with a number if there is such a file."""
    stem = path.name.removesuffix(_SUFFIX)
    number = 1
    while path.exists():
        number += 1
        path = path.with_name(f"{stem}-{number}{_SUFFIX}")
    return path


def _asked(question: DraftQuestion) -> str:
    """Ask on the terminal: by number or in words; several where the question allows."""
    err.print(f"\n{question.text}", markup=False)
    for number, (value, means) in enumerate(question.choices, 1):
        err.print(f"  {number}  {value}: {means}", markup=False)
    hint = "numbers, with commas" if question.several else "a number"
    while True:
        typed = click.prompt(f"  {hint}", err=True, default="", show_default=False).strip()
        if not typed:
            return "none"
        try:
            chosen = [question.choices[int(part) - 1][0] for part in typed.split(",") if int(part) > 0]
        except (ValueError, IndexError):
            continue
        if chosen and (question.several or len(chosen) == 1):
            return ",".join(chosen)


def _say(made: Draft) -> None:
    for line in made.guesses:
        err.print(f"  {line}", markup=False)
    for line in made.left_out:
        err.print(f"  left out: {line}", style="yellow", markup=False)


def _refuse(made: Draft, needed: list[DraftQuestion]) -> None:
    asked = needed or made.questions
    if not asked:
        raise Failed(
            "no file has rows that a board can be made of; docs/convert.md says how to write a mapping by hand"
        )
    lines = [
        f"{question.text}\n"
        + "\n".join(f"    --answer {shlex.quote(f'{question.key}={v}')}  ({m})" for v, m in question.choices)
        for question in asked
    ]
    raise Failed("without an answer the numbers would be wrong:\n" + "\n".join(lines))


# --- converting


@dataclass(slots=True)
class _Shown:
    """Events to be shown, and when."""

    file: Path
    count: int
    at: datetime
    zone: str
    currency: str | None


def _converted(path: Path, files: tuple[Path, ...], target: Path, timezone: str | None) -> _Shown:
    """Convert with the mapping. What lies ahead of the clock cannot be shown, and is said."""
    from salesgauge.schemas.sources.conversion import convert
    from salesgauge.schemas.sources.mapping import load_mapping
    from salesgauge.streams.cli.convert import report
    from salesgauge.streams.io.event_output import write_events

    began = time.perf_counter()
    mapping = load_mapping(path)
    now = datetime.now(UTC)
    latest = _Latest(now)
    results = convert(
        mapping,
        folders=(path.resolve().parent,),
        allowed=files,
        timezone=timezone,
        not_after=now,
        notice=lambda text: err.print(f"note: {text}", markup=False),
    )
    with err.status("converting"):
        summary = write_events(latest.watched(results), target, None)
    report(err, mapping, summary, seconds=time.perf_counter() - began)
    if latest.ahead:
        err.print(f"left out: {latest.ahead:,} events that lie in the future", style="yellow")
    if latest.at is None:
        raise Failed("no row became an event; the reasons are above")
    return _Shown(target, summary.events.total(), latest.at, timezone or mapping.timezone or "UTC", mapping.currency)


@dataclass(slots=True)
class _Latest:
    """The time of the latest event; those after ``now`` are taken out."""

    now: datetime
    at: datetime | None = None
    ahead: int = 0

    def watched(self, results: Iterable[EventBase | Rejected]) -> Iterator[EventBase | Rejected]:
        """The results without events that lie ahead."""
        from salesgauge.schemas.sources.conversion import Rejected

        for result in results:
            if isinstance(result, Rejected):
                yield result
            elif result.occurred_at > self.now:
                self.ahead += 1
            else:
                self.at = max(self.at or result.occurred_at, result.occurred_at)
                yield result


# --- the board


def _board(shown: _Shown, *, port: int, seconds: float | None, browse: bool) -> None:
    from salesgauge.streams.composition import process
    from salesgauge.streams.io.logs import quiet_logs
    from salesgauge.streams.kafka import topics
    from salesgauge.streams.kafka.embedded import EmbeddedBroker
    from salesgauge.streams.settings.model import load

    quiet_logs()
    with EmbeddedBroker() as broker:
        values: dict[str, Any] = {
            "kafka.bootstrap": broker.bootstrap, "kafka.partitions": _PARTITIONS, "kafka.replication": 1,
            "web.port": available_port(port), "rules.zone": shown.zone,
            "rules.unredacted": ["rep", "team", "source", "product"],
        }  # fmt: skip
        if shown.currency:
            values["rules.currency"] = shown.currency
        settings = load(None, values)
        topics.create(settings)
        published = _published(shown.file, settings)
        clock = _clock(shown.at)
        run_loop(
            _run(
                lambda: process(settings, worker=True, exporter=True, clock=clock),
                published,
                shown,
                seconds,
                browse=browse,
            )
        )


def _clock(at: datetime) -> Callable[[], int]:
    """Time that goes on from the latest event."""
    began, first = time.monotonic(), int(at.timestamp() * 1000) + 1
    return lambda: first + int((time.monotonic() - began) * 1000)


def _published(file: Path, settings: Settings) -> int:
    from salesgauge.streams.io.event_files import EventFiles
    from salesgauge.streams.io.rejects import Rejects
    from salesgauge.streams.kafka.publisher import Publisher
    from salesgauge.streams.operate.publish import publish

    with closing(EventFiles((str(file),))) as source, Publisher(settings.kafka) as publisher:
        return publish(source, publisher, Rejects(None)).sent


async def _run(
    build: Callable[[], Process], published: int, shown: _Shown, seconds: float | None, *, browse: bool
) -> None:
    built = build()
    await run_watched(built, _watch(built, published, shown, seconds, browse=browse))


async def _watch(built: Process, published: int, shown: _Shown, seconds: float | None, *, browse: bool) -> None:
    began = time.monotonic()
    assert built.exporter is not None
    assert built.server is not None
    while (totals := built.exporter.board.totals()).events + totals.rejected < published:
        if time.monotonic() - began > _STARTING_SECONDS:
            raise Failed(f"only {totals.events:,} of {published:,} events were processed in time")
        await asyncio.sleep(_LOOK_SECONDS)
    out.print(f"board   {built.server.url}/", markup=False)
    out.print(
        f"{published:,} events until {shown.at:%Y-%m-%d %H:%M} UTC, which is now on the board; Ctrl-C ends",
        markup=False,
    )
    if totals.rejected:
        err.print(
            f"{totals.rejected:,} events were refused (a currency without a rate, or an invalid value)", style="yellow"
        )
    if browse:
        click.launch(f"{built.server.url}/")
    await asyncio.sleep(math.inf if seconds is None else seconds)
