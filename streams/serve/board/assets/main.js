  // --- a refresh
  function draw(calm) {
    const payload = state.payload, shown = payload.engine.state !== "starting";
    document.title = shown ? `${whole.format(payload.waiting.count)} waiting · salesgauge` : "salesgauge";
    $("board").hidden = !shown; $("blank").hidden = shown;
    flip(document.body, "unjudged", !payload.judged);
    note();
    if (!shown) { engine(payload.engine); status(); return; }
    choices();
    waiting();
    attention();
    const found = new Map(payload.kpis.map((kpi) => [kpi.id, kpi]));
    for (const [key, parts] of cells) {
      const data = found.get(key.replace("strip:", ""));
      if (data) fill(parts, data, calm);
    }
    unset();
    known.roles.forEach((role, i) => {
      const hot = role.kpis.filter((kpi) => ["critical", "warning"].includes((found.get(kpi.id) || {}).status)).length;
      const link = $("roles").children[i], off = $("kpis").children[i].querySelector(".off");
      link.replaceChildren(role.role, ...(hot ? [" ", h("b", { title: `${hot} off target` }, String(hot))] : []));
      put(off, hot ? `${hot} off target` : "");
    });
    engine(payload.engine);
    status();
    announce();
  }
  function engine(facts) {
    const shown = (facts.reasons || []).map((reason) => ["incomplete:", reason]), add = (name, value) => { if (value !== undefined && value !== null) shown.push([name, value]); };
    add("events", facts.events === undefined ? undefined : whole.format(facts.events));
    add("behind by", facts.lag === undefined || facts.lag === null ? undefined : `${whole.format(facts.lag)} records`);
    add("freshness", typeof facts.freshness === "number" ? duration(Math.round(facts.freshness)) : undefined);
    add("partitions", facts.partitions === undefined ? undefined : `${facts.partitions}`);
    add("workers", facts.workers === undefined ? undefined : `${facts.workers}`);
    add("settling", facts.settling ? "merged records" : undefined);
    add("time zone", state.payload.zone);
    add("numbers of", state.payload.window.title);
    const text = JSON.stringify(shown);
    if ($("engine").dataset.text === text) return;
    $("engine").dataset.text = text;
    $("engine").replaceChildren(...shown.map(([name, value]) => h("span", null, `${name} `, h("b", null, value))),
      h("a", { href: "api/kpis" }, "JSON"), h("a", { href: "metrics" }, "metrics"));
  }
  // --- states: what may be believed
  function note() {
    const facts = state.payload.engine, node = $("note"), [title, bar, text] = node.children, share = Math.floor((facts.share || 0) * 100);
    node.hidden = facts.state === "live" || facts.state === "starting" || facts.state === undefined;
    if (facts.state === "starting") {
      put($("blank").firstElementChild, "Starting");
      put($("blank").lastElementChild, `${sentence(facts.reasons)}. Numbers appear as soon as they are true.`);
    } else if (facts.state === "catching-up") {
      put(title, "Catching up");
      bar.hidden = false; bar.value = share; bar.textContent = `${share} %`;
      put(text, `${share} % of the history is read${facts.seconds_left === undefined ? "" : `, about ${duration(facts.seconds_left)} left`}. Numbers are those of ${moment(Date.parse(facts.as_of) / 1000)} and will change. Targets are judged once this is done.`);
    } else if (facts.state === "incomplete") {
      put(title, "Incomplete");
      bar.hidden = true;
      put(text, `${sentence(facts.reasons)}. Counts are lower bounds (≥); targets are not judged.`);
    }
  }
  function sentence(reasons) {
    const text = (reasons || []).join("; ") || "Waiting for the first worker";
    return text[0].toUpperCase() + text.slice(1);
  }
  const SETTLING = "Merges are on their way between partitions: a lead that was merged just now may be counted nowhere, or twice, for a moment";
  function status() {
    const payload = state.payload, node = $("state");
    const name = state.failures ? "stale" : payload ? payload.engine.state || "live" : "connecting";
    node.dataset.state = name;
    flip(document.body, "stale", name === "stale" && payload);
    const share = payload && payload.engine.share !== undefined ? `, ${Math.floor(payload.engine.share * 100)} %` : "";
    const words = { stale: payload ? `Stale since ${clock(payload.at)}` : "No answer", connecting: "Connecting", starting: "Starting", "catching-up": `Catching up${share}`, incomplete: "Incomplete" };
    const settling = name === "live" && payload.engine.settling;
    put($("state-text"), words[name] || `${settling ? "Settling " : innerWidth < 720 ? "" : "Live "}${clock(payload.at)}`);
    node.title = name === "stale" ? "The exporter does not answer; trying again by itself" : settling ? SETTLING : payload ? (payload.engine.reasons || []).join("\n") : "";
  }
  function announce() {
    // Rarely, and only what calls for action: a reader cannot follow numbers that move each second.
    const now = Date.now(), payload = state.payload, critical = payload.firing.filter((item) => item.severity === "critical").length;
    const key = `${critical}/${payload.waiting.late}`;
    if (key === state.waiting || now - state.said < ANNOUNCE) return;
    state.waiting = key; state.said = now;
    put($("said"), `${payload.waiting.count} leads waiting, ${payload.waiting.late} past the SLA, ${critical} critical targets missed`);
  }

  // --- asking
  async function ask(calm) {
    clearTimeout(state.timer);
    const mine = ++state.asked, asked = state.window, scope = JSON.stringify(state.scope);
    try {
      const query = new URLSearchParams({ window: asked, catalogue: "0", ...state.scope });
      if (state.stamp[asked] && !scoped()) query.set("trends", state.stamp[asked]);
      const response = await fetch(`api/board?${query}`, { signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
      if (!response.ok) throw new Error(`status ${response.status}`);
      const payload = await response.json();
      if (mine !== state.asked || scope !== JSON.stringify(state.scope)) return;
      if (payload.trends) { state.trends[asked] = payload.trends.rings; state.stamp[asked] = payload.trends.stamp; }
      state.payload = payload;
      state.failures = 0;
      draw(calm);
      begin();
    } catch (error) {
      if (mine !== state.asked) return;
      state.failures += 1;
      status();
      if (state.failures === 1) put($("said"), "The numbers are stale: the exporter does not answer");
    }
    const wait = Math.min(EVERY * 2 ** state.failures, SLOWEST);
    if (!document.hidden) state.timer = setTimeout(ask, state.failures ? wait : EVERY);
  }

  // --- finding
  function filter() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [key, parts] of cells) {
      if (key.startsWith("strip:")) continue;
      const text = `${parts.kpi.id} ${parts.kpi.title} ${parts.role || ""}`.toLowerCase();
      parts.root.hidden = Boolean(parts.off) || !words.every((word) => text.includes(word));
      shown += parts.root.hidden ? 0 : 1;
    }
    for (const section of $("kpis").children) {
      section.hidden = ![...section.querySelectorAll(".kpi")].some((node) => !node.hidden);
      if (words.length) section.open = true;
    }
    $("unset").hidden = Boolean(words.length) || !$("unset").lastElementChild.children.length;
    $("nothing").hidden = shown > 0;
    put($("nothing"), shown ? "" : `No KPI is called “${$("search").value}”. Escape shows all again.`);
  }

  // --- begin
  const chosen = store("salesgauge-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  build();
  if (matchMedia("(max-width: 719px)").matches) for (const part of document.querySelectorAll("details.fold")) part.open = false;
  listen();
  arrive();
  ask(true);
