  const known = JSON.parse(document.getElementById("data").textContent);
  const WINDOWS = Object.keys(known.windows);
  const NAMES = { all: "all", today: "today", mtd: "month", qtd: "quarter", "365d": "1 y" };
  const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0"];
  const SCOPES = ["team", "rep", "source"];
  const EVERY = 1500, SLOWEST = 30000, PATIENCE = 8000, WALL_TURN = 20000, ANNOUNCE = 15000;
  const kpis = new Map(known.roles.flatMap((role) => role.kpis.map((kpi) => [kpi.id, kpi])));
  const state = {
    window: known.window, by: "rep", scope: {}, payload: null, trends: {}, stamp: {}, failures: 0, timer: 0, asked: 0, opened: null, pushed: false,
    turn: 0, page: 0, said: 0, firing: "", waiting: null, every: false, leaving: false, next: null,
  };
  let begin;
  const begun = new Promise((resolve) => { begin = resolve; });

