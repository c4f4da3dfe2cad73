// The last requests, newest first; each opens into its attempts, why they were made, what they cost and took.

import { get } from "./api.js";
import { clock, count, empty, fault, fresh, h, icon, ms, nano, percent, plural, put, short, usd } from "./dom.js";
import { failed } from "./live.js";

const SHOWN = 150;
const WORDS = {
  ok: "answered", cached: "from the cache", shared: "shared with an equal request", hedged: "slower than its second try", cancelled: "the caller hung up",
  unavailable: "the provider was not available", overloaded: "the provider was overloaded", rate_limited: "the provider asked to wait (429)", timed_out: "no answer in time",
  interrupted: "the answer broke off", malformed: "the answer made no sense", unauthenticated: "the provider refused our key", forbidden: "our key may not do that there",
  model_not_found: "the provider has no such model", quota_exhausted: "our quota there is used up", refused: "its breaker was open", throttled: "it had asked us to wait",
  context_overflow: "too long for the model", content_filtered: "refused by its content filter", bad_request: "the request was not valid there", deadline_exceeded: "the request's time was over", unsupported: "the model cannot do that", budget_exceeded: "the budget is used up",
};
const KINDS = [
  ["all", "All", () => true],
  ["failed", "Failed", (one) => !one.ok],
  ["again", "More than one attempt", (one) => one.rows.length > 1],
  ["slow", "Slow", (one) => one.took > 2_000],
  ["free", "From cache", (one) => one.flags.has("cached")],
];

/** What the rows of one request come to. */
function together(id, rows) {
  const sorted = [...rows].sort((a, b) => a.at_ms - b.at_ms || a.settled_ms - b.settled_ms);
  const began = sorted[0].at_ms;
  const end = Math.max(...sorted.map((row) => row.at_ms + (row.latency_ms || 0)));
  const good = sorted.findLast((row) => !failed(row) && row.outcome !== "hedged") || sorted.at(-1);
  const cost = sorted.some((row) => row.cost_nanousd === undefined && !failed(row)) ? null : sorted.reduce((sum, row) => sum + (row.cost_nanousd || 0), 0);
  const flags = new Set(sorted.flatMap((row) => row.flags || []));
  return { id, rows: sorted, began, took: end - began, end, last: good, ok: !failed(good), cost, flags, tokens: sorted.reduce((sum, row) => sum + (row.input_tokens || 0) + (row.output_tokens || 0), 0) };
}

const text = (one) => [one.id, one.last.route, one.last.key, one.last.team, ...one.rows.flatMap((row) => [`${row.provider}/${row.model}`, row.outcome]), ...one.flags, ...(one.last.tags || [])].join(" ").toLowerCase();

export function requests(root, { live, admin }) {
  let kind = "all", words = "", held = null, opened = null, timer = 0;
  const lines = new Map();
  const search = h("input", { type: "search", placeholder: "route, model, key, id, outcome …", "aria-label": "Filter requests", oninput: () => { words = search.value.trim().toLowerCase(); held = null; update(); } });
  const kinds = h("div.choice", { role: "group", "aria-label": "Which requests" }, KINDS.map(([id, label]) => h("button", { type: "button", "aria-pressed": String(id === kind), "data-kind": id, onclick: () => { kind = id; held = null; for (const one of kinds.children) one.setAttribute("aria-pressed", String(one.dataset.kind === kind)); update(); } }, label)));
  const more = h("button.button.slim", { type: "button", onclick: () => { held = null; close(); update(); } });
  const body = h("tbody");
  const nothing = h("div");
  const table = h("table", h("thead", h("tr", h("th", { scope: "col" }, "Time"), h("th", { scope: "col" }, "Asked for"), h("th.wide", { scope: "col" }, "Answered by"), h("th", { scope: "col" }, "Result"), h("th.num.wide", { scope: "col" }, "Tokens"), h("th.num.wide", { scope: "col" }, "Took"), h("th.num", { scope: "col" }, "Cost"))), body);
  put(root,
    h("div.page-head", h("div", h("h1", admin ? "Requests" : "My requests"), h("p", "As they end, from the ledger: about a second late. Open one to see its attempts. Prompts are not kept."))),
    h("div.stack", h("div.row", h("div.grow", { style: { "max-width": "340px" } }, search), kinds, more), h("section.panel", { "aria-label": "Requests" }, h("div.scroll", { tabindex: "0", role: "region", "aria-label": "List of requests" }, table), nothing)));

  function chosen() {
    const is = KINDS.find(([id]) => id === kind)[2];
    const found = [];
    for (const [id, rows] of [...live.requests].reverse()) {
      const one = together(id, rows);
      if (is(one) && (!words || words.split(/\s+/).every((word) => text(one).includes(word)))) found.push(one);
      if (found.length >= SHOWN) break;
    }
    return found.sort((a, b) => b.began - a.began);
  }

  function close() { opened?.tr.nextSibling?.remove(); opened?.button.setAttribute("aria-expanded", "false"); opened = null; }

  function update() {
    let found = chosen();
    // What somebody reads stays where it is.
    if (opened) {
      const known = new Set(held || (held = found.map((one) => one.id)));
      const fresh_ones = found.filter((one) => !known.has(one.id)).length;
      more.hidden = !fresh_ones;
      more.textContent = `Show ${plural(fresh_ones, "new one")}`;
      return;
    }
    held = null; more.hidden = true;
    fresh(nothing, found.length ? null : live.requests.size ? empty("Nothing fits the filter", "Clear it, or wait: what comes is looked at as well.") : live.away.ledger ? fault("The ledger cannot be reached", `${live.away.ledger}. Requests go on; they are shown here once it is back.`) : empty("No request in the last day", admin ? "Send one in the playground, or: raygate chat \"Say hello.\"" : "Send one in the playground."));
    table.hidden = !found.length;
    const seen = new Set();
    const first = !body.hasChildNodes();
    found.forEach((one, at) => {
      seen.add(one.id);
      const sign = `${one.rows.length}|${one.end}|${one.cost}`;
      let line = lines.get(one.id);
      if (!line || line.sign !== sign) { const made = make(one); made.sign = sign; if (!line && !first) made.tr.classList.add("new-row"); line?.tr.remove(); lines.set(one.id, (line = made)); }
      if (body.children[at] !== line.tr) body.insertBefore(line.tr, body.children[at] || null);
    });
    for (const [id, line] of lines) if (!seen.has(id)) { line.tr.remove(); lines.delete(id); }
  }

  function make(one) {
    const { last } = one;
    const open = h("button.open", { type: "button", "aria-expanded": "false", "aria-label": `Details of the request at ${clock(one.began)}` }, icon("chevron"));
    const failures = one.rows.filter(failed).length;
    const result = one.ok ? (one.flags.has("cached") ? "cached" : one.flags.has("shared") ? "shared" : "ok") : last.outcome;
    const by = last.provider ? `${last.provider}/${last.model}` : "–";
    const tr = h("tr.line", { "data-request": one.id },
      h("td", h("span", { style: { "white-space": "nowrap" } }, open, " ", clock(one.began))),
      h("td", { style: { "overflow-wrap": "anywhere" } }, last.route || "default"),
      h("td.wide", { style: { "overflow-wrap": "anywhere" } }, by === last.route ? h("span.soft", "the same") : by),
      h("td", h("span.row", { style: { gap: "5px" } }, h(`span.tag.${one.ok ? "ok" : "bad"}`, result.replaceAll("_", " ")), failures && one.ok ? h("span.tag.warn", `after ${plural(failures, "failure")}`) : null, ["hedged", "partial", "estimated", "lost", "overrun", "unpriced"].filter((flag) => one.flags.has(flag)).map((flag) => h("span.tag.wide", flag)))),
      h("td.num.wide", one.tokens ? short(one.tokens) : "–"), h("td.num.wide", ms(one.took)), h("td.num", one.cost === null ? h("span.soft", "unknown") : nano(one.cost)));
    const line = { tr, button: open, one };
    tr.addEventListener("click", () => { const same = opened?.tr === tr; close(); if (!same) show(line); else { held = null; update(); } });
    return line;
  }

  function show(line) {
    opened = line; held = null;
    line.button.setAttribute("aria-expanded", "true");
    const why = h("div");
    line.tr.after(h("tr.detail", h("td", { colspan: 7 }, detail(line.one, why))));
    reasons(line.one, why);
    update();
  }

  function detail(one, why) {
    const { last } = one, span = Math.max(one.took, 1);
    const sum = (name) => one.rows.reduce((total, row) => total + (row[name] || 0), 0);
    const fact = (label, value) => h("div", h("dt", label), h("dd", value));
    return h("div.stack",
      h("div", h("h3", "Attempts"), h("div", { style: { height: "8px" } }),
        h("div.fall", { role: "list", "aria-label": "Attempts over time" }, one.rows.map((row) => {
          const left = ((row.at_ms - one.began) / span) * 100, wide = ((row.latency_ms || 0) / span) * 100, first = row.ttft_ms !== undefined && row.ttft_ms < (row.latency_ms || 0) ? (row.ttft_ms / span) * 100 : 0;
          const bad = failed(row);
          const words = `${row.provider}/${row.model}: ${WORDS[row.outcome] || row.outcome}, began after ${ms(row.at_ms - one.began)}, took ${ms(row.latency_ms)}${row.ttft_ms !== undefined ? `, first content after ${ms(row.ttft_ms)}` : ""}`;
          return h("div", { role: "listitem", "aria-label": words, style: { display: "contents" } },
            h("span", { style: { "overflow-wrap": "anywhere" } }, `${row.provider}/${row.model}`, h("br"), h("span.soft", WORDS[row.outcome] || row.outcome.replaceAll("_", " "))),
            h("div.track", { title: words },
              h(`i${bad ? ".bad" : first ? ".first" : ""}`, { style: { left: `${left}%`, width: `${bad || !first ? wide : first}%` } }),
              !bad && first ? h("i", { style: { left: `${left + first}%`, width: `${Math.max(0, wide - first)}%` } }) : null),
            h("span.num", ms(row.latency_ms)));
        })),
        one.rows.some((row) => row.ttft_ms !== undefined) ? h("p.small.soft", { style: { "margin-top": "6px" } }, "Pale: until the first content. Full: the answer. Red: what failed.") : null),
      h("div", h("h3", "Why this model"), why),
      h("dl.facts",
        fact("Cost", one.cost === null ? "unknown: there is no price for it" : nano(one.cost)),
        fact("of that, input and output", `${nano(sum("input_nanousd"))} + ${nano(sum("output_nanousd"))}`),
        fact("Tokens in and out", `${count(sum("input_tokens"))} + ${count(sum("output_tokens"))}`),
        fact("Provider's prompt cache", sum("cached_input_tokens") ? `${percent(sum("cached_input_tokens") / Math.max(1, sum("input_tokens")))} of the input` : "not used"),
        fact("Our cache", one.flags.has("cached") ? "hit" : one.flags.has("shared") ? "shared with an equal request" : "no"),
        fact("Price from", last.cost_source || "–"),
        fact("Key", last.key || "–"),
        last.team || last.org ? fact("Team, organisation", [last.team, last.org].filter(Boolean).join(", ")) : null,
        fact("Request", h("code", one.id))));
  }

  /** Why it went where it went: what the rows say, and what the learner noted. */
  async function reasons(one, el) {
    const { hello } = live, { last } = one, said = [];
    const route = (hello.routes || {})[last.route];
    const same = last.route === `${last.provider}/${last.model}` || last.route === last.model || last.route === last.provider;
    if (same) said.push("It was asked for by this name.");
    else if (route) said.push(`Route ${last.route} orders ${plural(route.targets.length, "candidate")} (${route.targets.join(", ")}) by the strategy ${route.strategy || hello.strategy}.`);
    else if (last.route) said.push(`The name ${last.route} led to it${hello.strategy ? `, ordered by ${hello.strategy}` : ""}.`);
    else said.push("No model was named, so it went by the default.");
    for (const row of one.rows.filter(failed)) said.push(`${row.provider}/${row.model} was asked first; ${WORDS[row.outcome] || row.outcome}.`);
    if (one.flags.has("hedged")) said.push("It took longer than usual, so a second candidate was asked beside it.");
    if (one.flags.has("cached")) said.push("The answer was remembered; nobody was asked.");
    fresh(el, h("p", said.join(" ")));
    if (!admin || !hello.learning || !(route?.strategy === "learned" || /^ruvector/.test(last.route || ""))) return;
    try {
      const made = await get(`admin/learning/decisions/${encodeURIComponent(one.id)}`, last.org ? { org: last.org } : {});
      const dear = [...made.candidates].sort((a, b) => (b.cost_usd ?? 0) - (a.cost_usd ?? 0));
      const how = { learned: `The learner chose ${made.chosen}${made.propensity !== null ? `, as it would ${percent(made.propensity, 0)} of the time` : ""}${made.gave_up > 0 ? `, to learn: it expected another to be better by ${made.gave_up.toFixed(3)}` : ""}.`, default: "The learner abstained for want of evidence; the route's default order held.", holdout: "It was one of those that go by the default order on purpose, to compare with.", calibrated: "It was one of a calibration: all of these models were asked, to learn from it.", shadow: `The default order held; the learner would have chosen ${made.chosen || "nobody"}.` }[made.mode] || made.mode;
      put(el, h("p", { style: { "margin-top": "4px" } }, how, ` Expected costs: ${dear.map((it) => `${it.model} ${usd(it.cost_usd)}`).join(", ")}.`),
        h("p", { style: { "margin-top": "4px" } }, made.judged.length ? `Somebody judged the answer: ${made.judged.map((it) => it.quality.toFixed(2)).join(", ")} of 1.` : "Nobody has judged the answer yet."));
    } catch (error) {
      put(el, h("p.soft", { style: { "margin-top": "4px" } }, error.status === 404 ? "The learner has no note of this request (yet)." : error.message));
    }
  }

  return { update, arg([id]) { if (id) { search.value = words = id.toLowerCase(); history.replaceState(null, "", "#/requests"); update(); } }, end() { clearInterval(timer); } };
}
