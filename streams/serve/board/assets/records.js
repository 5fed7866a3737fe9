  // --- the records behind a number
  const LISTED = 8, WAITING_LISTED = 100, SOON = 250000, AGAIN = 5000, RARELY = 20, SLOW = 29000, WAITS = "leads_waiting";
  function records(kpi, window) {
    const waits = kpi.id === WAITS, path = waits ? "api/leads/waiting" : "api/explain";
    const query = new URLSearchParams({ ...state.scope, ...(waits ? {} : { kpi: kpi.id, window }) });
    const box = h("section", { class: "records", "aria-label": "Records" }), list = h("div"), title = h("small");
    box.append(h("h3", null, waits ? "Who waits" : "Records", title), list);
    const load = async () => {
      const began = Date.now();
      if (!list.childNodes.length) list.append(h("p", { class: "muted" }, "Asking the workers…"));
      try {
        const response = await fetch(`${path}?${query}&limit=${waits ? WAITING_LISTED : LISTED}${waits ? "" : "&facts=0"}`, { signal: AbortSignal.timeout(SLOW), cache: "no-store" });
        const data = await response.json();
        if (!response.ok) throw new Error(data.error);
        const rows = waits ? data.leads : data.entities, top = list.scrollTop;
        put(title, data.count ? ` ${whole.format(rows.length)} of ${whole.format(data.count)}` : "");
        list.replaceChildren(...absent(data), rows.length ? waits ? waitingTable(rows) : recordTable(data) : h("p", { class: "muted" }, waits ? "No lead is waiting." : "No record adds anything."),
          h("p", { class: "more" }, h("a", { href: `${path}?${query}&limit=1000&format=csv`, download: true }, "CSV")));
        list.scrollTop = top;
      } catch (error) {
        list.replaceChildren(h("p", { class: "muted" }, `The records cannot be shown: ${error.name === "TimeoutError" ? "the workers did not answer in time" : error.message}.`));
      }
      if (waits) again(load, box, Date.now() - began);
    };
    if (waits || (state.payload.engine.events || 0) <= SOON) load();
    else list.append(h("button", { type: "button", class: "more", onclick: load }, "Show the records"));
    return box;
  }
  // A list that takes the workers long is asked for seldom; one that nobody sees, not at all.
  function again(load, box, took) {
    setTimeout(() => { if (!box.isConnected || !$("detail").open) return; if (document.hidden) again(load, box, took); else load(); }, Math.max(AGAIN, RARELY * took));
  }
  const absent = (data) => data.missing.length ? [h("p", { class: "hot", role: "status" }, `${data.missing.length} ${data.missing.length > 1 ? "partitions are" : "partition is"} missing: ${data.missing[0].reason}.`)] : [];
  const linked = (text, address) => address ? h("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, text) : text;
  function grid(label, heads, rows) {
    return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
      h("table", null, h("thead", null, h("tr", null, ...heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", null, ...rows)));
  }
  function recordTable(data) {
    const parts = data.parts.map((part) => part.name), timed = data.entities.some((one) => one.samples || one.waits);
    const longest = (one) => Math.max(...Object.values(one.samples || {}).flat(), ...Object.values(one.waits || {}).flat().map((wait) => wait.seconds));
    return grid("Records", ["Record", ...parts, ...(timed ? ["Longest"] : [])], data.entities.map((one) => h("tr", null, h("td", null, linked(`${one.kind} ${one.key}${one.page ? ` ${one.page}` : ""}`, one.link)),
      ...parts.map((part) => h("td", null, minus(two.format(one.adds[part] || 0)))), ...(timed ? [h("td", null, one.samples || one.waits ? duration(longest(one)) : "")] : []))));
  }
  function waitingTable(leads) {
    return grid("Who waits", ["Lead", "Waited", "Left", "Owner", "Team", "Source"], leads.map((lead) => h("tr", null, h("td", null, linked(lead.lead, lead.link)), h("td", null, rough(lead.waited_seconds)),
      h("td", { class: lead.state === "late" ? "hot" : null }, lead.left_seconds < 0 ? `${rough(-lead.left_seconds)} over` : rough(lead.left_seconds)),
      h("td", null, labelled(lead.rep, "rep")), h("td", null, labelled(lead.team, "team")), h("td", null, labelled(lead.source, "source")))));
  }
