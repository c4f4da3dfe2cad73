// What was spent, on what, when; and how much of each budget that is.

import { get } from "./api.js";
import { timechart } from "./charts.js";
import { count, empty, fault, fresh, h, hue, hueNow, nano, percent, plural, put, short, usd, wait } from "./dom.js";

const SPANS = [["24h", "Day", "hour"], ["7d", "Week", "day"], ["30d", "Month", "day"]];
const MOST = 7;
const REST = "all others";

export function spend(root, { live, admin }) {
  const DIMENSIONS = admin ? ["model", "key", "provider", "route", "team", "org", "tag"] : ["model", "route", "provider"];
  let last = "24h", by = "model", serial = 0, shape = [], timer = setInterval(load, 10_000);
  const spans = h("div.choice", { role: "group", "aria-label": "How far back" }, SPANS.map(([id, label]) => h("button", { type: "button", "data-id": id, "aria-pressed": String(id === last), onclick: () => { last = id; press(spans, id); load(); } }, label)));
  const cut = h("select", { "aria-label": "Cut by", onchange: () => { by = cut.value; load(); } }, DIMENSIONS.map((one) => h("option", { value: one }, `by ${one}`)));
  const figures = h("dl.figures"), plot = h("div.plot"), legend = h("div.legend"), list = h("div"), limits = h("div.stack"), trouble = h("div");
  put(root,
    h("div.page-head", h("div", h("h1", admin ? "Spend" : "My spend"), h("p", "Exact sums of the ledger. What has an unknown price is counted beside a sum and is in none.")), h("div.row", spans, h("div", { style: { width: "150px" } }, cut))),
    h("div.stack", trouble,
      h("section.panel", { "aria-label": "Spend over time" }, figures, h("div", { style: { height: "14px" } }), plot, legend),
      h("div.two", h("section.panel", { "aria-label": "What it was spent on" }, h("header", h("h2", "What it was spent on")), list),
        h("section.panel", { "aria-label": "Budgets" }, h("header", h("h2", "Budgets"), h("p", "Lent: in the hands of replicas, not spent yet")), limits))));
  const press = (group, id) => { for (const one of group.children) one.setAttribute("aria-pressed", String(one.dataset.id === id)); };
  const chart = timechart(plot, { height: 210, money: (v) => usd(v), floor: 0.0001, days: () => last !== "24h", about: "Spend over time", series: () => shape.map((name) => ({ label: name, stroke: hueNow(name), fill: hueNow(name), width: 0, bars: true })) });

  async function load() {
    const turn = ++serial, each = SPANS.find(([id]) => id === last)[2], where = admin ? "admin/spend" : "ui/spend";
    try {
      const [lines, time, held] = await Promise.all([get(where, { by, last }), get(where, { by, last, each }), get(admin ? "admin/budgets" : "ui/budgets")]);
      if (turn !== serial) return;
      fresh(trouble);
      draw(lines, time, each);
      budgets(held.limits);
    } catch (error) {
      if (turn === serial) fresh(trouble, fault("Spend cannot be read at the moment", `${error.message} It is tried again every ten seconds.`));
    }
  }

  function draw(found, time, each) {
    const { total, projection } = found;
    const before = found.trend.reduce((sum, one) => sum + one.before_nanousd, 0);
    const change = before ? (total.cost_nanousd - before) / before : null;
    fresh(figures,
      figure("Spent", usd(total.cost_usd), total.unpriced ? `+ ${plural(total.unpriced, "attempt")} at an unknown price` : change === null ? "" : `${change >= 0 ? "+" : "−"}${percent(Math.abs(change), 0)} on the span before`),
      figure("Attempts", short(total.attempts), total.attempts ? `${percent(total.ok / total.attempts)} answered` : ""),
      figure("Tokens", short(total.input_tokens + total.output_tokens), `${short(total.output_tokens)} of them written`),
      figure("An answer, on average", total.ok ? nano(total.cost_nanousd / total.ok) : "–"),
      projection ? figure(`Next ${projection.days} days`, usd(projection.expected_usd), projection.low_usd === null ? `from ${plural(projection.learned_days, "day")}` : `${usd(projection.low_usd)} to ${usd(projection.high_usd)}`) : figure("Next 30 days", "–", "known after a whole day"));

    const names = found.lines.map((one) => one[by] || "–");
    const kept = names.slice(0, MOST), others = names.length > MOST;
    const step = each === "hour" ? 3_600_000 : 86_400_000;
    const end = Math.floor(found.until_ms / step) * step, steps = each === "hour" ? 24 : parseInt(last, 10);
    const starts = Array.from({ length: steps }, (_, i) => end - (steps - 1 - i) * step);
    const sums = new Map([...kept, ...(others ? [REST] : [])].map((name) => [name, starts.map(() => 0)]));
    for (const line of time.lines) {
      const at = starts.indexOf(line.start_ms);
      const name = kept.includes(line[by] || "–") ? line[by] || "–" : REST;
      if (at >= 0 && sums.has(name)) sums.get(name)[at] += line.cost_nanousd / 1e9;
    }
    kept.forEach(hue);
    // Drawn from the highest sum down, each over the one before, so that what is seen of it is its own part.
    const order = [...sums.keys()].reverse(), data = [];
    for (let i = 0; i < order.length; i += 1) data.push(starts.map((_, at) => order.slice(i).reduce((all, name) => all + sums.get(name)[at], 0)));
    shape = order;
    chart.set([starts.map((ms) => ms / 1000), ...data], `${order}|${last}`, `Spend by ${by} for each ${each}: ${found.lines.slice(0, MOST).map((one) => `${one[by] || "–"} ${usd(one.cost_usd)}`).join(", ") || "nothing"}`);
    fresh(legend, kept.map((name) => h("span", h("span.swatch", { style: { background: hue(name) } }), name)), others ? h("span", h("span.swatch", { style: { background: hue(REST) } }), REST) : null);

    const most = Math.max(...found.lines.map((one) => one.cost_nanousd), 1);
    fresh(list, found.lines.length ? h("div.scroll", { tabindex: "0", role: "region", "aria-label": `Spend by ${by}` }, h("table", h("thead", h("tr", h("th", { scope: "col" }, by), h("th.num", { scope: "col" }, "Attempts"), h("th.num.wide", { scope: "col" }, "Tokens"), h("th.wide", { scope: "col" }, "Share"), h("th.num", { scope: "col" }, "Cost"))),
      h("tbody", found.lines.slice(0, 40).map((one) => h("tr", h("td", { style: { "overflow-wrap": "anywhere" } }, one[by] || "–"), h("td.num", short(one.attempts)), h("td.num.wide", short(one.input_tokens + one.output_tokens)), h("td.wide", h("div.bar", { "aria-hidden": "true" }, h("i", { style: { width: `${(one.cost_nanousd / most) * 100}%` } }))), h("td.num", usd(one.cost_usd), one.unpriced ? h("span.soft", ` + ${count(one.unpriced)} unpriced`) : null)))))) :
      empty("Nothing was spent in this time", "Choose a longer span, or send a request."));
  }

  function budgets(all) {
    const money = all.filter((one) => one.counts === "money").sort((a, b) => b.used / Math.max(b.amount, 1) - a.used / Math.max(a.amount, 1));
    fresh(limits, money.length ? money.map(budget) : empty("No budget is set", admin ? "Without one nothing bounds what a key may spend. Set one under Keys, or: raygate budget set key KEY 10/day" : "Nothing bounds your key but what stands above it."));
  }

  load();
  return { end() { clearInterval(timer); chart.end(); }, paint() { chart.paint(); } };
}

/** One budget as it stands; also shown beside keys. */
export function budget(one, { named = true } = {}) {
  const share = one.used / Math.max(one.amount, 1), left = one.ends_ms ? (one.ends_ms - Date.now()) / 1000 : null;
  const kind = share >= 1 ? "bad" : share >= 0.8 ? "warn" : "";
  const name = `${one.scope} ${one.of}`;
  return h("div.stack.tight", h("div.row.apart", { style: { gap: "4px 12px" } }, named ? h("b", { style: { "font-weight": 600, "overflow-wrap": "anywhere" } }, name) : null, h("span", `${nano(one.used)} of ${nano(one.amount)} ${one.period === "total" ? "in all" : `a ${one.period}`}`)),
    h(`div.bar${kind ? "." + kind : ""}`, { role: "meter", "aria-label": `Budget of ${name}`, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.min(100, Math.round(share * 100)) }, h("i", { style: { width: `${Math.min(100, share * 100)}%` } })),
    h("p.small.soft", [share >= 1 ? (one.hard ? "Used up: requests are refused" : "Used up: it only warns") : `${percent(share, 0)} used`, one.lent ? `${nano(one.lent)} lent` : "", left !== null ? `begins anew in ${wait(left)}` : ""].filter(Boolean).join(" · ")));
}

const figure = (label, value, more) => h("div.figure", h("dt", label), h("dd", value, more ? h("small", { style: { display: "block" } }, more) : null));
