"use strict";
(() => {
  // Texts that come from a CRM reach the page as text nodes only: nothing here parses HTML.
  const $ = (id) => document.getElementById(id);
  const known = JSON.parse($("data").textContent);
  const WINDOWS = Object.keys(known.windows);
  const NAMES = { all: "all", today: "today", mtd: "month", qtd: "quarter", "365d": "1 y" };
  const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0"];
  const EVERY = 1500, SLOWEST = 30000, PATIENCE = 8000, WALL_TURN = 20000, ANNOUNCE = 15000;
  const SVG = "http://www.w3.org/2000/svg";
  const kpis = new Map(known.roles.flatMap((role) => role.kpis.map((kpi) => [kpi.id, kpi])));
  const state = {
    window: known.window, by: "rep", payload: null, trends: {}, stamp: {}, failures: 0, timer: 0, asked: 0, opened: null,
    turn: 0, page: 0, said: 0, firing: "", waiting: null,
  };

  // --- DOM
  function h(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false && value !== undefined) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  }
  function s(tag, attributes) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
    return node;
  }
  const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  const flip = (node, name, on) => node.classList.toggle(name, Boolean(on));

  // --- numbers for people
  const english = (options) => new Intl.NumberFormat("en-GB", options);
  const whole = english({ maximumFractionDigits: 0 });
  const one = english({ maximumFractionDigits: 1 });
  const two = english({ maximumFractionDigits: 2 });
  const small = english({ maximumSignificantDigits: 2 });
  const purses = new Map();
  function money(value) {
    const code = (state.payload && state.payload.currency) || "EUR", size = Math.abs(value);
    const kind = size >= 1e7 ? "compact" : size < 1000 && value % 1 ? "cents" : "whole";
    const key = code + kind;
    if (!purses.has(key)) {
      const shape = { style: "currency", currency: code, currencyDisplay: "narrowSymbol" };
      const digits = kind === "cents" ? 2 : 0;
      purses.set(key, english(kind === "compact" ? { ...shape, notation: "compact", maximumFractionDigits: 2 }
        : { ...shape, minimumFractionDigits: digits, maximumFractionDigits: digits }));
    }
    return purses.get(key).format(value).replace("-", "−");
  }
  function duration(seconds) {
    const sign = seconds < 0 ? "−" : "", size = Math.abs(seconds);
    const rounded = Math.round(size);
    if (size < 10 && size % 1) return `${sign}${one.format(size)} s`;
    if (rounded < 60) return `${sign}${rounded} s`;
    if (rounded < 3600) return sign + pair(rounded, 60, "min", 1, "s");
    if (rounded < 86400) return sign + pair(Math.round(rounded / 60), 60, "h", 1, "min");
    if (rounded < 100 * 86400) return sign + pair(Math.round(rounded / 3600), 24, "d", 1, "h");
    return `${sign}${whole.format(rounded / 86400)} d`;
  }
  function pair(units, per, large, _, small) {
    const high = Math.floor(units / per), low = units % per;
    return low ? `${high} ${large} ${low} ${small}` : `${high} ${large}`;
  }
  function share(value) {
    const percent = value * 100, size = Math.abs(percent);
    const text = size && size < 0.1 ? two.format(percent) : size < 1000 ? one.format(percent) : whole.format(percent);
    return `${text.replace("-", "−")} %`;
  }
  function show(value, format) {
    if (value === null || value === undefined) return "–";
    if (format === "share") return share(value);
    if (format === "seconds") return duration(value);
    if (format === "money") return money(value);
    if (format === "minutes") return duration(value * 60);
    if (format === "months") return `${one.format(value)} months`;
    if (format === "points") return (Math.abs(value) <= 5 ? two : one).format(value).replace("-", "−");
    return (format === "count" ? whole : Math.abs(value) < 0.1 ? small : Math.abs(value) < 100 ? two : one).format(value).replace("-", "−");
  }
  // A number that misses its target by less than its last digit would read as if it were kept.
  function against(value, target, op, format) {
    const text = show(value, format);
    const miss = text !== show(target, format) || value === target ? "" : value > target ? "just over " : "just under ";
    return `${miss}${text}, target ${op.startsWith(">") ? "at most" : "at least"} ${show(target, format)}`;
  }
  function clock(iso, seconds = true) {
    const shape = { hour: "2-digit", minute: "2-digit", hour12: false, timeZone: state.payload.zone };
    return new Intl.DateTimeFormat("en-GB", seconds ? { ...shape, second: "2-digit" } : shape).format(new Date(iso));
  }
  function moment(seconds) {
    const shape = { weekday: "short", hour: "2-digit", minute: "2-digit", hour12: false, timeZone: state.payload.zone };
    return new Intl.DateTimeFormat("en-GB", shape).format(new Date(seconds * 1000));
  }
  const labelled = (value, dimension) => value === "" || value === "unknown" ? (dimension === "rep" ? "nobody" : "unknown") : value.replaceAll("_", " ");
  const joined = (values, dimensions) => values.map((value, i) => labelled(value, dimensions[i])).join(" · ");
  // Long identifiers often differ at their end only.
  const clipped = (name) => name.length > 16 ? `${name.slice(0, 7)}…${name.slice(-6)}` : name;

  // --- small charts
  function points(id, current) {
    const rings = state.trends[state.window] || [];
    const ring = rings.find((candidate) => candidate.series[id]);
    const found = [];
    if (ring) ring.at.forEach((at, i) => { if (ring.series[id][i] !== null) found.push([at, ring.series[id][i]]); });
    if (found.length && current !== null && current !== undefined) found.push([Date.parse(state.payload.at) / 1000, current]);
    return found;
  }
  function trace(data, width, height, pad = 1.5, base = null) {
    const first = data[0][0], span = Math.max(data[data.length - 1][0] - first, 1);
    let low = base === null ? Infinity : base, high = -Infinity;
    for (const [, value] of data) { low = Math.min(low, value); high = Math.max(high, value); }
    const scale = (value) => high === low ? height / 2 : pad + (height - 2 * pad) * (1 - (value - low) / (high - low));
    const spots = data.map(([at, value]) => [((at - first) / span) * width, scale(value)]);
    return { line: "M" + spots.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L"), last: spots[spots.length - 1], low, high };
  }

  // --- cells
  const cells = new Map();
  function cell(kpi, heading, title = kpi.title) {
    const parts = {
      root: null, kpi, value: h("span", { class: "value" }), meta: h("p", { class: "meta" }), rows: h("ul", { class: "rows" }),
      tag: h("span", { class: "tag", hidden: true }), words: h("span"), line: s("path", { class: "line" }), dot: s("circle", { r: "1.75" }),
    };
    const spark = s("svg", { class: "spark", viewBox: "0 0 88 28", "aria-hidden": "true" });
    spark.append(parts.line, parts.dot);
    parts.spark = spark;
    const opener = h("button", { type: "button", "aria-haspopup": "dialog", title: kpi.help, onclick: () => open(kpi.id) }, title);
    parts.opener = opener;
    parts.meta.append(parts.tag, parts.words);
    parts.root = h("article", { class: kpi.headline ? "kpi" : "kpi parts", "data-kpi": kpi.id },
      h(heading, null, opener), kpi.headline ? h("div", { class: "line1" }, parts.value, spark) : null, parts.meta, parts.rows);
    return parts;
  }
  function build() {
    for (const { id, title } of known.strip) {
      const kpi = kpis.get(id);
      const made = cell(kpi, "h2", title);
      made.strip = true;
      cells.set(`strip:${id}`, made);
      $("strip").append(made.root);
    }
    known.roles.forEach((role, position) => {
      const id = `role-${position}`, grid = h("div", { class: "grid" });
      for (const kpi of role.kpis) {
        const made = cell(kpi, "h3");
        made.role = role.role;
        cells.set(kpi.id, made);
        grid.append(made.root);
      }
      $("kpis").append(h("section", { class: "role", id, "aria-labelledby": `${id}-title` },
        h("h2", { id: `${id}-title` }, role.role, h("small", null, `${role.kpis.length}`)), grid));
      $("roles").append(h("a", { href: `#${id}`, onclick: (event) => { event.preventDefault(); $(id).scrollIntoView(); } }, role.role));
    });
    for (const name of WINDOWS) {
      const key = KEYS[WINDOWS.indexOf(name)];
      $("windows").append(h("button", { type: "button", role: "radio", "data-window": name, title: `${known.windows[name]} (${key})`, onclick: () => choose(name) }, NAMES[name] || name));
    }
    for (const [by, name] of [["rep", "Rep"], ["team", "Team"], ["source", "Source"]]) {
      $("w-by").append(h("button", { type: "button", role: "radio", "data-by": by, onclick: () => { state.by = by; marks(); waiting(); } }, name));
    }
    for (let i = 0; i < 8; i++) {
      const bar = h("span", { class: "mini" }, ...Array.from({ length: 6 }, (_, n) => h("i", { class: `a${n}` })));
      $("w-rows").append(h("tr", null, h("td"), h("td", null, bar), h("td"), h("td"), h("td")));
    }
    marks();
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

  function fill(parts, data, calm) {
    const kpi = parts.kpi, number = parts.value, hot = data.status === "critical" || data.status === "warning";
    const none = data.value === null || data.value === undefined;
    if (kpi.headline) {
      const text = none ? "–" : show(data.value, kpi.format);
      if (number.dataset.text !== text) {
        const fresh = number.dataset.text !== undefined && !calm;
        number.dataset.text = text;
        number.replaceChildren(text, ...(kpi.per && !none ? [h("small", null, kpi.per)] : []));
        number.classList.remove("tick");
        if (fresh) { void number.offsetWidth; number.classList.add("tick"); }
      }
      if (none) delete number.dataset.value; else number.dataset.value = data.value;
      flip(number, "few", data.few && !none); flip(number, "none", none); flip(number, "hot", hot && !data.status_window && !data.few && !none);
      const trend = none ? [] : points(kpi.id, data.value);
      parts.spark.style.setProperty("visibility", trend.length > 2 ? "visible" : "hidden");
      if (trend.length > 2) {
        const drawn = trace(trend, 86, 28);
        parts.line.setAttribute("d", drawn.line);
        parts.dot.setAttribute("cx", drawn.last[0]); parts.dot.setAttribute("cy", drawn.last[1]);
      }
    }
    parts.tag.hidden = !hot;
    if (hot) { parts.tag.className = `tag ${data.status}`; put(parts.tag, data.status_window ? `${data.status} ${NAMES[data.status_window] || data.status_window}` : data.status); }
    put(parts.words, meta(kpi, data, parts.strip));
    flip(parts.meta, "why", Boolean(data.why));
    parts.meta.title = parts.words.textContent;
    rows(parts.rows, kpi, data);
  }
  function meta(kpi, data, strip) {
    if (data.why) return data.why;
    const found = [];
    if (kpi.windows.length === 1) found.push("now");
    const stats = data.stats || {};
    if (kpi.headline === "p50") {
      if (!strip) found.push("median");
      if (stats.p90 !== undefined) found.push(`p90 ${show(stats.p90, kpi.format)}`);
      if (strip && !data.few) return found.join(" · ");
    }
    if (data.n !== undefined) found.push(data.few ? `n = ${whole.format(data.n)}, too few` : `n = ${whole.format(data.n)}`);
    if (!kpi.headline && data.top && data.top.rows[0].n) found.push(`of ${whole.format(data.top.rows[0].n)}`);
    return found.join(" · ");
  }
  function besides(kpi, data) {
    const shown = [];
    for (const stat of kpi.stats) {
      const value = (data.stats || {})[stat.name];
      if (stat.name === "value" || value === undefined || ["mean", "p50", "p90", "p99"].includes(stat.name)) continue;
      shown.push([stat.label, show(value, stat.format) + (stat.per ? ` ${stat.per}` : "")]);
    }
    return shown;
  }
  function rows(list, kpi, data) {
    const beside = besides(kpi, data).slice(0, 3), top = data.top;
    const parts = top ? top.rows.slice(0, kpi.headline ? Math.max(1, (beside.length ? 3 : 4) - Math.max(0, beside.length - 1)) : 8) : [];
    const largest = Math.max(...parts.map((row) => Math.abs(row.value)), 0) || 1;
    const caption = top && kpi.headline && top.rows.length > 1 ? [{ name: `${top.order} by ${top.by.join(", ")}`, text: "", plain: true, caption: true }] : [];
    const wanted = [
      ...beside.map(([name, text]) => ({ name, text, plain: true })),
      ...caption,
      ...parts.map((row) => ({ name: joined(row.name, top.by), text: show(row.value, kpi.format), part: Math.abs(row.value) / largest,
        few: row.n !== undefined && row.n < state.payload.min_n, n: row.n })),
    ];
    while (list.children.length > wanted.length) list.lastChild.remove();
    wanted.forEach((row, i) => {
      let item = list.children[i];
      if (item && item.classList.contains("plain") !== Boolean(row.plain)) { const other = line(row.plain); item.replaceWith(other); item = other; }
      if (!item) { item = line(row.plain); list.append(item); }
      const [name, ...others] = item.children;
      put(name, row.plain ? row.name : clipped(row.name)); name.title = row.name;
      if (!row.plain) others[0].firstChild.style.setProperty("width", `${(row.part * 100).toFixed(1)}%`);
      put(others[others.length - 1], row.text);
      if (!row.plain) item.title = row.n === undefined ? "" : `n = ${row.n}${row.few ? ", too few" : ""}`;
      flip(item, "few", row.few); flip(item, "caption", row.caption);
    });
  }
  const line = (plain) => h("li", { class: plain ? "plain" : null }, h("span"), plain ? null : h("span", { class: "b" }, h("i")), h("span"));

  // --- leads waiting
  function ages(bands, nodes) { nodes.forEach((node, i) => { node.style.setProperty("flex-grow", String(bands[i] || 0)); node.hidden = !bands[i]; }); }
  function waiting() {
    const data = state.payload.waiting, count = $("w-count");
    put(count, whole.format(data.count));
    count.dataset.value = data.count;
    const sla = duration(data.sla_seconds) + (data.business_hours ? " of business time" : "");
    put($("w-late"), data.late ? `${whole.format(data.late)} past the SLA of ${sla}` : state.payload.empty ? "No event has arrived yet" : `All within the SLA of ${sla}`);
    flip($("w-late"), "hot", data.late);
    $("w-late").dataset.value = data.late;
    put($("w-oldest"), data.oldest === undefined ? "" : `oldest ${duration(data.oldest)}`);
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

    const trend = points("leads_waiting", data.count), chart = $("w-trend");
    chart.style.setProperty("visibility", trend.length > 2 ? "visible" : "hidden");
    if (trend.length > 2) {
      const drawn = trace(trend, 200, 60, 2, Math.max(...trend.map(([, value]) => value)) * 0.8);
      chart.firstElementChild.setAttribute("d", drawn.line);
    }

    const by = data.by[state.by] || { rows: [], more: 0 }, largest = Math.max(...by.rows.map((row) => row.count), 1);
    put($("w-dim"), state.by[0].toUpperCase() + state.by.slice(1));
    [...$("w-rows").children].forEach((line, i) => {
      const row = by.rows[i], [name, bar, total, late, oldest] = line.children, text = row ? labelled(row.name, state.by) : "\u00a0";
      put(name, text); name.title = row ? row.name : "";
      line.style.setProperty("visibility", row ? "visible" : "hidden");
      bar.firstChild.style.setProperty("width", `${row ? (row.count / largest) * 100 : 0}%`);
      bar.firstChild.style.setProperty("visibility", row ? "visible" : "hidden");
      ages(row ? row.bands : [], [...bar.firstChild.children]);
      put(total, row ? whole.format(row.count) : ""); put(late, row ? whole.format(row.late) : "");
      flip(late, "hot", row && row.late);
      put(oldest, row && row.oldest !== undefined ? rough(row.oldest) : "");
    });
    put($("w-more"), by.more ? `and ${by.more} more` : data.count ? "" : state.payload.empty
      ? "Nothing to count yet. Publish events; `salesgauge doctor` tells whether they arrive." : "Nobody waits: each lead has had a human answer.");
  }
  const brief = (seconds) => seconds < 3600 ? `${one.format(seconds / 60)} min` : seconds < 86400 ? `${one.format(seconds / 3600)} h` : `${one.format(seconds / 86400)} d`;
  const rough = (seconds) => seconds < 60 ? `${Math.floor(seconds)} s` : seconds < 3600 ? `${Math.floor(seconds / 60)} min` : seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${whole.format(Math.floor(seconds / 86400))} d`;

  // --- thresholds
  function statFormat(kpi, stat) { const found = kpi && kpi.stats.find((one) => one.name === stat); return found ? found.format : kpi ? kpi.format : "count"; }
  function firing() {
    const { firing: list, watched } = state.payload;
    const missed = new Set(list.map((item) => [item.kpi, item.stat, item.window, item.op, item.target, Object.keys(item.labels || {})].join())).size;
    put($("f-count"), `${whole.format(missed)} of ${whole.format(watched)} targets missed`);
    const text = JSON.stringify(list);
    if (text === state.firing) return;
    state.firing = text;
    $("f-list").replaceChildren(...(list.length ? list.map((item) => {
      const kpi = kpis.get(item.kpi), format = statFormat(kpi, item.stat);
      const who = Object.entries(item.labels || {}).map(([name, value]) => value === "unknown" && name !== "rep" ? `unknown ${name}` : labelled(value, name)).join(" · ");
      const over = item.window === "all" ? "now" : NAMES[item.window] || item.window;
      return h("li", { "data-kpi": item.kpi }, h("span", { class: `tag ${item.severity}` }, item.severity),
        h("p", null, h("button", { type: "button", onclick: () => open(item.kpi) }, who ? `${item.summary}: ${who}` : item.summary)),
        h("p", null, `${against(item.value, item.target, item.op, format)} · ${over}${item.n === undefined ? "" : ` · n = ${whole.format(item.n)}`}`));
    }) : [h("li", { class: "calm" }, state.payload.empty ? "Nothing to judge yet." : "Nothing is firing. All targets that have enough behind them are kept.")]));
    fade();
  }
  function fade() { const list = $("f-list"); flip(list, "over", list.scrollTop + list.clientHeight < list.scrollHeight - 4); }

  // --- a refresh
  function draw(calm) {
    const payload = state.payload;
    document.title = `${whole.format(payload.waiting.count)} waiting · salesgauge`;
    waiting();
    firing();
    const found = new Map(payload.kpis.map((kpi) => [kpi.id, kpi]));
    for (const [key, parts] of cells) {
      const data = found.get(key.replace("strip:", ""));
      if (data) fill(parts, data, calm);
    }
    known.roles.forEach((role, i) => {
      const hot = role.kpis.filter((kpi) => ["critical", "warning"].includes((found.get(kpi.id) || {}).status)).length;
      const link = $("roles").children[i];
      link.replaceChildren(role.role, ...(hot ? [" ", h("b", { title: `${hot} off target` }, String(hot))] : []));
    });
    engine(payload.engine);
    status();
    announce();
  }
  function engine(facts) {
    const shown = (facts.reasons || []).map((reason) => ["incomplete:", reason]), add = (name, value) => { if (value !== undefined && value !== null) shown.push([name, value]); };
    add("events", facts.events === undefined ? undefined : whole.format(facts.events));
    add("lag", facts.lag === undefined || facts.lag === null ? undefined : whole.format(facts.lag));
    const freshness = facts.freshness === undefined ? facts.freshness_seconds : facts.freshness;
    add("freshness", typeof freshness === "number" ? duration(Math.round(freshness)) : undefined);
    add("partitions", facts.partitions === undefined ? undefined : `${facts.partitions}`);
    add("workers", facts.workers === undefined ? undefined : `${facts.workers}`);
    add("time zone", state.payload.zone);
    add("numbers of", state.payload.window.title);
    const text = JSON.stringify(shown);
    if ($("engine").dataset.text === text) return;
    $("engine").dataset.text = text;
    $("engine").replaceChildren(...shown.map(([name, value]) => h("span", null, `${name} `, h("b", null, value))),
      h("a", { href: "api/kpis" }, "JSON"), h("a", { href: "metrics" }, "metrics"));
  }
  function status() {
    const payload = state.payload, node = $("state"), ready = payload && payload.engine.ready !== false;
    const name = state.failures ? "stale" : !payload ? "connecting" : ready ? "live" : "catching-up";
    node.dataset.state = name;
    flip(document.body, "stale", name === "stale" && payload);
    let text = "Connecting";
    if (name === "stale") text = payload ? `Stale since ${clock(payload.at)}` : "No answer";
    else if (name === "catching-up") text = payload.engine.lag ? `Catching up: ${whole.format(payload.engine.lag)}` : "Incomplete";
    else if (name === "live") text = `${innerWidth < 720 ? "" : "Live "}${clock(payload.at)}`;
    put($("state-text"), text);
    node.title = name === "stale" ? "The exporter does not answer; trying again by itself" : name === "catching-up" ? (payload.engine.reasons || []).join("\n") : "";
  }
  function announce() {
    // Rarely, and only what calls for action: a reader cannot follow numbers that move each second.
    const now = Date.now(), payload = state.payload, critical = payload.firing.filter((item) => item.severity === "critical").length;
    const key = `${critical}/${payload.waiting.late}`;
    if (key === state.waiting || now - state.said < ANNOUNCE) return;
    state.waiting = key; state.said = now;
    put($("said"), `${payload.waiting.count} leads waiting, ${payload.waiting.late} past the SLA, ${critical} critical targets firing`);
  }

  // --- asking
  async function ask(calm) {
    clearTimeout(state.timer);
    const mine = ++state.asked, asked = state.window;
    try {
      const query = new URLSearchParams({ window: asked, catalogue: "0" });
      if (state.stamp[asked]) query.set("trends", state.stamp[asked]);
      const response = await fetch(`api/board?${query}`, { signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
      if (!response.ok) throw new Error(`status ${response.status}`);
      const payload = await response.json();
      if (mine !== state.asked) return;
      if (payload.trends) { state.trends[asked] = payload.trends.rings; state.stamp[asked] = payload.trends.stamp; }
      state.payload = payload;
      state.failures = 0;
      draw(calm);
    } catch (error) {
      if (mine !== state.asked) return;
      state.failures += 1;
      status();
      if (state.failures === 1) put($("said"), "The numbers are stale: the exporter does not answer");
    }
    const wait = Math.min(EVERY * 2 ** state.failures, SLOWEST);
    if (!document.hidden) state.timer = setTimeout(ask, state.failures ? wait : EVERY);
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
  function remember() {
    const hash = new URLSearchParams({ window: state.window });
    if ($("search").value) hash.set("find", $("search").value);
    history.replaceState(null, "", `#${hash}`);
  }

  // --- finding
  function filter() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [key, parts] of cells) {
      if (key.startsWith("strip:")) continue;
      const text = `${parts.kpi.id} ${parts.kpi.title} ${parts.role || ""}`.toLowerCase();
      parts.root.hidden = !words.every((word) => text.includes(word));
      shown += parts.root.hidden ? 0 : 1;
    }
    for (const section of $("kpis").children) section.hidden = ![...section.querySelectorAll(".kpi")].some((node) => !node.hidden);
    $("nothing").hidden = shown > 0;
    put($("nothing"), shown ? "" : `No KPI is called “${$("search").value}”. Escape shows all again.`);
    remember();
  }

  // --- one KPI in full
  async function open(id) {
    const kpi = kpis.get(id), dialog = $("detail");
    state.opened = id;
    dialog.replaceChildren(h("article", null, header(kpi.title, "d-title"), h("p", { class: "help" }, kpi.help)));
    if (!dialog.open) dialog.showModal();
    try {
      const response = await fetch(`api/board?${new URLSearchParams({ window: state.window, kpi: id })}`, { signal: AbortSignal.timeout(PATIENCE) });
      if (!response.ok) throw new Error(`status ${response.status}`);
      const data = await response.json();
      if (state.opened === id) detail(kpi, data);
    } catch (error) {
      dialog.firstChild.append(h("p", { class: "help" }, "The exporter does not answer. Close and try again."));
    }
  }
  const header = (title, id) => h("header", null, h("h2", { id }, title), h("button", { type: "button", class: "close", "aria-label": "Close", onclick: (event) => event.target.closest("dialog").close() }, "×"));
  function detail(kpi, data) {
    const now = data.now, body = h("article", null, header(kpi.title, "d-title"), h("p", { class: "help" }, kpi.help));
    const over = kpi.windows.length === 1 ? "now" : data.window.title;
    if (kpi.headline) {
      const value = now.value === null ? "–" : show(now.value, kpi.format);
      body.append(h("p", { class: `value${now.value === null ? " none" : now.few ? " few" : ""}` }, value, kpi.per && now.value !== null ? h("small", null, kpi.per) : null));
      const fraction = now.numerator !== undefined && now.n !== undefined ? `${show(now.numerator, kpi.format === "money" ? "money" : "quotient")} of ${whole.format(now.n)}` : now.n !== undefined ? `n = ${whole.format(now.n)}` : "";
      body.append(h("p", { class: "meta" }, now.why || [over, kpi.headline === "p50" ? "median" : "", fraction, now.few ? "too few to rely on" : ""].filter(Boolean).join(" · ")));
    }
    body.append(...chart(kpi, data));
    const terms = [["Formula", kpi.definition], ["Scope", { cohort: "the leads that entered in the window, as they are now", period: "what happened in the window", stock: "current state" }[kpi.form]],
      kpi.caveats ? ["Caveats", kpi.caveats] : null, ["Metric", kpi.metric]].filter(Boolean);
    body.append(h("dl", null, ...terms.flatMap(([name, text]) => [h("dt", null, name), h("dd", null, text)])));
    if (data.targets.length) {
      body.append(h("h3", null, "Targets"), h("ul", { class: "targets" }, ...data.targets.slice(0, 6).map((item) => {
        const format = statFormat(kpi, item.stat), who = Object.values(item.labels || {}).join(" · ");
        const verdict = item.firing ? h("span", { class: `tag ${item.severity}` }, item.severity) : h("span", { class: "muted" }, item.n !== undefined && item.n < item.min_n ? "too few" : "kept");
        return h("li", null, verdict, ` ${who ? `${who}: ` : ""}${against(item.value, item.target, item.op, format)} ${item.window === "all" ? "" : known.windows[item.window]}`);
      })));
    }
    if (kpi.headline && data.over.length > 1) body.append(h("h3", null, "Over each window"), table(kpi, data));
    else if (now.stats && Object.keys(now.stats).length > 1) body.append(h("dl", null, ...besides(kpi, now).flatMap(([name, text]) => [h("dt", null, name), h("dd", null, text)])));
    for (const part of data.breakdowns) body.append(...breakdown(kpi, part));
    const dialog = $("detail"), top = dialog.scrollTop;
    dialog.replaceChildren(body);
    dialog.scrollTop = top;
    dialog.querySelector(".close").focus({ preventScroll: true });
  }
  function chart(kpi, data) {
    const known = data.trend ? data.trend.at.map((at, i) => [at, data.trend.values[i]]).filter(([, value]) => value !== null) : [];
    if (known.length && data.now.value !== null) known.push([Date.parse(data.at) / 1000, data.now.value]);
    if (known.length < 3) return [];
    const drawn = trace(known, 400, 80, 3), svg = s("svg", { class: "trend big", viewBox: "0 0 400 80", preserveAspectRatio: "none", role: "img", "aria-label": `From ${show(known[0][1], kpi.format)} to ${show(data.now.value, kpi.format)}` });
    svg.append(s("path", { class: "line", d: drawn.line }));
    return [svg, h("p", { class: "scale" }, h("span", null, moment(known[0][0])), h("span", null, `${show(drawn.low, kpi.format)} to ${show(drawn.high, kpi.format)}`), h("span", null, moment(known[known.length - 1][0])))];
  }
  function table(kpi, data) {
    const extra = kpi.stats.filter((stat) => stat.name !== kpi.headline && !["value", "mean", "p99"].includes(stat.name)).slice(0, 4);
    const head = h("tr", null, h("th", { scope: "col" }, "Window"), h("th", { scope: "col" }, kpi.headline === "p50" ? "median" : "value"), ...extra.map((stat) => h("th", { scope: "col" }, stat.label)), h("th", { scope: "col" }, "n"));
    const lines = data.over.map((row) => h("tr", { class: row.window === data.window.name ? "on" : null }, h("td", null, NAMES[row.window] || row.window), h("td", null, show(row.value, kpi.format)),
      ...extra.map((stat) => h("td", null, show((row.stats || {})[stat.name], stat.format))), h("td", null, row.n === undefined ? "" : whole.format(row.n))));
    return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Over each window" }, h("table", null, h("thead", null, head), h("tbody", null, ...lines)));
  }
  function breakdown(kpi, part) {
    const name = part.by.join(" and "), largest = Math.max(...part.rows.map((row) => Math.abs(row.value)), 0) || 1;
    const order = { largest: "largest first", highest: "highest first", lowest: "lowest first", natural: "" }[part.order];
    if (!part.rows.length) return [];
    return [h("h3", null, `By ${name}${order ? `, ${order}` : ""}`), h("ul", { class: "rows" }, ...part.rows.map((row) => {
      const bar = h("i"), few = row.n !== undefined && row.n < state.payload.min_n;
      bar.style.setProperty("width", `${((Math.abs(row.value) / largest) * 100).toFixed(1)}%`);
      return h("li", { class: few ? "few" : null }, h("span", { title: row.name.join(" · ") }, joined(row.name, part.by)), h("span", { class: "b" }, bar), h("span", null, show(row.value, kpi.format)), h("span", null, row.n === undefined ? "" : `n = ${whole.format(row.n)}`));
    })), part.more ? h("p", { class: "more" }, `and ${part.more} more`) : null].filter(Boolean);
  }

  // --- keys, theme, wall
  const KEY_HELP = [[["/"], "find a KPI"], [["1", "…", "9", "0"], "window, from 1 h to all"], [["←", "→", "↑", "↓"], "move between KPIs"], [["Enter"], "open one in full"],
    [["r"], "leads waiting by rep, team, source"], [["t"], "dark or light"], [["w"], "wall screen; arrows turn the page"], [["Esc"], "close, clear"]];
  function help() {
    $("keys").replaceChildren(h("article", null, header("Keys", "k-title"), h("dl", null, ...KEY_HELP.flatMap(([keys, text]) => [h("dt", null, ...keys.map((key) => h("kbd", null, key))), h("dd", null, text)]))));
    $("keys").showModal();
  }
  const store = (name, value) => { try { if (value === undefined) return localStorage.getItem(name); localStorage.setItem(name, value); } catch (error) { /* private mode: not remembered */ } return null; };
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
      turn(0);
      state.turn = setInterval(() => turn(1), WALL_TURN);
      if (full && document.documentElement.requestFullscreen) document.documentElement.requestFullscreen().catch(() => {});
    } else if (document.fullscreenElement) document.exitFullscreen();
    scrollTo(0, 0);
  }
  function turn(step) {
    const sections = [...$("kpis").children];
    state.page = (state.page + step + sections.length) % sections.length;
    sections.forEach((section, i) => flip(section, "on", i === state.page));
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
      if (typing || $("search").value) { $("search").value = ""; filter(); $("search").blur(); }
      else if (document.body.classList.contains("wall")) wall();
      return;
    }
    if (typing) { if (event.key === "Enter" || event.key === "ArrowDown") { event.preventDefault(); const first = [...cells].find(([key, parts]) => !key.startsWith("strip:") && !parts.root.hidden); if (first) first[1].opener.focus(); } return; }
    if (document.querySelector("dialog[open]")) return;
    if (roving(event)) { event.preventDefault(); return; }
    const arrows = event.key.startsWith("Arrow"), walled = document.body.classList.contains("wall");
    if (event.key === "/") $("search").focus();
    else if (KEYS.includes(event.key)) choose(WINDOWS[KEYS.indexOf(event.key)]);
    else if (arrows && walled) turn(event.key === "ArrowRight" || event.key === "ArrowDown" ? 1 : -1);
    else if (arrows && (event.key.match(/Left|Right/) || (document.activeElement && document.activeElement.closest(".kpi")))) move(event.key);
    else if (event.key === "t") theme();
    else if (event.key === "w") wall(true);
    else if (event.key === "r" && state.payload) { const order = ["rep", "team", "source"]; state.by = order[(order.indexOf(state.by) + 1) % 3]; marks(); waiting(); }
    else if (event.key === "?") help();
    else return;
    event.preventDefault();
  }

  // --- begin
  const chosen = store("salesgauge-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  const hash = new URLSearchParams(location.hash.slice(1));
  if (WINDOWS.includes(hash.get("window"))) state.window = hash.get("window");
  build();
  if (hash.get("find")) { $("search").value = hash.get("find"); filter(); }
  $("search").addEventListener("input", filter);
  $("theme").addEventListener("click", theme);
  $("wall").addEventListener("click", () => wall(true));
  $("help").addEventListener("click", help);
  for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  $("detail").addEventListener("close", () => { state.opened = null; });
  $("f-list").addEventListener("scroll", fade, { passive: true });
  addEventListener("resize", fade);
  document.addEventListener("keydown", keyed);
  document.addEventListener("visibilitychange", () => { if (document.hidden) clearTimeout(state.timer); else ask(true); });
  addEventListener("hashchange", () => { const name = new URLSearchParams(location.hash.slice(1)).get("window"); if (name && name !== state.window) choose(name); });
  if (new URLSearchParams(location.search).has("wall")) wall();
  ask(true);
})();
