  // --- the address holds all that is chosen, so that any view can be sent
  const DEFAULTS = { window: known.window, by: "rep", team: "", rep: "", source: "", find: "", kpi: "", wall: "" };
  const scoped = () => Object.keys(state.scope).length > 0;
  function remember(fresh = false) {
    const now = { window: state.window, by: state.by, ...state.scope, find: $("search").value, kpi: state.opened || "", wall: document.body.classList.contains("wall") ? "1" : "" };
    const hash = new URLSearchParams(Object.entries(now).filter(([name, value]) => value && value !== DEFAULTS[name]));
    if (!hash.has("window")) hash.set("window", state.window);
    if (`#${hash}` !== location.hash) history[fresh ? "pushState" : "replaceState"](null, "", `#${hash}`);
    $("csv").href = `api/board?${new URLSearchParams({ window: state.window, ...state.scope, format: "csv" })}`;
  }
  function arrive() {
    const hash = { ...DEFAULTS, ...Object.fromEntries(new URLSearchParams(location.hash.slice(1))) };
    if (WINDOWS.includes(hash.window)) state.window = hash.window;
    if (SCOPES.includes(hash.by)) state.by = hash.by;
    state.scope = Object.fromEntries(SCOPES.filter((name) => hash[name]).map((name) => [name, hash[name]]));
    if ($("search").value !== hash.find) $("search").value = hash.find;
    filter();
    marks();
    choices();
    if (Boolean(hash.wall || new URLSearchParams(location.search).has("wall")) !== document.body.classList.contains("wall")) wall();
    if (kpis.has(hash.kpi)) { if (state.opened !== hash.kpi) display(hash.kpi); }
    else if ($("detail").open) { state.opened = null; state.pushed = false; $("detail").close(); }
    remember();
  }
  function returned() {
    const before = JSON.stringify([state.window, state.scope]), { next } = state;
    Object.assign(state, { leaving: false, next: null });
    arrive();
    if (next) open(next);
    if (before !== JSON.stringify([state.window, state.scope])) ask(true);
  }
  function marks() {
    for (const [group, name, chosen] of [["windows", "window", state.window], ["w-by", "by", state.by]]) {
      for (const button of $(group).children) {
        const on = button.dataset[name] === chosen;
        button.setAttribute("aria-checked", String(on));
        button.tabIndex = on ? 0 : -1;
      }
    }
  }
  function choose(name) {
    if (!WINDOWS.includes(name)) return;
    state.window = name;
    marks();
    const chosen = $("windows").querySelector("[aria-checked=true]"), box = chosen.closest("nav");
    box.scrollLeft = chosen.offsetLeft - box.offsetLeft - (box.clientWidth - chosen.offsetWidth) / 2;
    remember();
    ask(true);
  }
  // One team, rep or source at a time: numbers of two together are not kept.
  function narrow(name, value) {
    state.scope = value ? { [name]: value } : {};
    choices();
    remember(true);
    ask(true);
  }
  function choices() {
    const given = state.payload ? state.payload.choices : {};
    for (const name of SCOPES) {
      const node = $(`s-${name}`), chosen = state.scope[name] || "", values = [...new Set([...(given[name] || []), ...(chosen ? [chosen] : [])])];
      const text = JSON.stringify(values);
      if (node.dataset.text !== text) {
        node.dataset.text = text;
        node.replaceChildren(h("option", { value: "" }, "all"), ...values.map((value) => h("option", { value }, labelled(value, name))));
      }
      if (node.value !== chosen) node.value = chosen;
      flip(node.parentNode, "on", chosen);
    }
    $("clear").hidden = !scoped();
  }
  async function share() {
    let text = "Copied";
    try { await navigator.clipboard.writeText(location.href); } catch (error) { text = "Copy the address bar"; }
    put($("copy"), text);
    put($("said"), text === "Copied" ? "The link is copied" : text);
    setTimeout(() => put($("copy"), "Copy link"), 2000);
  }
