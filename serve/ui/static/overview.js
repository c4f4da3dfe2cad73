// Is everything well? One sentence, a few figures, and a card for each provider.

import { count, css, empty, fault, fresh, h, median, ms, nano, percent, plural, put, short, wait } from "./dom.js";
import { spark, timechart } from "./charts.js";
import { BAD, COST, COUNT, STEPS, STEP_MS, WAITS } from "./live.js";

/** How a provider is, in words: {kind, word, more}. */
export function standing(one, gone_s, pulse, now, known) {
  const asked = pulse.sum(now, 300_000, COUNT), bad_share = asked >= 10 ? pulse.sum(now, 300_000, BAD) / asked : 0;
  const left = Math.max(0, one.retry_in_s - gone_s);
  if (one.breaker === "open") return { kind: "is-bad", word: left > 0 ? `Breaker open · tries again in ${wait(left)}` : "Breaker open · trying again", order: 0, open: true };
  if (one.breaker === "throttled") return { kind: "is-warn", word: `Throttled · ${wait(left)} left`, order: 1 };
  // Who has no model left that may be asked is as good as shut.
  const closed = Object.values(one.models || {}).filter((it) => it.state === "open");
  if (known?.models.length && known.models.every((name) => one.models?.[name]?.state === "open")) {
    const soon = Math.max(0, Math.min(...closed.map((it) => it.retry_in_s)) - gone_s);
    return { kind: "is-bad", word: `Breaker open · ${soon > 0 ? `tries again in ${wait(soon)}` : "trying again"}`, order: 0, open: true };
  }
  if (!one.available) return { kind: "is-bad", word: "Cannot be asked", order: 0 };
  const shut = Object.keys(one.models || {}).length, keys = Object.keys(one.keys || {}).length;
  if (bad_share > 0.1) return { kind: "is-warn", word: `Breaker closed · ${percent(bad_share, 0)} of attempts fail`, order: 2, fails: true };
  if (shut || keys) return { kind: "is-warn", word: [shut && `${plural(shut, "model")} shut`, keys && `${plural(keys, "key")} unused`].filter(Boolean).join(" · "), order: 2 };
  return { kind: "is-ok", word: asked ? "Breaker closed · answering" : "Breaker closed · idle", order: 3 };
}

export function overview(root, { live }) {
  const verdict = h("section.panel", { "aria-label": "State of the system" });
  const figures = h("dl.figures");
  const busy = h("div.plot");
  const cards = h("div.cards");
  const made = new Map();
  put(root,
    h("div.page-head", h("div", h("h1", "Overview"), h("p", "What all replicas see, as it happens."))),
    h("div.stack", verdict,
      h("section.panel", { "aria-label": "Last five minutes" }, h("header", h("h2", "Last five minutes"), h("p", "Attempts per second, at all providers; failed ones in red")), figures, h("div", { style: { height: "14px" } }), busy),
      h("h2", "Providers"), cards));
  const chart = timechart(busy, {
    height: 150, floor: 1, about: "Attempts per second over the last five minutes",
    series: () => [
      { label: "attempts", stroke: css("--accent"), fill: `color-mix(in srgb, ${css("--accent")} 14%, transparent)` },
      { label: "failed", stroke: css("--bad"), fill: `color-mix(in srgb, ${css("--bad")} 20%, transparent)` },
    ],
  });
  let drawn = 0, last = null, timer = setInterval(() => update(), 1000);

  function update() {
    const state = live.state;
    if (!state) {
      if (live.away.manager) fresh(verdict, fault("The manager cannot be reached", `${live.away.manager}. Requests go on without it; this page goes on as soon as it is back.`));
      else if (!verdict.hasChildNodes()) fresh(verdict, h("p.soft", "Waiting for the first look …"));
      return;
    }
    const gone = (Date.now() - live.seenAt) / 1000;
    say_verdict(state, gone);
    const now = live.now();
    // Once a second is enough for lines; a change of state is shown at once.
    if (state === last && now - drawn < 950) return;
    last = state; drawn = now;
    numbers(state, now);
    providers(state, gone, now);
  }

  function say_verdict(state, gone) {
    const all = state.providers.map((one) => [one, standing(one, gone, live.pulse(one.provider), live.now(), live.hello.providers?.[one.provider])]);
    const shut = all.filter(([, is]) => is.kind === "is-bad").map(([one]) => one.provider);
    const half = all.filter(([, is]) => is.kind === "is-warn").map(([one]) => one.provider);
    const list = (names) => names.length > 3 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(" and ");
    let kind = "is-ok", sign = "✓", title, more;
    if (live.status !== "live") { kind = "is-bad"; sign = "!"; title = "Connection to the gateway lost"; more = `${live.why} What is below is as it was.`; }
    else if (!all.length) { kind = "is-warn"; sign = "!"; title = "No provider is configured"; more = "Name one in raygate.yaml, or set a provider's key in the environment, then run raygate up."; }
    else if (shut.length === all.length) { kind = "is-bad"; sign = "!"; title = "No provider can be asked"; more = "Requests fail until one answers again. Each is tried again by itself; the cards say when, and why."; }
    else if (shut.length) { kind = "is-bad"; sign = "!"; title = `${list(shut)} ${shut.length === 1 ? "is" : "are"} shut out; ${all.length - shut.length} of ${all.length} answer`; more = "Routes with another candidate go on there. What is asked of a shut provider alone fails at once instead of waiting."; }
    else if (live.away.ledger) { kind = "is-warn"; sign = "!"; title = "Providers answer, but the ledger cannot be reached"; more = `${live.away.ledger}. Replicas go on with what they have in hand, and write rows into their journals.`; }
    else if (half.length && all.some(([, is]) => is.fails)) { kind = "is-warn"; sign = "!"; title = `All ${all.length} providers are asked, but ${list(half)} ${half.length === 1 ? "fails" : "fail"} often`; more = "Failed attempts go on to the next candidate where a route has one. A breaker opens when failures come close together."; }
    else if (half.length) { kind = "is-warn"; sign = "!"; title = `All ${all.length} providers answer, ${list(half)} with limits`; more = "Something there is throttled or shut for now; the rest of it is asked as usual."; }
    else { title = all.length === 1 ? "The provider answers" : `All ${all.length} providers answer`; more = `${plural(state.replicas, "replica")} of the gateway, ${plural(state.providers.reduce((sum, one) => sum + one.in_flight, 0), "call")} under way.`; }
    const words = `${kind}|${title}|${more}`;
    if (verdict.dataset.words === words) return;
    verdict.dataset.words = words;
    fresh(verdict, h(`div.verdict.${kind}`, h("div.sign", { "aria-hidden": "true" }, sign), h("div", { role: "status" }, h("h2", title), h("p", more))));
  }

  function numbers(state, now) {
    const pulses = state.providers.map((one) => live.pulse(one.provider));
    const sum = (span, what) => pulses.reduce((total, one) => total + one.sum(now, span, what), 0);
    const n = sum(300_000, COUNT), bad = sum(300_000, BAD), waits = median(pulses.flatMap((one) => one.waits(now)));
    const hour = Object.values(state.used).reduce((total, sums) => total + sums[2], 0);
    const unpriced = Object.values(state.used).reduce((total, sums) => total + sums[4], 0);
    fresh(figures,
      figure("Attempts a minute", short(sum(60_000, COUNT))),
      figure("Failed", n ? percent(bad / n) : "–", n ? `${count(bad)} of ${short(n)}` : "nothing was asked", bad / n > 0.05 ? "bad" : ""),
      figure("Median until first content", ms(waits)),
      figure("Spent this hour", nano(hour), unpriced ? `+ ${count(unpriced)} unpriced` : ""),
      figure("Under way", count(state.providers.reduce((total, one) => total + one.in_flight, 0))));
    const series = (what) => pulses.map((one) => one.series(now, what, live.since)).reduce((a, b) => a.map((v, i) => (b[i] === null ? null : v + b[i])), Array(STEPS).fill(0)).map((v) => (v === null ? null : v / (STEP_MS / 1000)));
    const last_s = Math.floor(now / STEP_MS) * (STEP_MS / 1000);
    // The step that has just begun is not whole, and would look like a fall.
    const xs = Array.from({ length: STEPS - 1 }, (_, i) => last_s - (STEPS - 1 - i) * (STEP_MS / 1000));
    chart.set([xs, series(COUNT).slice(0, -1), series(BAD).slice(0, -1)], "", `Attempts per second: ${short(n)} in five minutes, ${count(bad)} of them failed`);
  }

  function providers(state, gone, now) {
    const wanted = state.providers.map((one, at) => ({ one, at, is: standing(one, gone, live.pulse(one.provider), now, live.hello.providers?.[one.provider]) })).sort((a, b) => a.is.order - b.is.order || a.at - b.at);
    if (!wanted.length) { fresh(cards, empty("No provider yet", "As soon as one is in the settings its card is here.")); made.clear(); return; }
    const els = wanted.map(({ one, is }) => {
      if (!made.has(one.provider)) made.set(one.provider, h("article"));
      const el = made.get(one.provider);
      card(el, one, is, live.pulse(one.provider), now, (live.hello.providers || {})[one.provider], live.since);
      return el;
    });
    if (els.some((el, i) => cards.children[i] !== el) || cards.children.length !== els.length) fresh(cards, els);
  }

  return {
    update,
    paint() { chart.paint(); },
    end() { clearInterval(timer); chart.end(); },
  };
}

const figure = (label, value, more, kind) => h(`div.figure${kind ? "." + kind : ""}`, h("dt", label), h("dd", value, more ? h("small", { style: { display: "block" } }, more) : null));

function card(el, one, is, pulse, now, known, since) {
  const n = pulse.sum(now, 300_000, COUNT), bad = pulse.sum(now, 300_000, BAD), minute = pulse.sum(now, 60_000, COUNT);
  const wait_ms = median(pulse.waits(now)), cost = pulse.sum(now, 300_000, COST);
  el.className = `panel provider ${is.kind}`;
  el.dataset.provider = one.provider;
  el.dataset.breaker = is.open ? "open" : one.breaker;
  el.setAttribute("aria-label", `${one.provider}: ${is.word}`);
  const shut = Object.entries(one.models || {}).map(([name, it]) => `${name} is ${it.state === "open" ? "shut after failures" : it.state}${it.retry_in_s ? `, asked again in ${wait(it.retry_in_s)}` : ""}`);
  // What the manager says beyond that.
  const more = (one.detail || "").split("; ").filter((said) => said && !/ is (open|throttled)$/.test(said));
  const load = one.max_in_flight ? `${one.in_flight} of ${one.max_in_flight} places` : `${one.in_flight} under way`;
  fresh(el,
    h("div.stack.tight",
      h("div.row.apart", h("span.name", one.provider), h("span.tag", known ? known.kind : "provider")),
      h(`span.pill.${is.kind}`, h("span.dot"), is.word)),
    shut.length || more.length ? h("p.why", [...shut, ...more].join("; ")) : null,
    h("div.measures",
      measure("First content", wait_ms === null ? "–" : ms(wait_ms), spark(pulse.series(now, WAITS), { label: `Latency: median ${ms(wait_ms)}` })),
      measure("Attempts / min", short(minute), spark(pulse.series(now, COUNT, since), { label: `Throughput: ${short(minute)} attempts in the last minute` })),
      measure("Failed", n ? percent(bad / n) : "–", spark(pulse.series(now, BAD, since), { kind: "errors", label: `Errors: ${count(bad)} of ${short(n)} attempts in five minutes` })),
      measure("Spent", nano(cost), spark(pulse.series(now, COST, since), { label: `Spend: ${nano(cost)} in five minutes` }))),
    h("p.small.soft", n ? load : `Nothing was asked of it in the last five minutes; ${load}`));
}
const measure = (label, value, line) => h("div.measure", h("div.label", h("span", label), h("b", value)), line);
