  // --- elements. Texts that come from a CRM reach the page as text nodes only: nothing here parses HTML.
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  function h(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false && value !== undefined) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  }
  function s(tag, attributes, text) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
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
  const minus = (text) => text.replace("-", "−");
  const amounts = new Map();
  function money(value) {
    const code = (state.payload && state.payload.currency) || "EUR", size = Math.abs(value);
    const kind = size >= 1e7 ? "compact" : size < 1000 && value % 1 ? "cents" : "whole";
    const key = code + kind;
    if (!amounts.has(key)) {
      const shape = { style: "currency", currency: code, currencyDisplay: "narrowSymbol" };
      const digits = kind === "cents" ? 2 : 0;
      amounts.set(key, english(kind === "compact" ? { ...shape, notation: "compact", maximumFractionDigits: 2 }
        : { ...shape, minimumFractionDigits: digits, maximumFractionDigits: digits }));
    }
    return minus(amounts.get(key).format(value));
  }
  function duration(seconds) {
    const sign = seconds < 0 ? "−" : "", size = Math.abs(seconds);
    const rounded = Math.round(size);
    if (size < 10 && size % 1) return `${sign}${one.format(size)} s`;
    if (rounded < 60) return `${sign}${rounded} s`;
    if (rounded < 3600) return sign + pair(rounded, 60, "min", "s");
    if (rounded < 86400) return sign + pair(Math.round(rounded / 60), 60, "h", "min");
    if (rounded < 100 * 86400) return sign + pair(Math.round(rounded / 3600), 24, "d", "h");
    return `${sign}${whole.format(rounded / 86400)} d`;
  }
  function pair(units, per, large, small) {
    const high = Math.floor(units / per), low = units % per;
    return low ? `${high} ${large} ${low} ${small}` : `${high} ${large}`;
  }
  function percent(share) {
    const value = share * 100, size = Math.abs(value);
    return minus(size && size < 0.1 ? two.format(value) : size < 1000 ? one.format(value) : whole.format(value));
  }
  function show(value, format) {
    if (value === null || value === undefined) return "–";
    const [kind, digits] = format.split(":");
    if (digits) return minus(english({ maximumFractionDigits: Number(digits) }).format(value));
    if (kind === "share") return `${percent(value)} %`;
    if (kind === "seconds") return duration(value);
    if (kind === "money") return money(value);
    if (kind === "minutes") return duration(value * 60);
    if (kind === "months") return `${one.format(value)} months`;
    if (kind === "points") return minus(one.format(value));
    return minus((kind === "count" ? whole : Math.abs(value) < 0.1 ? small : Math.abs(value) < 100 ? two : one).format(value));
  }
  const brief = (seconds) => seconds < 3600 ? `${one.format(seconds / 60)} min` : seconds < 86400 ? `${one.format(seconds / 3600)} h` : `${one.format(seconds / 86400)} d`;
  const rough = (seconds) => seconds < 60 ? `${Math.floor(seconds)} s` : seconds < 3600 ? `${Math.floor(seconds / 60)} min` : seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${whole.format(Math.floor(seconds / 86400))} d`;
  const likely = (bounds) => `${whole.format(bounds[0] * 100)}–${whole.format(bounds[1] * 100)} % likely`;

  // --- targets in words. `op` tells how a number that is off target stands to it.
  const AT = { ">": "at most", ">=": "below", "<": "at least", "<=": "above" }, SIGN = { ">": "≤", ">=": "<", "<": "≥", "<=": ">" };
  // A number that misses its target by less than its last digit would read as if it were met.
  function against(value, target, op, format) {
    const text = show(value, format);
    const miss = text !== show(target, format) || value === target ? "" : value > target ? "just over " : "just under ";
    return `${miss}${text}, target ${AT[op]} ${show(target, format)}`;
  }

  // --- times
  function clock(iso, seconds = true) {
    const shape = { hour: "2-digit", minute: "2-digit", hour12: false, timeZone: state.payload.zone };
    return new Intl.DateTimeFormat("en-GB", seconds ? { ...shape, second: "2-digit" } : shape).format(new Date(iso));
  }
  function moment(seconds, step = 0) {
    const day = { day: "numeric", month: "short" }, hour = { hour: "2-digit", minute: "2-digit", hour12: false };
    const shape = step >= 86400 ? day : step ? hour : { weekday: "short", ...day, ...hour };
    return new Intl.DateTimeFormat("en-GB", { ...shape, timeZone: state.payload.zone }).format(new Date(seconds * 1000));
  }

  // --- names
  const labelled = (value, dimension) => value === "" || value === "unknown" ? (dimension === "rep" ? "nobody" : "unknown") : value.replaceAll("_", " ");
  const joined = (values, dimensions) => values.map((value, i) => labelled(value, dimensions[i])).join(" · ");
  // Long identifiers often differ at their end only.
  const clipped = (name) => name.length > 16 ? `${name.slice(0, 7)}…${name.slice(-6)}` : name;
  const windowed = (name) => NAMES[name] || name;
