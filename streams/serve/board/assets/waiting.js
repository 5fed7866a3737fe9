  // --- leads waiting
  function ages(bands, nodes) { nodes.forEach((node, i) => { node.style.setProperty("flex-grow", String(bands[i] || 0)); node.hidden = !bands[i]; }); }
  function waiting() {
    const data = state.payload.waiting, count = $("w-count"), partly = state.payload.engine.state === "incomplete" ? "≥ " : "";
    put(count, partly + whole.format(data.count));
    count.dataset.value = data.count;
    const sla = duration(data.sla_seconds) + (data.business_hours ? " of business time" : "");
    put($("w-late"), data.late ? `${partly}${whole.format(data.late)} past the SLA of ${sla}` : state.payload.empty ? "No event has arrived yet" : `All within the SLA of ${sla}`);
    flip($("w-late"), "hot", data.late && state.payload.judged);
    $("w-late").dataset.value = data.late;
    put($("w-oldest"), data.oldest === undefined ? "" : `longest wait ${duration(data.oldest)}`);
    const names = data.bounds.map((bound, i) => i ? `${brief(data.bounds[i - 1])}–${brief(bound)}` : `under ${brief(bound)}`);
    names.push(`over ${brief(data.bounds[data.bounds.length - 1])}`);
    const box = $("w-ages");
    if (box.children.length !== names.length) {
      box.replaceChildren(...names.map((_, i) => h("i", { class: `a${i}` })));
      $("w-legend").replaceChildren(...names.map((name, i) => h("li", null, h("i", { class: `a${i}`, "aria-hidden": "true" }), `${name} `, h("b"))));
    }
    ages(data.bands, [...box.children]);
    [...$("w-legend").children].forEach((item, i) => put(item.lastChild, whole.format(data.bands[i])));
    box.setAttribute("aria-label", names.map((name, i) => `${name}: ${data.bands[i]}`).join(", "));
    const drawn = points("leads_waiting", data.count), chart = $("w-trend");
    chart.style.setProperty("visibility", drawn.length > 2 ? "visible" : "hidden");
    if (drawn.length > 2) chart.firstElementChild.setAttribute("d", trace(drawn, 200, 60, 2, Math.max(...drawn.map(([, value]) => value)) * 0.8).line);
    owners(data);
  }
  const OWNERS = 8;
  function owner() {
    const bar = h("span", { class: "mini" }, ...Array.from({ length: 6 }, (_, n) => h("i", { class: `a${n}` })));
    const name = h("button", { type: "button", onclick: () => narrow(state.by, name.dataset.value) });
    return h("tr", null, h("td", null, name), h("td", null, bar), h("td"), h("td"), h("td"));
  }
  function owners(data) {
    const by = data.by[state.by], found = by || { rows: [], more: 0 }, largest = Math.max(...found.rows.map((row) => row.count), 1);
    put($("w-dim"), state.by[0].toUpperCase() + state.by.slice(1));
    const box = $("w-rows"), lines = state.every ? Math.max(OWNERS, found.rows.length) : OWNERS;
    while (box.children.length < lines) box.append(owner());
    while (box.children.length > lines) box.lastChild.remove();
    [...box.children].forEach((line, i) => {
      const row = found.rows[i], [cell, bar, total, late, oldest] = line.children, name = cell.firstChild;
      put(name, row ? labelled(row.name, state.by) : "\u00a0");
      name.dataset.value = row ? row.name : ""; name.title = row ? `Only ${row.name}` : "";
      line.style.setProperty("visibility", row ? "visible" : "hidden");
      bar.firstChild.style.setProperty("width", `${row ? (row.count / largest) * 100 : 0}%`);
      bar.firstChild.style.setProperty("visibility", row ? "visible" : "hidden");
      ages(row ? row.bands : [], [...bar.firstChild.children]);
      put(total, row ? whole.format(row.count) : ""); put(late, row ? whole.format(row.late) : "");
      flip(late, "hot", row && row.late && state.payload.judged);
      put(oldest, row && row.oldest !== undefined ? rough(row.oldest) : "");
    });
    const beyond = found.rows.length > OWNERS;
    $("w-all").hidden = !beyond;
    put($("w-all"), state.every ? "Show fewer" : `Show all ${whole.format(found.rows.length + found.more)}`);
    put($("w-more"), beyond ? "" : by === undefined ? `Not known by ${state.by} within a ${Object.keys(state.payload.scope)[0] || "scope"}.` : data.count ? "" : state.payload.empty
      ? "Nothing to count yet. Publish events; `salesgauge doctor` tells whether they arrive." : "No lead is waiting: each has had a human answer.");
  }

  // --- needs attention
  function formatOf(kpi, stat) { const found = kpi && kpi.stats.find((one) => one.name === stat); return found ? found.format : kpi ? kpi.format : "count"; }
  function attention() {
    const { firing: list, watched, judged } = state.payload;
    const missed = new Set(list.map((item) => [item.kpi, item.stat, item.window, item.op, item.target, Object.keys(item.labels || {})].join())).size;
    put($("f-count"), judged ? `${whole.format(missed)} of ${whole.format(watched)} off target` : "not judged yet");
    const text = JSON.stringify([list, judged, state.payload.empty]);
    if (text === state.firing) return;
    state.firing = text;
    const calm = state.payload.empty ? "Nothing to judge yet." : !judged ? state.payload.engine.state === "incomplete" ? "Targets are judged once all parts are there." : "Targets are judged once all history is read." : "Nothing needs attention: all targets with enough behind them are met.";
    $("f-list").replaceChildren(...(list.length ? list.map((item) => {
      const kpi = kpis.get(item.kpi), format = formatOf(kpi, item.stat);
      const who = Object.entries(item.labels || {}).map(([name, value]) => value === "unknown" && name !== "rep" ? `unknown ${name}` : labelled(value, name)).join(" · ");
      const over = item.window === "all" ? "now" : windowed(item.window);
      return h("li", { "data-kpi": item.kpi }, h("span", { class: `tag ${item.severity}` }, item.severity),
        h("p", null, h("button", { type: "button", onclick: () => open(item.kpi) }, who ? `${item.summary}: ${who}` : item.summary)),
        h("p", null, `${against(item.value, item.target, item.op, format)} · ${over}${item.n === undefined ? "" : ` · n = ${whole.format(item.n)}`}`));
    }) : [h("li", { class: "calm" }, calm)]));
    fade();
  }
  function fade() { const list = $("f-list"); flip(list, "over", list.scrollTop + list.clientHeight < list.scrollHeight - 4); }
