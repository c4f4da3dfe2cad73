// What was learned: what quality costs, where prompts lie and whom they should go to, and why a prompt would go where.

import { ask, get } from "./api.js";
import { count, empty, fault, fitted, fresh, h, hue, ms, nano, percent, plural, put, s, usd } from "./dom.js";

export function routing(root, { live }) {
  let org = "", known = null, state = null, serial = 0, ends = [], timer = setInterval(load, 5_000);
  const trouble = h("div"), figures = h("dl.figures"), progress = h("div"), curve = h("div"), map = h("div"), topics = h("div"), told = h("div");
  const prompt = h("textarea", { id: "explained", rows: 3, placeholder: "Write a short poem about the sea …" });
  const model = h("select", { id: "explained-model" });
  const whose = h("input", { type: "text", placeholder: "default", "aria-label": "Organisation", onchange: () => { org = whose.value.trim(); known = null; load(); } });
  put(root,
    h("div.page-head", h("div", h("h1", "Routing"), h("p", "What Raygate has learned of the models from judged answers, and what it does with it.")), h("label.row.small.soft", "Organisation", h("div", { style: { width: "130px" } }, whose))),
    h("div.stack", trouble,
      h("section.panel", { "aria-label": "How learning stands" }, figures, progress),
      h("div.two",
        h("section.panel", { "aria-label": "Cost and quality" }, h("header", h("h2", "What quality costs"), h("p", "Expected, over the last prompts")), curve),
        h("section.panel", { "aria-label": "Map of prompts" }, h("header", h("h2", "Prompts on a map"), h("p", "Alike lie close; colour is who answered")), map)),
      h("section.panel", { "aria-label": "Topics" }, h("header", h("h2", "Whom each topic should go to"), h("p", "Expected quality from 0 to 1; a route also weighs the price")), topics),
      h("section.panel", { "aria-label": "Decision explainer" }, h("header", h("h2", "Why would a prompt go where?"), h("p", "Nobody is asked, nothing is spent")),
        h("form.stack", { onsubmit: (event) => { event.preventDefault(); explain(); } }, h("label.field", { for: "explained" }, "Prompt", prompt),
          h("div.row", h("label.field", { for: "explained-model", style: { width: "240px" } }, "Asked for", model), h("button.button.main", { type: "submit", style: { "align-self": "end" } }, "Explain"))), told)));
  names(model, live);

  /** Panels about which nothing is known are not shown empty. */
  function cover(hidden) { for (const one of [figures, curve, map, topics]) one.closest("section").hidden = hidden; }

  async function load() {
    const turn = ++serial;
    if (!live.hello.learning) {
      fresh(trouble, h("div.note", h("strong", "Learning is switched off. "), "Set learning.enabled in the settings; routes go by their other strategies meanwhile. The explainer below works all the same."));
      cover(true);
      clearInterval(timer);
      return;
    }
    try {
      const [now, found] = await Promise.all([get("admin/learning", { org }), get("admin/learning/map", { org })]);
      if (turn !== serial) return;
      fresh(trouble); cover(false);
      const said = JSON.stringify([now, found]);
      if (said === known) return;
      known = said; state = found;
      numbers(now, found); paint();
    } catch (error) {
      if (turn === serial) fresh(trouble, fault("What was learned cannot be read at the moment", `${sentence(error.message)} Requests go on by the policy that replicas have; it is tried again every five seconds.`));
      if (turn === serial && !state) cover(true);
    }
  }

  function numbers(now, found) {
    const { decisions } = found, learned = decisions.modes.learned || 0;
    fresh(figures,
      figure("Prompts seen", count(now.prompts)),
      figure("Answers judged", count(now.judged), now.prompts ? `${percent(now.judged / now.prompts, 0)} of them` : ""),
      figure("Decided by learning", decisions.of ? percent(learned / decisions.of, 0) : "–", decisions.of ? `of the last ${count(decisions.of)}` : "no decision yet"),
      figure("Asked to learn", decisions.of ? percent(decisions.explored / decisions.of) : "–", decisions.of ? `gave up ${decisions.gave_up.toFixed(4)} of quality a prompt` : ""),
      figure("Signals without judges", count(Object.values(now.signals).reduce((sum, n) => sum + n, 0))));
    figures.dataset.judged = now.judged;
    const share = Math.min(1, now.prompts / Math.max(1, now.warm_up));
    fresh(progress, now.paused ? note("Learning is paused. ", "What comes is kept; resume it with: raygate learn resume") :
      now.learns ? null : h("div.stack.tight", { style: { "margin-top": "16px" } }, h("p", h("strong", "Warming up. "), now.prompts < now.warm_up ? `${count(now.prompts)} of ${count(now.warm_up)} prompts to routes of the strategy “learned” have come; until then, their default order holds.` : "Prompts have come for one model alone so far; a second candidate is needed to choose between."),
        h("div.bar", { role: "progressbar", "aria-label": "Warm-up", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(share * 100) }, h("i", { style: { width: `${share * 100}%` } }))));
  }

  function paint() {
    if (!state) return;
    for (const end of ends) end();
    ends = [];
    for (const one of state.models) hue(one.model);
    if (state.learns && state.curve.length) ends.push(plot(curve, (width) => quality(width, state))); else fresh(curve, waiting("The curve comes with the learner", "It needs judged answers: thumbs in the playground, or POST /v1/feedback."));
    if (state.points.length) ends.push(plot(map, (width) => points(width, state))); else fresh(map, waiting("No prompt is on the map yet", "Each prompt to a route of the strategy “learned”, or to a model named ruvector-auto, becomes a dot here."));
    fresh(topics, table(state));
  }

  async function explain() {
    const words = prompt.value.trim();
    if (!words) { prompt.focus(); return; }
    try {
      const found = await ask("POST", "v1/route/explain", { model: model.value || undefined, messages: [{ role: "user", content: words }] });
      fresh(told, explained(found));
    } catch (error) { fresh(told, fault("It cannot be said", error.message)); }
  }

  load();
  return { paint, end() { clearInterval(timer); for (const end of ends) end(); } };
}

export function names(select, live, { first } = {}) {
  const routes = Object.keys(live.hello.routes || {});
  if (first) put(select, first);
  put(select, routes.length ? h("optgroup", { label: "Routes" }, routes.map((name) => h("option", { value: name }, name))) : null);
  get("v1/models").then(({ data }) => {
    const seen = new Set(routes), of = { auto: [], other: [] };
    for (const { id } of data) if (!seen.has(id)) of[id.startsWith("ruvector-") ? "auto" : "other"].push(id);
    put(select, of.auto.length ? h("optgroup", { label: "By what was learned" }, of.auto.map((id) => h("option", { value: id }, id))) : null,
      of.other.length ? h("optgroup", { label: "Models" }, of.other.map((id) => h("option", { value: id }, id))) : null);
    select.dispatchEvent(new Event("filled"));
  }).catch(() => {});
}

const note = (bold, rest) => h("p.note", { style: { "margin-top": "16px" } }, h("strong", bold), rest);
const waiting = (title, more) => empty(title, more);
const figure = (label, value, more) => h("div.figure", h("dt", label), h("dd", value, more ? h("small", { style: { display: "block" } }, more) : null));

function plot(el, draw) {
  const frame = h("div.plot");
  fresh(el, frame);
  return fitted(frame, (width) => fresh(frame, draw(width)));
}

/** Quality against cost: what the policy can reach, each model by itself, and where the traffic lies. */
function quality(width, found) {
  const height = 280, left = 42, right = 18, top = 16, bottom = 40;
  const models = found.models.filter((one) => one.cost_usd !== null && one.quality !== null);
  // What is free has no logarithm; it stands at the left edge.
  const paid = [...models, ...found.curve].map((one) => one.cost_usd).filter((c) => c > 0);
  const least = Math.min(...paid, 1e-6) , lowest = Math.log10((paid.length ? Math.min(...paid) : least) / 1.6), highest = Math.log10((paid.length ? Math.max(...paid) : 1) * 1.6);
  const x = (c) => left + ((Math.max(Math.log10(Math.max(c, 1e-12)), lowest) - lowest) / Math.max(highest - lowest, 1e-9)) * (width - left - right);
  const all = [...models, ...found.curve, ...(found.traffic ? [found.traffic] : [])].map((one) => one.quality);
  const low = Math.max(0, Math.floor((Math.min(...all) - 0.04) * 10) / 10), high = Math.min(1, Math.ceil((Math.max(...all) + 0.02) * 10) / 10);
  const y = (q) => top + (1 - (q - low) / Math.max(high - low, 0.1)) * (height - top - bottom);
  const gap = high - low > 0.6 ? 0.2 : high - low > 0.25 ? 0.1 : 0.05;
  const ys = Array.from({ length: Math.round((high - low) / gap) + 1 }, (_, i) => low + gap * i).filter((q) => q <= high + 1e-9);
  const spread = 10 ** (highest - lowest), marks = [];
  for (let e = Math.floor(lowest); e <= highest; e += 1) for (const m of spread > 200 ? [1] : [1, 3]) { const c = m * 10 ** e; if (Math.log10(c) >= lowest && Math.log10(c) <= highest) marks.push(c); }
  const line = found.curve.map((one) => `${x(one.cost_usd).toFixed(1)},${y(one.quality).toFixed(1)}`);
  const words = `Expected quality by cost of a prompt. ${models.map((one) => `${one.model}: ${one.quality.toFixed(2)} for ${usd(one.cost_usd)}`).join("; ")}.${found.traffic ? ` The traffic: ${found.traffic.quality.toFixed(2)} for ${usd(found.traffic.cost_usd)}.` : ""}`;
  const t = found.traffic;
  return [s("svg", { width, height, role: "img", "aria-label": words },
    ys.map((q) => [s("line", { x1: left, x2: width - right, y1: y(q), y2: y(q), stroke: "var(--line)" }), s("text", { x: left - 8, y: y(q) + 4, "text-anchor": "end" }, q.toFixed(2))]),
    marks.map((c) => s("text", { x: x(c), y: height - 20, "text-anchor": "middle" }, `$${Number(c.toPrecision(1)).toFixed(Math.max(0, Math.ceil(-Math.log10(c) - 1e-9)))}`)),
    s("text", { x: width - right, y: height - 3, "text-anchor": "end" }, "cost of a prompt →"),
    s("polyline", { points: line.join(" "), fill: "none", stroke: "var(--accent)", "stroke-width": 2.2, "stroke-linejoin": "round" }),
    found.curve.map((one) => s("circle", { cx: x(one.cost_usd), cy: y(one.quality), r: 2.6, fill: "var(--accent)" }, s("title", null, `${one.quality.toFixed(3)} for ${usd(one.cost_usd)}: ${Object.entries(one.shares).map(([name, share]) => `${name} ${percent(share, 0)}`).join(", ")}`))),
    models.map((one) => { const far = x(one.cost_usd) > width * 0.62; return [
      one.doubt ? s("line", { x1: x(one.cost_usd), x2: x(one.cost_usd), y1: y(Math.min(high, one.quality + one.doubt)), y2: y(Math.max(low, one.quality - one.doubt)), stroke: hue(one.model), "stroke-opacity": 0.5, "stroke-width": 2 }) : null,
      s("rect", { x: x(one.cost_usd) - 5, y: y(one.quality) - 5, width: 10, height: 10, rx: 2, fill: hue(one.model) }), s("text", { class: "strong", x: x(one.cost_usd) + (far ? -8 : 10), y: y(one.quality) + (far ? -11 : 17), "text-anchor": far ? "end" : "start" }, one.model)]; }),
    t ? [s("circle", { cx: x(t.cost_usd), cy: y(t.quality), r: 7, fill: "none", stroke: "var(--ink)", "stroke-width": 2 }), s("text", { class: "strong", x: x(t.cost_usd), y: y(t.quality) + 23, "text-anchor": "middle" }, "traffic")] : null),
  h("div.legend", h("span", h("span.swatch", { style: { background: "var(--accent)" } }), "what the policy can reach, from cheap to good"), h("span", "■ always the same model"), t ? h("span", "○ what the last ", plural(t.prompts, "prompt"), " came to") : null)];
}

/** Dots are prompts; circles around them are topics, with their numbers. */
function points(width, found) {
  const height = 280, pad = 22;
  const x = (v) => pad + ((v + 1) / 2) * (width - 2 * pad), y = (v) => pad + ((1 - v) / 2) * (height - 2 * pad);
  // What lies on the same spot is moved apart a little, and the badges stand above their dots, clear of each other.
  const apart = (at) => [7 * Math.sqrt(((at * 7919) % 101) / 101) * Math.cos(at * 2.4), 7 * Math.sqrt(((at * 7919) % 101) / 101) * Math.sin(at * 2.4)];
  const badges = [];
  for (const one of found.topics) {
    const spot = { x: Math.min(width - pad, Math.max(pad, x(one.x))), y: y(one.y) < 44 ? y(one.y) + 24 : y(one.y) - 22 };
    while (badges.some((other) => Math.hypot(other.x - spot.x, other.y - spot.y) < 25)) { spot.x += 26; if (spot.x > width - pad) { spot.x = pad; spot.y += 26; } }
    badges.push(spot);
  }
  const who = [...new Set(found.points.map((one) => one.model).filter(Boolean))].sort();
  const words = `${found.points.length} prompts in ${plural(found.topics.length, "topic")}: ${found.topics.map((one, at) => `${at + 1}, ${plural(one.prompts, "prompt")}${one.best ? `, best ${one.best}` : ""}`).join("; ")}`;
  return [s("svg", { width, height, role: "img", "aria-label": words },
    s("rect", { x: 0.5, y: 0.5, width: width - 1, height: height - 1, rx: 8, fill: "var(--sunk)", stroke: "none" }),
    found.points.map((one, at) => s("circle", { cx: (x(one.x) + apart(at)[0]).toFixed(1), cy: (y(one.y) + apart(at)[1]).toFixed(1), r: one.quality === null ? 2.6 : 3.6, fill: one.model ? hue(one.model) : "var(--strong-line)", "fill-opacity": one.quality === null ? 0.45 : 0.35 + 0.6 * one.quality })),
    found.topics.map((one, at) => [s("circle", { cx: badges[at].x, cy: badges[at].y, r: 11, fill: "var(--panel)", stroke: one.best ? hue(one.best) : "var(--strong-line)", "stroke-width": 2.5 }), s("text", { class: "strong", x: badges[at].x, y: badges[at].y + 4, "text-anchor": "middle" }, at + 1)])),
  h("div.legend", who.map((name) => h("span", h("span.swatch", { style: { background: hue(name) } }), name)), h("span", "numbers are topics; rings, their best model; strong dots were judged good"))];
}

function table(found) {
  if (!found.topics.length) return empty("No topics yet", "They are found once a dozen prompts have come.");
  const models = found.models.map((one) => one.model).filter((name) => found.topics.some((topic) => topic.models.some((it) => it.model === name)));
  return h("div.scroll", { tabindex: "0", role: "region", "aria-label": "Topics and models" }, h("table",
    h("thead", h("tr", h("th", { scope: "col" }, "Topic"), h("th.num", { scope: "col" }, "Prompts"), models.map((name) => h("th.num", { scope: "col" }, h("span.swatch", { style: { background: hue(name) } }), name)), h("th", { scope: "col" }, "Best"), h("th", { scope: "col" }, "Goes to now"))),
    h("tbody", found.topics.map((one, at) => h("tr",
      h("td", { style: { "min-width": "160px", "overflow-wrap": "anywhere" } }, h("b", `${at + 1}`), one.example ? h("span.soft", ` like “${one.example}”`) : null),
      h("td.num", count(one.prompts)),
      models.map((name) => { const it = one.models.find((each) => each.model === name); return h("td.num", it ? (name === one.best ? h("b", it.quality.toFixed(2)) : it.quality.toFixed(2)) : "–"); }),
      h("td", one.best || h("span.soft", "not known yet")),
      h("td", Object.entries(one.goes).slice(0, 2).map(([name, share], i) => [i ? ", " : "", name, h("span.soft", ` ${percent(share, 0)}`)]), one.cheap && one.cheap !== one.best ? h("div.small.soft", `as good for less: ${one.cheap}`) : null))))),
    found.topics.some((one) => one.example) ? null : h("p.small.soft", { style: { "margin-top": "10px" } }, "Prompts themselves are not kept (learning.keep_text), so topics have no words."));
}

function explained(found) {
  const { candidates, dropped, neighbours } = found;
  const term = (name, value) => value === null || value === undefined ? null : h("span", { style: { "white-space": "nowrap" } }, h("span.soft", `${name.replace(/_(nanousd|s)$/, "").replaceAll("_", " ")}${name.endsWith("_nanousd") ? " cost" : ""} `), name.endsWith("_nanousd") ? nano(value) : typeof value === "number" ? (name.endsWith("_s") ? ms(value * 1000) : Number.isInteger(value) ? value : value.toFixed(3)) : typeof value === "object" ? JSON.stringify(value) : String(value));
  return h("div.stack", { style: { "margin-top": "18px" } },
    h("p", candidates.length ? [h("strong", `${candidates[0].provider}/${candidates[0].model}`), ` would be asked first, by the strategy ${found.strategy}.`] : "Nobody would be asked.", found.note ? h("span.soft", ` ${sentence(found.note)}`) : null),
    h("ol", { style: { margin: 0, padding: 0, "list-style": "none" } }, candidates.map((one, at) => h("li.row", { style: { padding: "9px 0", "border-top": "1px solid var(--line)", gap: "4px 16px" } }, h("b", { style: { "min-width": "170px", "overflow-wrap": "anywhere" } }, `${at + 1}. ${one.provider}/${one.model}`), h("span.row.small.grow", { style: { gap: "2px 16px" } }, Object.entries(one.terms || {}).map(([name, value]) => term(name, value)))))),
    (dropped || []).length ? h("div", h("h3", "Left out"), h("ul", dropped.map((one) => h("li.small", h("b", one.candidate || `${one.provider}/${one.model}`), h("span.soft", ` ${one.detail || one.why || ""}`))))) : null,
    neighbours?.length ? h("div", h("h3", "Nearest of what was asked before"), h("div.scroll", { tabindex: "0", role: "region", "aria-label": "Nearest prompts" }, h("table", h("thead", h("tr", h("th", { scope: "col" }, "Prompt"), h("th", { scope: "col" }, "Answered by"), h("th.num", { scope: "col" }, "Alike"), h("th.num", { scope: "col" }, "Judged"), h("th.num", { scope: "col" }, "Cost"))), h("tbody", neighbours.map((one) => h("tr", h("td", one.text || h("code", one.request_id)), h("td", one.model), h("td.num", one.similarity.toFixed(2)), h("td.num", one.quality === null ? "–" : one.quality.toFixed(2)), h("td.num", nano(one.cost_nanousd)))))))) : null);
}
const sentence = (text) => { const said = text.charAt(0).toUpperCase() + text.slice(1); return /[.!?]$/.test(said) ? said : `${said}.`; };
