"""The built-in board in a real browser."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.rules.model import Rules
from salesgauge.schemas.events import EVENTS, ActivityLogged, LeadCreated, SurveyAnswered
from salesgauge.streams.serve import board
from salesgauge.streams.serve.board.state import Progress
from tests.support import programs
from tests.support.board_server import NOON, BoardServer, filled_machine, milliseconds, serving
from tests.support.wait import until

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.e2e

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
LIVE = "[data-state=live]"
DAY = 86_400_000
# Each text against what lies behind it, by the formula of WCAG 2.2; large text may have less contrast.
CONTRAST = """() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const c = parse(getComputedStyle(at).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const poor = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim()) continue;
    if (!node.checkVisibility({ visibilityProperty: true })) continue;
    if (node.closest("script, style, .hidden, [aria-hidden=true], .none")) continue;
    const style = getComputedStyle(node), a = light(parse(style.color)), b = light(behind(node));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) poor.push(`${ratio.toFixed(2)} ${node.className} ${node.textContent}`);
  }
  return poor;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with programs.chromium() as running:
        yield running


@pytest.fixture(scope="module")
def busy() -> Iterator[BoardServer]:
    """A busy organisation; tests only read it."""
    with serving(BoardServer(filled_machine(), milliseconds(NOON))) as server:
        yield server


@contextmanager
def opened(
    browser: Browser, server: BoardServer, path: str = "", *, strict: bool = True, state: str = "live", **options: Any
) -> Iterator[Page]:
    """The page, live; if strict, neither errors nor requests elsewhere are let pass."""
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda m: wrong.append(m.text) if m.type in {"error", "warning"} else None)
    page.on("pageerror", lambda e: wrong.append(str(e)))
    page.on("request", lambda r: None if r.url.startswith((server.url, "data:")) else wrong.append(r.url))
    try:
        page.goto(server.url + path)
        page.wait_for_selector(f"[data-state={state}]")
        yield page
        if strict:
            assert wrong == []
    finally:
        context.close()


def becomes(page: Page, selector: str, text: str) -> None:
    """Wait for a text. The policy forbids the evaluation with which playwright would wait for a function."""
    until(lambda: text in (page.text_content(selector) or ""), 6, f"{selector} says {text!r}", every=0.1)


def small(*events: Any, zero_is_real: Collection[str] = tuple(EVENTS)) -> BoardServer:
    machine = Machine(rules=Rules(zone="Europe/Berlin", zero_is_real=frozenset(zero_is_real)))
    machine.advance(milliseconds(NOON))
    assert not [r for r in machine.apply(events) if r is not None]
    return BoardServer(machine, milliseconds(NOON))


def lead(name: str, minutes: float, rep: str = "ann") -> LeadCreated:
    at = NOON - timedelta(minutes=minutes)
    return LeadCreated(event_id=f"c-{name}", occurred_at=at, lead_id=name, rep_id=rep, source="web")


def touch(name: str, minutes: float) -> ActivityLogged:
    at = NOON - timedelta(minutes=minutes)
    return ActivityLogged(event_id=f"t-{name}", occurred_at=at, lead_id=name, rep_id="ann", kind="call")


def shown(page: Page) -> dict[str, str | None]:
    """KPI -> the raw value behind its headline in its role's section."""
    nodes = page.eval_on_selector_all(
        "#kpis .kpi",
        "nodes => nodes.map(n => [n.dataset.kpi, n.querySelector('.value')?.dataset.value])",
    )
    return {name: value for name, value in nodes}  # noqa: C416 - pairs come as lists


def asked(server: BoardServer, window: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(server.answer({"window": window}).body)
    return answer


@pytest.mark.parametrize("window", ["1h", "24h", "30d", "all"])
def test_the_page_shows_what_the_api_says(browser: Browser, busy: BoardServer, window: str):
    with opened(browser, busy, f"#window={window}") as page:
        payload = asked(busy, window)
        values = {k["id"]: k["value"] for k in payload["kpis"]}
        seen = shown(page)
        assert seen.keys() == values.keys()
        for name, value in values.items():
            text = seen[name]
            if "seconds" in name and text is not None and value is not None:
                assert float(text) == pytest.approx(value, abs=30), name  # waits and tenures go on
            else:
                assert (None if text is None else float(text)) == value, name
        assert page.inner_text("#w-count") == f"{payload['waiting']['count']:,}"
        assert page.get_attribute("#w-late", "data-value") == str(payload["waiting"]["late"])
        assert page.inner_text("#w-rows tr:first-child td:nth-child(3)") == str(
            payload["waiting"]["by"]["rep"]["rows"][0]["count"]
        )
        assert page.locator("#f-list li").count() == max(1, len(payload["firing"]))


def test_units_are_written_for_people(browser: Browser):
    server = small(lead("a", 50), touch("a", 45.8), lead("c", 3))
    with serving(server), opened(browser, server, "#window=1h") as page:
        cell = page.locator("#kpis [data-kpi=lead_response_seconds]")
        assert re.fullmatch(r"4 min (9|1\d) s", cell.locator(".value").inner_text())
        assert "n\u00a0=\u00a01, too few" in cell.locator(".meta").inner_text()
        assert page.inner_text("#kpis [data-kpi=sales_revenue] .value") == "€0"
        sla = page.locator("#kpis [data-kpi=lead_response_sla_ratio]")
        assert sla.locator(".value").inner_text() == "100 %"
        assert page.inner_text("#kpis [data-kpi=win_ratio] .meta") == "No deal closed in the last hour"
        assert page.inner_text("#kpis [data-kpi=customer_churn_ratio] .meta") == "Measured from 7d on"


def test_a_number_that_just_misses_its_target_does_not_read_as_kept(browser: Browser):
    answer = SurveyAnswered(
        event_id="a", occurred_at=NOON - timedelta(hours=1), respondent_id="a", kind="csat", score=3
    )
    others = (answer.model_copy(update={"event_id": f"s{i}", "respondent_id": f"r{i}", "score": 4}) for i in range(250))
    server = small(answer, *others)
    with serving(server), opened(browser, server, "#window=30d") as page:
        assert "just under 4, target at least 4" in page.inner_text("#f-list [data-kpi=csat_score]")


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_at_a_glance_is_cut(browser: Browser, busy: BoardServer, width: int):
    cut = """nodes => nodes.filter(n => n.scrollWidth > n.clientWidth).map(n => n.textContent)"""
    with opened(browser, busy, "#window=30d", viewport={"width": width, "height": 900}) as page:
        page.wait_for_selector("#strip .tag:not([hidden])")
        assert page.eval_on_selector_all("#strip .value, #strip .meta > span, #strip button", cut) == []
        roomy = page.evaluate(
            """() => { const pen = document.createElement("canvas").getContext("2d");
                 const node = document.getElementById("search"), style = getComputedStyle(node);
                 pen.font = style.font;
                 const inner = node.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
                 return inner - pen.measureText(node.placeholder).width; }"""
        )
        assert roomy >= 0


def test_a_target_that_is_missed_opens_where_it_is_touched(browser: Browser, busy: BoardServer):
    with opened(browser, busy, viewport={"width": 390, "height": 844}, has_touch=True) as page:
        item = page.locator("#f-list li").first
        item.scroll_into_view_if_needed()
        box = item.bounding_box()
        assert box is not None
        page.touchscreen.tap(box["x"] + 10, box["y"] + box["height"] - 5)
        page.wait_for_selector("#detail .targets")


def test_a_lead_nobody_answers_appears_ages_and_goes(browser: Browser):
    server = small(lead("old", 200), touch("old", 190))
    with serving(server), opened(browser, server) as page:
        assert page.inner_text("#w-count") == "0"
        assert "No lead is waiting" in page.inner_text("#w-more")
        assert "Nothing needs attention" in page.inner_text("#f-list")
        server.apply([lead("new", 1, "bob")])
        becomes(page, "#w-count", "1")
        assert page.inner_text("#w-rows tr:first-child td:first-child") == "bob"
        assert "All within the SLA" in page.inner_text("#w-late")
        server.pass_time(5 * 3600)
        page.wait_for_selector("#f-list [data-kpi=lead_oldest_wait_seconds] .critical", timeout=5000)
        assert page.inner_text("#w-late") == "1 past the SLA of 15 min"
        server.apply([touch("new", -5 * 60)])
        becomes(page, "#w-count", "0")
        page.wait_for_selector("#f-list .calm", timeout=5000)


def test_hostile_names_are_text(browser: Browser):
    server = small(*(lead(f"h{i}", 400, HOSTILE) for i in range(45)))
    with serving(server), opened(browser, server) as page:
        page.wait_for_selector("#f-list .critical")
        assert page.inner_text("#w-rows tr:first-child td:first-child").startswith("<img")
        assert HOSTILE in page.inner_text("#f-list")
        page.click("#kpis [data-kpi=leads_waiting] button")
        page.wait_for_selector("#detail .rows")
        assert HOSTILE.replace("_", " ") in page.inner_text("#detail")
        page.wait_for_timeout(200)
        assert page.locator("img").count() == 0
        assert page.title() == "45 waiting · salesgauge"


def test_the_policy_is_enforced_by_the_browser(browser: Browser, busy: BoardServer):
    with opened(browser, busy, strict=False) as page:
        blocked = page.evaluate(
            "() => { try { document.body.innerHTML = '<b>x</b>'; return ''; } catch (e) { return e.name; } }"
        )
        assert blocked == "TypeError"
        refused: list[str] = []
        page.on("console", lambda m: refused.append(m.text))
        page.evaluate("() => fetch('http://127.0.0.1:1/').catch(() => null)")
        until(lambda: any("Content Security Policy" in text for text in refused), 3, "a refusal")


def test_windows_switch_by_click_and_key_and_are_kept_in_the_address(browser: Browser, busy: BoardServer):
    with opened(browser, busy) as page:
        page.click("#windows [data-window='30d']")
        becomes(page, "#engine", "last 30 days")
        assert "window=30d" in page.url
        values = {k["id"]: k["value"] for k in asked(busy, "30d")["kpis"]}
        assert float(shown(page)["new_leads"] or 0) == values["new_leads"]
        page.keyboard.press("Escape")
        page.keyboard.press("1")
        becomes(page, "#engine", "last hour")
        page.keyboard.press("0")
        becomes(page, "#engine", "first event")
        assert page.get_attribute("#windows [aria-checked=true]", "data-window") == "all"
        page.reload()
        page.wait_for_selector(LIVE)
        assert page.get_attribute("#windows [aria-checked=true]", "data-window") == "all"


def test_the_keyboard_reaches_everything(browser: Browser, busy: BoardServer):
    with opened(browser, busy, "#window=30d") as page:
        page.keyboard.press("/")
        page.keyboard.type("win rate")
        visible = page.eval_on_selector_all(
            "#kpis .kpi", "nodes => nodes.filter(n => n.checkVisibility()).map(n => n.dataset.kpi)"
        )
        assert "win_ratio" in visible
        assert len(visible) < 5
        page.keyboard.press("Enter")
        for _ in range(visible.index("win_ratio")):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        page.wait_for_selector("#detail .rows")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Close"
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.closest('.kpi').dataset.kpi") in visible
        page.keyboard.press("Escape")
        assert page.input_value("#search") == ""
        page.keyboard.press("ArrowRight")
        first = page.evaluate("document.activeElement.closest('.kpi').dataset.kpi")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.closest('.kpi').dataset.kpi") != first
        page.keyboard.press("r")
        assert page.inner_text("#w-dim") == "Team"
        page.keyboard.press("?")
        page.wait_for_selector("#keys[open]")
        page.keyboard.press("Escape")
        page.keyboard.press("/")
        page.keyboard.type("nothing like it")
        assert "No KPI is called" in page.inner_text("#nothing")


def test_dark_and_light_follow_the_system_and_the_choice_is_remembered(browser: Browser, busy: BoardServer):
    with opened(browser, busy, color_scheme="dark") as page:
        paper = "getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(paper)
        page.keyboard.press("t")
        light = page.evaluate(paper)
        assert dark != light
        page.reload()
        page.wait_for_selector(LIVE)
        assert page.evaluate(paper) == light
        page.click("#theme")
        assert page.evaluate(paper) == dark


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [390, 1440])
def test_all_text_has_enough_contrast(browser: Browser, busy: BoardServer, scheme: str, width: int):
    size = {"width": width, "height": 900}
    with opened(browser, busy, color_scheme=scheme, viewport=size) as page:
        page.wait_for_timeout(100)
        assert page.evaluate(CONTRAST) == []


@pytest.mark.parametrize(("width", "window"), [(320, "24h"), (390, "24h"), (390, "all"), (820, "7d"), (2560, "30d")])
def test_no_width_scrolls_sideways(browser: Browser, busy: BoardServer, width: int, window: str):
    with opened(browser, busy, f"#window={window}", viewport={"width": width, "height": 844}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.eval_on_selector_all("details", "nodes => nodes.forEach(n => { n.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.click("#kpis [data-kpi=lead_response_seconds] button")
        page.wait_for_selector("#detail table")
        assert page.evaluate("document.getElementById('detail').scrollWidth") <= width


def test_a_refresh_moves_nothing(browser: Browser, busy: BoardServer):
    with opened(browser, busy) as page:
        page.evaluate(
            """() => { window.moved = 0;
                 const add = (list) => list.getEntries().forEach((e) => { window.moved += e.value; });
                 new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true }); }"""
        )
        before = len(busy.requests)
        until(lambda: len(busy.requests) >= before + 2, 10, "two refreshes", every=0.2)
        page.wait_for_timeout(200)
        assert page.evaluate("window.moved") < 0.05


def test_a_silent_exporter_makes_the_page_stale_until_it_answers(browser: Browser):
    server = small(lead("a", 3))
    with serving(server), opened(browser, server, strict=False) as page:
        server.broken = True
        page.wait_for_selector("[data-state=stale]", timeout=6000)
        assert "Stale since 15:3" in page.inner_text("#state")
        assert page.inner_text("#w-count") == "1"  # the last numbers stay, marked
        asked_then = len(server.requests)
        page.wait_for_timeout(2000)
        assert len(server.requests) - asked_then <= 1  # it backs off
        server.broken = False
        server.apply([lead("b", 2)])
        page.wait_for_selector(LIVE, timeout=12000)
        assert page.inner_text("#w-count") == "2"


def test_an_engine_that_is_not_ready_says_why(browser: Browser):
    server = small(lead("a", 3))
    with serving(server), opened(browser, server) as page:
        server.reasons = ("no heartbeat for 70 s",)
        page.wait_for_selector("[data-state=incomplete]", timeout=6000)
        assert page.inner_text("#state") == "Incomplete"
        assert page.inner_text("#w-count") == "≥ 1"
        assert "no heartbeat for 70 s" in page.inner_text("#engine")


def test_numbers_that_settle_after_merges_are_marked(browser: Browser):
    server = small(lead("a", 3))
    server.settling = True
    with serving(server), opened(browser, server) as page:
        becomes(page, "#state", "Settling 15:3")
        assert "settling merged records" in page.inner_text("#engine")
        server.settling = False
        becomes(page, "#state", "Live 15:3")


def test_a_page_that_is_not_looked_at_asks_nothing(browser: Browser):
    server = small(lead("a", 3))
    with serving(server), opened(browser, server) as page:
        page.evaluate(
            """() => { const get = () => window.away;
                 Object.defineProperty(document, "hidden", { get, configurable: true });
                 window.away = true; document.dispatchEvent(new Event("visibilitychange")); }"""
        )
        page.wait_for_timeout(300)
        before = len(server.requests)
        page.wait_for_timeout(2500)
        assert len(server.requests) == before
        page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }")
        until(lambda: len(server.requests) > before, 3)


def test_the_wall_turns_its_pages(browser: Browser, busy: BoardServer):
    size = {"width": 1920, "height": 1080}
    with opened(browser, busy, "?wall", viewport=size) as page:
        assert page.locator(".role:visible").count() == 1
        first = page.inner_text(".role:visible h2")
        page.keyboard.press("ArrowRight")
        assert page.inner_text(".role:visible h2") != first
        for _ in range(5):
            page.keyboard.press("ArrowRight")
            assert page.evaluate("document.documentElement.scrollHeight") <= 1080
        page.keyboard.press("w")
        assert page.locator(".role:visible").count() > 1


def test_landmarks_and_names_are_there(browser: Browser, busy: BoardServer):
    with opened(browser, busy) as page:
        for role in ("banner", "main", "contentinfo"):
            assert page.get_by_role(role).count() == 1, role
        assert page.get_by_role("heading", level=1).count() == 1
        unnamed = page.eval_on_selector_all(
            "button, a, input, select, [role=region], [role=img]",
            """nodes => nodes.filter(n => !(n.innerText || n.getAttribute('aria-label') || n.labels?.length))
                 .map(n => n.outerHTML)""",
        )
        assert unnamed == []
        assert page.get_attribute("#said", "aria-live") == "polite"
        becomes(page, "#said", "leads waiting")


def test_nothing_moves_for_those_who_asked_for_it(browser: Browser, busy: BoardServer):
    with opened(browser, busy, reduced_motion="reduce") as page:
        moving = page.eval_on_selector_all(
            "*", "nodes => nodes.filter(n => parseFloat(getComputedStyle(n).transitionDuration) > 0).length"
        )
        assert moving == 0


def test_an_empty_exporter_says_so(browser: Browser):
    server = small()
    with serving(server), opened(browser, server) as page:
        assert page.inner_text("#w-late") == "No event has arrived yet"
        assert "Nothing to judge yet" in page.inner_text("#f-list")
        assert "salesgauge doctor" in page.inner_text("#w-more")
        assert not page.is_visible("#w-rows tr")


def test_what_is_served_is_what_is_packed(busy: BoardServer):
    assert len(board.page_gzip()) < 40_000
    assert busy.requests == [] or all(path.startswith("/api/") for path in busy.requests)


# --- scope, address, states


def test_one_choice_narrows_every_number_and_what_cannot_be_narrowed_says_so(browser: Browser, busy: BoardServer):
    with opened(browser, busy, "#window=30d") as page:
        whole = int(page.get_attribute("#w-count", "data-value") or 0)
        page.select_option("#s-team", "SMB")
        becomes(page, "#f-count", "of 7")
        payload = json.loads(busy.answer({"window": "30d", "team": "SMB"}).body)
        assert page.get_attribute("#w-count", "data-value") == str(payload["waiting"]["count"])
        assert 0 < payload["waiting"]["count"] < whole
        assert page.inner_text("#kpis [data-kpi=competitor_price_ratio] .meta") == "cannot be told by team"
        values = {k["id"]: k["value"] for k in payload["kpis"]}
        assert float(shown(page)["deals_won"] or -1) == values["deals_won"]
        assert "team=SMB" in page.url
        page.reload()
        page.wait_for_selector(LIVE)
        assert page.input_value("#s-team") == "SMB"
        page.keyboard.press("x")
        becomes(page, "#f-count", "of 12")
        page.go_back()
        becomes(page, "#f-count", "of 7")


def test_the_address_holds_the_open_kpi_and_back_closes_it(browser: Browser, busy: BoardServer):
    with opened(browser, busy, "#window=30d") as page:
        page.click("#kpis [data-kpi=win_ratio] button")
        page.wait_for_selector("#detail .course")
        assert "kpi=win_ratio" in page.url
        sent = page.url
        page.go_back()
        page.wait_for_selector("#detail:not([open])", state="attached")
        assert "kpi=" not in page.url
        page.go_forward()
        page.wait_for_selector("#detail[open] .course")
        page.keyboard.press("]")
        becomes(page, "#d-title", "Demo close rate")
        page.keyboard.press("Escape")
        page.wait_for_selector("#detail:not([open])", state="attached")
        with opened(browser, busy, sent.removeprefix(busy.url)) as other:
            other.wait_for_selector("#detail[open] .course")
            assert other.inner_text("#d-title") == "Win rate"
            assert "target" in (other.text_content("#detail .course") or "")
            other.keyboard.press("Escape")
            other.wait_for_selector("#detail:not([open])", state="attached")
            assert other.url.startswith(busy.url)


def test_a_share_beside_a_target_of_another_window_names_both(browser: Browser, busy: BoardServer):
    with opened(browser, busy, "#window=30d") as page:
        card = page.inner_text("#kpis [data-kpi=lead_response_sla_ratio]")
        sla = next(k for k in asked(busy, "24h")["kpis"] if k["id"] == "lead_response_sla_ratio")
        assert "off target 24h" in card
        assert f"24h: {round(sla['value'] * 100, 1):g} %, target ≥ 90 %" in card


def test_nothing_is_shown_before_the_first_number_is_true(browser: Browser):
    server = small()
    server.reasons = ("reading the windows topic, 42 records to go",)
    with serving(server), opened(browser, server, state="starting") as page:
        assert page.locator("#board").is_hidden()
        assert "42 records to go" in page.inner_text("#blank")
        server.reasons = ()
        page.wait_for_selector(LIVE, timeout=5000)
        assert page.inner_text("#w-count") == "0"


def test_while_history_is_read_nothing_is_judged(browser: Browser):
    server = small(*(lead(f"l{i}", 400) for i in range(60)))
    at, first = server.now, server.now - 41 * DAY
    server.board.progress = Progress()
    server.board.progress.look(at - 3000, 10, at - 40 * DAY, first)
    server.board.progress.look(at - 1000, 10_000, at - 20 * DAY, first)
    with serving(server), opened(browser, server, state="catching-up") as page:
        assert re.fullmatch(r"Catching up, \d+ %", page.inner_text("#state"))
        assert "of the history is read" in page.inner_text("#note")
        assert "not judged" in page.inner_text("#f-count")
        assert page.locator(".tag.critical:visible").count() == 0
        assert page.evaluate("document.body.classList.contains('unjudged')")
        page.wait_for_selector(LIVE, timeout=25000)
        assert page.locator("#f-list .critical").count() > 0


def test_kpis_that_are_not_connected_stand_together_with_what_they_need(browser: Browser):
    server = small(lead("a", 50), touch("a", 45), zero_is_real=())
    with serving(server), opened(browser, server) as page:
        page.wait_for_selector("#unset li")
        assert "Cost per lead needs spend_recorded" in page.inner_text("#unset")
        assert page.locator("#kpis [data-kpi=cost_per_lead]").is_hidden()
        assert page.locator("#kpis [data-kpi=lead_response_seconds]").is_visible()
        assert page.inner_text("#strip [data-kpi=win_ratio] .meta") == "Not connected: no deal_won, no deal_lost"


def test_the_phone_folds_what_is_not_urgent(browser: Browser, busy: BoardServer):
    with opened(browser, busy, "#window=30d", viewport={"width": 390, "height": 844}) as page:
        assert page.evaluate("document.documentElement.scrollHeight") < 3200
        assert page.locator("#kpis .kpi:visible").count() == 0
        page.click("#role-0 summary")
        assert page.locator("#role-0 .kpi:visible").count() > 5


def leads_that_wait() -> BoardServer:
    """One late, one in time, of two reps; and a lead that was answered."""
    server = small(lead("late", 50), lead("soon", 5, rep="bob"), lead("done", 90), touch("done", 80))
    server.links = {"lead": "https://crm.example/leads/{id}"}
    return server


@pytest.mark.parametrize("width", [1440, 390])
def test_the_number_of_waiting_leads_opens_their_list(browser: Browser, width: int):
    """With the keyboard alone, on a wide and on a narrow screen; the list is live, and leads to the CRM."""
    with (
        serving(leads_that_wait()) as server,
        opened(browser, server, viewport={"width": width, "height": 844}) as page,
    ):
        page.focus("#w-open")
        page.keyboard.press("Enter")
        page.wait_for_selector("#detail .records tbody tr")
        rows = [row.split("\t") for row in page.locator("#detail .records tbody tr").all_inner_texts()]
        assert [(row[0], row[3]) for row in rows] == [("late", "ann"), ("soon", "bob")]
        assert "over" in rows[0][2]
        assert "over" not in rows[1][2]
        assert page.get_attribute("#detail .records tbody a", "href") == "https://crm.example/leads/late"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        server.apply([touch("late", 0)])
        until(lambda: page.locator("#detail .records tbody tr").count() == 1, 12, "the list follows", every=0.2)
        page.keyboard.press("Escape")
        page.keyboard.press("l")
        page.wait_for_selector("#detail .records tbody tr")


def test_each_number_names_its_records(browser: Browser):
    with serving(leads_that_wait()) as server, opened(browser, server, "#window=24h&kpi=lead_response_seconds") as page:
        page.wait_for_selector("#detail .records tbody tr")
        assert "lead done" in page.inner_text("#detail .records tbody")
        assert "10 min" in page.inner_text("#detail .records tbody")
        assert page.evaluate(CONTRAST) == []
    with serving(leads_that_wait()) as server:
        server.unanswered = "too many different questions at once; ask again"
        with opened(browser, server, "#window=24h&kpi=lead_response_seconds", strict=False) as page:
            becomes(page, "#detail .records", "cannot be shown: too many different questions")
