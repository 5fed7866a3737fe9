  // --- small charts
  function points(id, current) {
    const rings = scoped() ? [] : state.trends[state.window] || [];
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

  // --- the chart of one KPI: steps of the window, the same of the window before, the target
  function nice(low, high) {
    const span = high - low || Math.abs(high) || 1, power = 10 ** Math.floor(Math.log10(span / 3));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((size) => span / size <= 4) || 10 * power;
    const ticks = [];
    for (let tick = Math.floor(low / step) * step; tick < high + step * 0.999; tick += step) ticks.push(Number(tick.toPrecision(12)));
    return ticks;
  }
  const TIMES = [60, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 2 * 86400, 5 * 86400, 10 * 86400, 20 * 86400, 50 * 86400, 100 * 86400];
  function timely(low, high) {
    const step = TIMES.find((size) => (high - low) / size <= 4);
    if (!step || high < 120) return nice(low, high);
    const ticks = [];
    for (let tick = Math.floor(low / step) * step; tick < high + step * 0.999; tick += step) ticks.push(tick);
    return ticks;
  }
  function course(kpi, data, width) {
    const found = data.course, height = 216, left = 60, right = 76, top = 10, bottom = 24;
    const target = data.now.target && data.now.target.window === data.window.name ? data.now.target.target : null;
    const known = [...found.now, ...(found.before || [])].filter((value) => value !== null);
    if (known.length < 2) return [];
    const bounds = target === null ? known : [...known, target];
    const floor = Math.min(...bounds), ticks = (kpi.format === "seconds" ? timely : nice)(floor > 0 && kpi.form !== "stock" ? 0 : floor, Math.max(...bounds));
    const low = ticks[0], high = ticks[ticks.length - 1], plot = width - left - right;
    const n = found.at.length, x = (i) => left + (n > 1 ? (i / (n - 1)) * plot : plot / 2), y = (value) => top + (height - top - bottom) * (1 - (value - low) / (high - low || 1));
    const svg = s("svg", { class: "course", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": spoken(kpi, found, target) });
    for (const tick of ticks) {
      svg.append(s("line", { class: "grid", x1: left, x2: left + plot, y1: y(tick), y2: y(tick) }), s("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, show(tick, kpi.format)));
    }
    const every = Math.ceil(n / Math.max(2, Math.floor(plot / 90)));
    for (let i = n - 1; i >= 0; i -= every) svg.append(s("text", { x: x(i), y: height - 6, "text-anchor": i === n - 1 && n > 1 ? "end" : i ? "middle" : "start" }, moment(found.at[i], found.step)));
    const path = (values) => { let pen = "M"; return values.map((value, i) => { if (value === null) { pen = "M"; return ""; } const text = `${pen}${x(i).toFixed(1)} ${y(value).toFixed(1)}`; pen = "L"; return text; }).join(""); };
    const labels = [];
    if (found.before) { const values = found.before.slice(-n); svg.append(s("path", { class: "before", d: path(values) })); labels.push([values[values.length - 1], "before", "pale"]); }
    if (target !== null) { svg.append(s("line", { class: "target", x1: left, x2: left + plot, y1: y(target), y2: y(target) })); labels.push([target, "target", "pale"]); }
    svg.append(s("path", { class: "now", d: path(found.now.slice(0, -1)) }));
    const end = found.now[n - 1], last = found.now[n - 2];
    if (end !== null && n > 1 && last !== null) svg.append(s("path", { class: "partial", d: `M${x(n - 2)} ${y(last)}L${x(n - 1)} ${y(end)}` }));
    found.now.forEach((value, i) => { if (value !== null && (i === n - 1 || (found.now[i - 1] ?? null) === null)) svg.append(s("circle", { class: i === n - 1 ? "open" : "dot", cx: x(i), cy: y(value), r: 3 })); });
    if (end !== null) labels.push([end, show(end, kpi.format), ""]);
    apart(labels.filter(([value]) => value !== null).map(([value, text, kind]) => ({ y: y(value) + 4, text, kind }))).forEach((label) => svg.append(s("text", { class: label.kind, x: left + plot + 9, y: label.y }, label.text)));
    const step = found.step >= 30 * 86400 ? "30 days" : found.step >= 7 * 86400 ? "week" : found.step >= 86400 ? "day" : found.step >= 3600 ? "hour" : `${found.step / 60} minutes`;
    const words = [`Each ${step}.`, kpi.form === "cohort" ? "By the time at which leads entered; the latest have had little time." : "", found.before ? "Pale: the period before." : "", target === null ? "" : "Long dashes: target.", "Dotted end: not over yet."];
    return [svg, h("p", { class: "scale" }, words.filter(Boolean).join(" "))];
  }
  function apart(labels) {
    labels.sort((a, b) => a.y - b.y);
    for (let i = 1; i < labels.length; i++) labels[i].y = Math.max(labels[i].y, labels[i - 1].y + 15);
    return labels;
  }
  function spoken(kpi, found, target) {
    const known = found.now.filter((value) => value !== null);
    return `${kpi.title}: from ${show(known[0], kpi.format)} to ${show(known[known.length - 1], kpi.format)}, lowest ${show(Math.min(...known), kpi.format)}, highest ${show(Math.max(...known), kpi.format)}${target === null ? "" : `, target ${show(target, kpi.format)}`}`;
  }
  function trend(kpi, data) {
    const known = data.trend ? data.trend.at.map((at, i) => [at, data.trend.values[i]]).filter(([, value]) => value !== null) : [];
    if (known.length && data.now.value !== null) known.push([Date.parse(data.at) / 1000, data.now.value]);
    if (known.length < 3) return [];
    const drawn = trace(known, 400, 80, 3), svg = s("svg", { class: "trend big", viewBox: "0 0 400 80", preserveAspectRatio: "none", role: "img", "aria-label": `From ${show(known[0][1], kpi.format)} to ${show(data.now.value, kpi.format)}` });
    svg.append(s("path", { class: "line", d: drawn.line }));
    return [svg, h("p", { class: "scale" }, `${moment(known[0][0])} to ${moment(known[known.length - 1][0])}: between ${show(drawn.low, kpi.format)} and ${show(drawn.high, kpi.format)}.`)];
  }
  function histogram(kpi, data) {
    const found = data.classes || [];
    if (!found.length) return [];
    const total = found.reduce((sum, item) => sum + item.n, 0), most = Math.max(...found.map((item) => item.n));
    const limit = data.now.target && data.now.target.stat === kpi.headline ? data.now.target.target : null;
    return [h("h3", null, "Distribution ", h("small", null, `${whole.format(total)} in all; classes get wider to the right`)), h("ol", { class: "bins" }, ...found.map((item) => {
      const bar = h("i", { class: limit !== null && item.from >= limit ? "over" : null });
      bar.style.setProperty("height", `${(item.n / most) * 100}%`);
      return h("li", null, h("b", null, whole.format(item.n)), h("span", { class: "col", "aria-hidden": "true" }, bar), h("span", null, item.to === null ? `over ${brief(item.from)}` : item.from ? `${brief(item.from)}–${brief(item.to)}` : `to ${brief(item.to)}`));
    }))];
  }
