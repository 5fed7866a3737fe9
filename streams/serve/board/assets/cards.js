  // --- cards
  const cells = new Map();
  function cell(kpi, heading, title = kpi.title) {
    const parts = {
      root: null, kpi, value: h("span", { class: "value" }), change: h("p", { class: "change" }), bar: h("div", { class: "goal", "aria-hidden": "true" }, h("i"), h("u")),
      meta: h("p", { class: "meta" }), rows: h("ul", { class: "rows" }), tag: h("span", { class: "tag", hidden: true }), words: h("span"), wanted: h("span"),
      line: s("path", { class: "line" }), dot: s("circle", { r: "1.75" }),
    };
    const spark = s("svg", { class: "spark", viewBox: "0 0 88 28", "aria-hidden": "true" });
    spark.append(parts.line, parts.dot);
    parts.spark = spark;
    const opener = h("button", { type: "button", "aria-haspopup": "dialog", title: kpi.help, onclick: () => open(kpi.id) }, title);
    parts.opener = opener;
    const strip = heading === "h2";
    parts.meta.append(...(strip ? [parts.tag] : []), parts.words, parts.wanted);
    parts.root = h("article", { class: kpi.headline ? "kpi" : "kpi parts", "data-kpi": kpi.id }, h(heading, null, opener, strip ? null : parts.tag),
      ...(kpi.headline ? [h("div", { class: "line1" }, parts.value, spark), parts.change, parts.bar] : []), parts.meta, parts.rows);
    return parts;
  }
  function build() {
    for (const { id, title } of known.strip) {
      const kpi = kpis.get(id), made = cell(kpi, "h2", title);
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
      $("kpis").append(h("details", { class: "role fold", id, open: true }, h("summary", null, h("h2", { id: `${id}-title` }, role.role), h("small", null, String(role.kpis.length)), h("b", { class: "off" })), grid));
      $("roles").append(h("a", { href: `#${id}`, onclick: (event) => { event.preventDefault(); $(id).open = true; $(id).scrollIntoView(); } }, role.role));
    });
    for (const name of WINDOWS) {
      const key = KEYS[WINDOWS.indexOf(name)];
      $("windows").append(h("button", { type: "button", role: "radio", "data-window": name, title: `${known.windows[name]} (${key})`, onclick: () => choose(name) }, windowed(name)));
    }
    for (const [by, name] of [["rep", "Rep"], ["team", "Team"], ["source", "Source"]]) {
      $("w-by").append(h("button", { type: "button", role: "radio", "data-by": by, onclick: () => { state.by = by; marks(); remember(); if (state.payload) waiting(); } }, name));
    }
    $("w-rows").append(...Array.from({ length: OWNERS }, owner));
  }

  // Off target: filled or outlined tag. All else is said in plain words.
  function verdict(kpi, data) {
    const target = data.target, hot = data.status === "critical" || data.status === "warning" || data.status === "info";
    if (hot) return { kind: data.status, text: data.status_window ? `off target ${windowed(data.status_window)}` : "off target" };
    if (!target || data.value === null) return { kind: "", text: "" };
    const where = target.window === data.read ? "" : ` ${windowed(target.window)}`;
    if (!target.enough) return { kind: "plain", text: `too few${where}` };
    const unsure = !where && data.likely && data.likely[0] < target.target && target.target < data.likely[1];
    return { kind: "plain", text: unsure ? "undecided" : `on target${where}` };
  }
  function moved(kpi, data) {
    const change = data.change;
    if (!change || data.value === null) return "";
    if (!change.by) return "as before";
    if (!change.before && kpi.format !== "share") return `from ${show(0, kpi.format)}`;
    const size = Math.abs(change.by), by = kpi.format === "share" ? `${percent(size)} points` : show(size, kpi.format);
    const few = kpi.headline === "p50" && Math.min(data.n || 0, change.n || 0) < state.payload.min_n;
    const word = change.chance || few ? ", could be chance" : change.better === null || change.chance === null && kpi.format === "share" ? "" : change.better ? ", better" : ", worse";
    return `${change.by > 0 ? "▲" : "▼"} ${by} from ${show(change.before, kpi.format)}${word}`;
  }
  function wanted(kpi, data) {
    const target = data.target;
    if (!target || data.not_by) return "";
    if (target.window === data.read) return `target ${SIGN[target.op]} ${show(target.target, kpi.format)}`;
    return `${windowed(target.window)}: ${show(target.value, kpi.format)}, target ${SIGN[target.op]} ${show(target.target, kpi.format)}`;
  }
  function fill(parts, data, calm) {
    const kpi = parts.kpi, node = parts.value, none = data.value === null || data.value === undefined;
    data.read = kpi.windows.length === 1 ? kpi.windows[0] : state.payload.window.name;
    const judgment = verdict(kpi, data), off = judgment.kind === "critical" || judgment.kind === "warning";
    if (kpi.headline) {
      const lower = !none && state.payload.engine.state === "incomplete" && (kpi.format === "count" || kpi.format === "money");
      const text = none ? "–" : (lower ? "≥ " : "") + show(data.value, kpi.format);
      if (node.dataset.text !== text) {
        const fresh = node.dataset.text !== undefined && !calm;
        node.dataset.text = text;
        node.replaceChildren(text, ...(kpi.per && !none ? [h("small", null, kpi.per)] : []));
        node.classList.remove("tick");
        if (fresh) { void node.offsetWidth; node.classList.add("tick"); }
      }
      if (none) delete node.dataset.value; else node.dataset.value = data.value;
      flip(node, "few", data.few && !none); flip(node, "none", none); flip(node, "hot", off && !data.status_window && !data.few && !none);
      const drawn = none ? [] : points(kpi.id, data.value);
      parts.spark.style.setProperty("visibility", drawn.length > 2 ? "visible" : "hidden");
      if (drawn.length > 2) {
        const path = trace(drawn, 86, 28);
        parts.line.setAttribute("d", path.line);
        parts.dot.setAttribute("cx", path.last[0]); parts.dot.setAttribute("cy", path.last[1]);
      }
      put(parts.change, moved(kpi, data));
      goal(parts.bar, data, none, off);
    }
    parts.tag.hidden = !judgment.text;
    if (judgment.text) { parts.tag.className = `tag ${judgment.kind}`; put(parts.tag, judgment.text); }
    put(parts.words, meta(kpi, data, parts.strip));
    put(parts.wanted, wanted(kpi, data));
    flip(parts.meta, "why", Boolean(data.why || data.not_by));
    parts.meta.title = [parts.words.textContent, parts.wanted.textContent].filter(Boolean).join("; ");
    rows(parts.rows, kpi, data);
  }
  // The way to the target: bar = number, tick = target.
  function goal(bar, data, none, off) {
    const target = data.target, drawn = target && target.window === data.read && !none && target.target > 0 && data.value >= 0 && target.enough;
    flip(bar, "no", !drawn);
    if (!drawn) return;
    const most = Math.max(data.value, target.target) * 1.08;
    bar.firstChild.style.setProperty("width", `${(data.value / most) * 100}%`);
    bar.lastChild.style.setProperty("left", `${(target.target / most) * 100}%`);
    flip(bar, "bad", off);
  }
  function meta(kpi, data, strip) {
    if (data.not_by) return `cannot be told by ${data.not_by.join(" and ")}`;
    if (data.why) return data.why;
    const found = [], stats = data.stats || {};
    if (kpi.windows.length === 1) found.push("now");
    if (kpi.headline === "p50") {
      if (!strip) found.push("median");
      if (stats.p90 !== undefined) found.push(`p90 ${show(stats.p90, kpi.format)}`);
      if (strip && !data.few) return found.join(" · ");
    }
    if (data.n !== undefined) found.push(data.few ? `n = ${whole.format(data.n)}, too few` : `n = ${whole.format(data.n)}`);
    if (data.likely && !data.few && !strip) found.push(likely(data.likely));
    if (!kpi.headline && data.top && data.top.rows[0].n) found.push(`of ${whole.format(data.top.rows[0].n)}`);
    return found.join(" · ");
  }
  function secondary(kpi, data) {
    const found = [];
    for (const stat of kpi.stats) {
      const value = (data.stats || {})[stat.name];
      if (stat.name === "value" || value === undefined || ["mean", "p50", "p90", "p99"].includes(stat.name)) continue;
      found.push([stat.label, show(value, stat.format) + (stat.per ? ` ${stat.per}` : "")]);
    }
    return found;
  }
  function rows(list, kpi, data) {
    const also = secondary(kpi, data).slice(0, 2), top = data.top;
    const parts = top ? top.rows.slice(0, kpi.headline ? 2 : 8) : [];
    const largest = Math.max(...parts.map((row) => Math.abs(row.value)), 0) || 1;
    const caption = top && kpi.headline && top.rows.length > 1 ? [{ name: `${top.order} by ${top.by.join(", ")}`, text: "", plain: true, caption: true }] : [];
    const lines = [
      ...also.map(([name, text]) => ({ name, text, plain: true })),
      ...(also.length > 1 ? [] : caption),
      ...(also.length > 1 ? [] : parts).map((row) => ({ name: joined(row.name, top.by), text: show(row.value, kpi.format), part: Math.abs(row.value) / largest,
        few: row.n !== undefined && row.n < state.payload.min_n, n: row.n })),
    ];
    while (list.children.length > lines.length) list.lastChild.remove();
    lines.forEach((row, i) => {
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

  // --- KPIs whose source events never came: together at the end, with what is missing
  function unset() {
    const found = state.payload.kpis.filter((data) => data.unset), list = $("unset").lastElementChild;
    const text = JSON.stringify(found.map((data) => [data.id, data.unset]));
    if ($("unset").dataset.text === text) return;
    $("unset").dataset.text = text;
    for (const [key, parts] of cells) if (!key.startsWith("strip:")) parts.off = found.some((data) => data.id === key);
    list.replaceChildren(...found.map((data) => h("li", null, h("b", null, kpis.get(data.id).title), ` needs ${data.unset.map((group) => group.split("|").join(" or ")).join(" and ")}`)));
    filter();
  }
