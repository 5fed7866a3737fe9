  // --- one KPI in full
  const address = (id) => `api/board?${new URLSearchParams({ window: state.window, ...state.scope, kpi: id })}`;
  const header = (title, id, ...tools) => h("header", null, h("h2", { id }, title), ...tools, h("button", { type: "button", class: "close", "aria-label": "Close", onclick: (event) => event.target.closest("dialog").close() }, "×"));
  const steps = (id) => ["‹", "›"].map((sign, i) => h("button", { type: "button", class: "act", "aria-label": i ? "Next KPI" : "KPI before", title: i ? "Next KPI (])" : "KPI before ([)", onclick: () => turnTo(id, i ? 1 : -1) }, sign));
  function turnTo(id, by) {
    const order = [...kpis.keys()];
    display(order[(order.indexOf(id) + by + order.length) % order.length]);
    remember();
  }
  function open(id) {
    if (state.leaving) { state.next = id; return; }
    const fresh = state.opened === null;
    display(id);
    remember(fresh);
    state.pushed = fresh;
  }
  async function display(id) {
    const kpi = kpis.get(id), dialog = $("detail");
    state.opened = id;
    dialog.replaceChildren(h("article", null, header(kpi.title, "d-title", ...steps(id)), h("p", { class: "help" }, kpi.help)));
    if (!dialog.open) dialog.showModal();
    try {
      const response = await fetch(address(id), { signal: AbortSignal.timeout(PATIENCE) });
      if (!response.ok) throw new Error(`status ${response.status}`);
      const data = await response.json();
      await begun;
      if (state.opened === id) detail(kpi, data);
    } catch (error) {
      if (state.opened === id) dialog.firstChild.append(h("p", { class: "help" }, "The exporter does not answer. Close and try again."));
    }
  }
  function closed() {
    if (state.opened === null || $("detail").open) return; // opened again before this event came
    state.opened = null;
    if (state.pushed) { state.pushed = false; state.leaving = true; history.back(); } else remember();
  }
  const ROWS = 12;
  const fact = (name, text) => text ? h("div", null, h("dt", null, name), h("dd", null, text)) : null;
  function detail(kpi, data) {
    const now = data.now, none = now.value === null, body = h("article", null, header(kpi.title, "d-title", ...steps(kpi.id)), h("p", { class: "help" }, kpi.help));
    now.read = kpi.windows.length === 1 ? kpi.windows[0] : data.window.name;
    const over = kpi.windows.length === 1 ? "now" : data.window.title, judgment = verdict(kpi, now);
    if (kpi.headline) {
      const fraction = now.numerator !== undefined && now.n !== undefined ? `${show(now.numerator, kpi.format === "money" ? "money" : "quotient")} of ${whole.format(now.n)}` : now.n !== undefined ? `n = ${whole.format(now.n)}` : "";
      body.append(h("div", { class: "facts-row" }, h("p", { class: `value${none ? " none" : now.few ? " few" : ""}` }, none ? "–" : show(now.value, kpi.format), kpi.per && !none ? h("small", null, kpi.per) : null),
        h("dl", { class: "facts" }, fact(over, now.why || (now.not_by ? `cannot be told by ${now.not_by.join(" and ")}` : [kpi.headline === "p50" ? "median" : "", fraction, now.few ? "too few to rely on" : ""].filter(Boolean).join(" · ") || who())),
          fact("against the period before", moved(kpi, now)), fact("likely (95 %)", now.likely && !now.few ? likely(now.likely).replace(" likely", "") : ""), fact("target", [wanted(kpi, now).replace("target ", ""), judgment.text].filter(Boolean).join(" · ")))));
    }
    if (kpi.id === WAITS) body.append(records(kpi, now.read));
    const width = Math.max(320, Math.min(920, $("detail").clientWidth - (innerWidth < 720 ? 32 : 56)));
    body.append(...(data.course ? course(kpi, data, width) : trend(kpi, data)), ...histogram(kpi, data));
    if (data.targets.length) body.append(h("h3", null, "Targets"), targets(kpi, data));
    if (data.breakdowns.length && !Object.keys(state.scope).length) body.append(h("div", { class: "columns" }, ...data.breakdowns.map((part) => breakdown(kpi, part, now)).filter(Boolean)));
    if (kpi.headline && data.over.length > 1) body.append(h("h3", null, "Over each window"), table(kpi, data));
    else if (now.stats && Object.keys(now.stats).length > 1) body.append(h("dl", null, ...secondary(kpi, now).flatMap(([name, text]) => [h("dt", null, name), h("dd", null, text)])));
    if (kpi.headline && kpi.id !== WAITS && !now.not_by && kpi.windows.includes(now.read)) body.append(records(kpi, now.read));
    const terms = [["Formula", kpi.definition], ["Scope", { cohort: "the leads that entered in the window, as they are now", period: "what happened in the window", stock: "current state" }[kpi.form]],
      kpi.caveats ? ["Caveats", kpi.caveats] : null, ["Needs", kpi.requires.map((group) => group.split("|").join(" or ")).join(", ")], ["Metric", kpi.metric]].filter(Boolean);
    body.append(h("dl", { class: "terms" }, ...terms.flatMap(([name, text]) => [h("dt", null, name), h("dd", null, text)])));
    const dialog = $("detail"), top = dialog.scrollTop;
    dialog.replaceChildren(body);
    dialog.scrollTop = top;
    dialog.querySelector(".close").focus({ preventScroll: true });
  }
  const who = () => Object.values(state.scope).join(" · ");
  function targets(kpi, data) {
    return h("ul", { class: "targets" }, ...data.targets.slice(0, 8).map((item) => {
      const format = formatOf(kpi, item.stat), stat = kpi.stats.find((one) => one.name === item.stat), who = Object.values(item.labels || {}).join(" · ");
      const which = item.stat === "value" || item.stat === kpi.headline ? "" : `${stat ? stat.label : item.stat}: `;
      const tag = item.firing ? h("span", { class: `tag ${item.severity}` }, `off target, ${item.severity}`) : h("span", { class: "muted" }, item.enough ? "on target" : "too few");
      const steps = item.firing && item.action.length ? h("ol", { class: "action" }, ...item.action.map((step) => h("li", null, step.replaceAll("*", "")))) : null;
      return h("li", null, tag, ` ${who ? `${who}: ` : ""}${which}${against(item.value, item.target, item.op, format)} ${item.window === "all" ? "now" : known.windows[item.window]}`, steps);
    }));
  }
  function table(kpi, data) {
    const extra = kpi.stats.filter((stat) => stat.name !== kpi.headline && !["value", "mean", "p99"].includes(stat.name)).slice(0, 4);
    const head = h("tr", null, h("th", { scope: "col" }, "Window"), h("th", { scope: "col" }, kpi.headline === "p50" ? "median" : "value"), ...extra.map((stat) => h("th", { scope: "col" }, stat.label)), h("th", { scope: "col" }, "n"));
    const lines = data.over.map((row) => h("tr", { class: row.window === data.window.name ? "on" : null }, h("td", null, windowed(row.window)), h("td", null, show(row.value, kpi.format)),
      ...extra.map((stat) => h("td", null, show((row.stats || {})[stat.name], stat.format))), h("td", null, row.n === undefined ? "" : whole.format(row.n))));
    return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Over each window" }, h("table", null, h("thead", null, head), h("tbody", null, ...lines)));
  }
  function breakdown(kpi, part, now) {
    const name = part.by.join(" and "), target = now.target && now.target.window === now.read ? now.target.target : null;
    if (!part.rows.length) return null;
    const largest = Math.max(...part.rows.map((row) => row.likely ? row.likely[1] : Math.abs(row.value)), target || 0) || 1, at = (value) => `${((Math.abs(value) / largest) * 100).toFixed(1)}%`;
    const order = { largest: "largest first", highest: "highest first", lowest: "lowest first", natural: "" }[part.order];
    const first = part.rows.slice(0, ROWS), rest = part.rows.slice(ROWS), list = h("ul", { class: "rows" });
    const made = (row) => {
      const bar = h("span", { class: "b" }, h("i")), few = row.n !== undefined && row.n < state.payload.min_n;
      bar.firstChild.style.setProperty("width", at(row.value));
      if (row.likely && !few) { const range = h("s"); range.style.setProperty("left", at(row.likely[0])); range.style.setProperty("width", at(row.likely[1] - row.likely[0])); bar.append(range); }
      if (target !== null) { const tick = h("u"); tick.style.setProperty("left", at(target)); bar.append(tick); }
      const single = part.by.length === 1 && SCOPES.includes(part.by[0]);
      const label = single ? h("button", { type: "button", title: `Only ${row.name[0]}`, onclick: () => { $("detail").close(); narrow(part.by[0], row.name[0]); } }, joined(row.name, part.by)) : joined(row.name, part.by);
      return h("li", { class: few ? "few" : null }, h("span", { title: row.name.join(" · ") }, label), bar, h("span", null, show(row.value, kpi.format)), h("span", null, row.n === undefined ? "" : `n = ${whole.format(row.n)}${few ? ", few" : ""}`));
    };
    list.append(...first.map(made));
    const more = rest.length ? h("button", { type: "button", class: "more", onclick: () => { list.append(...rest.map(made)); more.remove(); } }, `Show all ${part.rows.length + part.more}`) : null;
    return h("section", null, h("h3", null, `By ${name}`, order ? h("small", null, ` ${order}`) : null), list, more, part.more ? h("p", { class: "more" }, `and ${part.more} more`) : null);
  }
