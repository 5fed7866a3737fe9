  // --- keys, theme, wall
  const KEY_HELP = [[["/"], "find a KPI"], [["1", "…", "9", "0"], "window, from 1 h to all"], [["←", "→", "↑", "↓"], "move between KPIs"], [["Enter"], "open one in full"], [["[", "]"], "KPI before and next"],
    [["f"], "narrow to a team, rep or source"], [["x"], "whole company again"], [["r"], "leads waiting by rep, team, source"], [["l"], "list the leads that wait"], [["t"], "dark or light"], [["w"], "wall screen; arrows turn the page"], [["Esc"], "close, clear"]];
  function help() {
    $("keys").replaceChildren(h("article", null, header("Keys", "k-title"), h("dl", null, ...KEY_HELP.flatMap(([keys, text]) => [h("dt", null, ...keys.map((key) => h("kbd", null, key))), h("dd", null, text)]))));
    $("keys").showModal();
  }
  function store(name, value) { try { if (value === undefined) return localStorage.getItem(name); localStorage.setItem(name, value); } catch (error) { /* private mode: not remembered */ } return null; }
  const dark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  function theme() {
    const next = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    store("salesgauge-theme", next);
  }
  function wall(full) {
    const on = !document.body.classList.contains("wall");
    flip(document.body, "wall", on);
    $("wall").setAttribute("aria-pressed", String(on));
    clearInterval(state.turn);
    if (on) {
      $("search").value = ""; filter();
      for (const part of document.querySelectorAll("details.fold")) part.open = true;
      turn(0);
      state.turn = setInterval(() => turn(1), WALL_TURN);
      if (full && document.documentElement.requestFullscreen) document.documentElement.requestFullscreen().catch(() => {});
    } else if (document.fullscreenElement) document.exitFullscreen();
    scrollTo(0, 0);
    if (full) remember();
  }
  function turn(step) {
    const sections = [...$("kpis").children].filter((section) => !section.hidden);
    if (!sections.length) return;
    state.page = (state.page + step + sections.length) % sections.length;
    for (const section of $("kpis").children) flip(section, "on", section === sections[state.page]);
  }
  function move(key) {
    const shown = [...cells.values()].map((parts) => parts.opener).filter((node) => node.offsetParent);
    const at = shown.indexOf(document.activeElement);
    if (at < 0) { shown[0].focus(); return; }
    if (key === "ArrowRight" || key === "ArrowLeft") { const next = shown[at + (key === "ArrowRight" ? 1 : -1)]; if (next) next.focus(); return; }
    const here = shown[at].closest(".kpi").getBoundingClientRect(), down = key === "ArrowDown";
    const rows = shown.map((node) => [node, node.closest(".kpi").getBoundingClientRect()]).filter(([, box]) => down ? box.top > here.top + 2 : box.top < here.top - 2);
    if (!rows.length) return;
    const level = down ? Math.min(...rows.map(([, box]) => box.top)) : Math.max(...rows.map(([, box]) => box.top));
    const near = rows.filter(([, box]) => Math.abs(box.top - level) < 3).sort(([, a], [, b]) => Math.abs(a.left - here.left) - Math.abs(b.left - here.left))[0];
    near[0].focus();
  }
  function roving(event) {
    const group = event.target.closest("[role=radiogroup]");
    if (!group || !["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return false;
    const all = [...group.children], at = all.indexOf(event.target);
    const next = event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : (at + (event.key === "ArrowRight" ? 1 : -1) + all.length) % all.length;
    all[next].focus(); all[next].click();
    return true;
  }
  function keyed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const typing = event.target === $("search");
    if (event.key === "Escape") {
      if (typing || $("search").value) { $("search").value = ""; filter(); remember(); $("search").blur(); }
      else if (document.body.classList.contains("wall")) wall(true);
      return;
    }
    if (typing) { if (event.key === "Enter" || event.key === "ArrowDown") { event.preventDefault(); const first = [...cells].find(([key, parts]) => !key.startsWith("strip:") && !parts.root.hidden); if (first) first[1].opener.focus(); } return; }
    if (event.target.tagName === "SELECT") return;
    if (document.querySelector("dialog[open]")) {
      if (state.opened && (event.key === "[" || event.key === "]")) { event.preventDefault(); turnTo(state.opened, event.key === "]" ? 1 : -1); }
      return;
    }
    if (roving(event)) { event.preventDefault(); return; }
    const arrows = event.key.startsWith("Arrow"), walled = document.body.classList.contains("wall");
    if (event.key === "/") $("search").focus();
    else if (KEYS.includes(event.key)) choose(WINDOWS[KEYS.indexOf(event.key)]);
    else if (arrows && walled) turn(event.key === "ArrowRight" || event.key === "ArrowDown" ? 1 : -1);
    else if (arrows && (event.key.match(/Left|Right/) || (document.activeElement && document.activeElement.closest(".kpi")))) move(event.key);
    else if (event.key === "t") theme();
    else if (event.key === "w") wall(true);
    else if (event.key === "f") $("s-team").focus();
    else if (event.key === "x") narrow("team", "");
    else if (event.key === "r" && state.payload) { state.by = SCOPES_BY[(SCOPES_BY.indexOf(state.by) + 1) % 3]; marks(); remember(); waiting(); }
    else if (event.key === "l") open(WAITS);
    else if (event.key === "?") help();
    else return;
    event.preventDefault();
  }
  const SCOPES_BY = ["rep", "team", "source"];
  function listen() {
    $("search").addEventListener("input", () => { filter(); remember(); });
    $("theme").addEventListener("click", theme);
    $("wall").addEventListener("click", () => wall(true));
    $("help").addEventListener("click", help);
    $("copy").addEventListener("click", share);
    $("w-open").addEventListener("click", () => open(WAITS));
    $("w-all").addEventListener("click", () => { state.every = !state.every; waiting(); });
    $("clear").addEventListener("click", () => narrow("team", ""));
    for (const name of SCOPES) $(`s-${name}`).addEventListener("change", (event) => narrow(name, event.target.value));
    for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    $("detail").addEventListener("close", closed);
    $("f-list").addEventListener("scroll", fade, { passive: true });
    addEventListener("resize", fade);
    document.addEventListener("keydown", keyed);
    document.addEventListener("visibilitychange", () => { if (document.hidden) clearTimeout(state.timer); else ask(true); });
    addEventListener("popstate", returned);
  }
