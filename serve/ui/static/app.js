// The frame: who is logged in, which panel is shown, light or dark.

import { key, keep } from "./api.js";
import { Live } from "./live.js";
import { fault, fresh, h, icon, put } from "./dom.js";
import { overview } from "./overview.js";
import { requests } from "./requests.js";
import { spend } from "./spend.js";
import { routing } from "./routing.js";
import { playground } from "./playground.js";
import { keys } from "./keys.js";

const PANELS = [
  { id: "overview", title: "Overview", make: overview, admin: true },
  { id: "requests", title: "Requests", make: requests },
  { id: "spend", title: "Spend", make: spend },
  { id: "routing", title: "Routing", make: routing, admin: true },
  { id: "playground", title: "Playground", make: playground },
  { id: "keys", title: "Keys", make: keys, admin: true },
];

const app = document.getElementById("app");
let live = null, shown = null, frame = null;

function mark() { const el = h("div.mark", icon("routing"), h("span", "raygate")); return el; }

const asks = document.querySelector('meta[name="raygate-asks-for-key"]')?.content !== "no";

function begin() {
  if (asks && !key()) { door(""); return; }
  live?.stop(); shown?.end?.(); shown = null; frame = null;
  live = new Live();
  fresh(app, h("div.door", h("p.soft", { role: "status" }, "Asking the gateway …")));
  live.on(update);
  live.start();
}

function update() {
  if (!live) return;
  if (live.status === "refused") { door(live.why); return; }
  if (!live.hello) {
    if (live.status === "lost") fresh(app, h("div.door", h("div.panel", mark(), fault("No answer yet", live.why))));
    return;
  }
  if (!frame) build();
  pulse();
}

/** Where one shows a key. */
function door(why) {
  live?.stop(); live = null; shown?.end?.(); shown = null; frame = null;
  const had = key();
  keep("");
  const input = h("input", { id: "key", name: "key", type: "password", autocomplete: "current-password", placeholder: "rg-…", required: true, spellcheck: "false" });
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); keep(input.value.trim()); begin(); } },
    h("label.field", { for: "key" }, "Raygate key", input),
    h("button.button.main", { type: "submit" }, "Log in"));
  fresh(app, h("main.door", { id: "content" }, h("div.panel", mark(), h("h1", "Log in with a key"),
    why && had ? h("div", { style: { "margin-top": "14px" } }, fault("That did not work", why)) : null,
    form,
    h("p.small.soft", "An admin's key shows everything; any other key shows its own spend, its requests and the playground. ",
      h("code", "raygate status"), " says where the key lies that ", h("code", "raygate up"), " made."),
    h("p.small.soft", { style: { "margin-top": "8px" } }, "It is kept in this tab alone, and forgotten when you close it."))));
  input.focus();
}

function build() {
  const admin = live.hello.role === "admin";
  const mine = PANELS.filter((one) => admin || !one.admin);
  const nav = h("nav", { "aria-label": "Panels" }, mine.map((one) => h("a", { href: `#/${one.id}`, "data-panel": one.id }, icon(one.id), h("span", one.title))));
  const state = h("span.pill", { role: "status" });
  const who = h("span.who");
  const dark = h("button.button.plain", { type: "button", onclick: turn, title: "Light or dark", "aria-label": "Switch between light and dark" }, icon("sun"));
  const out = h("button.button.plain", { type: "button", title: "Log out", "aria-label": "Log out", onclick: () => { keep(""); begin(); } }, icon("out"));
  const main = h("main", { id: "content", tabindex: "-1" });
  frame = { nav, state, who, main, mine };
  fresh(app, h("a.skip", { href: "#content", onclick: (event) => { event.preventDefault(); main.focus(); } }, "Skip to the content"),
    h("div.frame",
      h("header.rail", mark(), nav, h("div.foot", state, who, h("span.version", `Raygate ${live.hello.version}`), h("div.row", dark, key() ? out : null))),
      main));
  go();
}

function go() {
  if (!frame) return;
  const [id, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const panel = frame.mine.find((one) => one.id === id) || frame.mine.find((one) => one.id === (live.hello.role === "admin" ? "overview" : "playground"));
  for (const link of frame.nav.children) {
    if (link.dataset.panel === panel.id) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  document.title = `${panel.title} · Raygate`;
  if (shown?.id !== panel.id) {
    shown?.end?.();
    fresh(frame.main);
    shown = { id: panel.id, ...panel.make(frame.main, { live, admin: live.hello.role === "admin" }) };
    scrollTo(0, 0);
  }
  shown.update?.();
  shown.arg?.(rest.map(decodeURIComponent));
}

function pulse() {
  const { state, who } = frame;
  const good = live.status === "live" && !Object.keys(live.away).length;
  const kind = live.status !== "live" ? "is-bad" : good ? "is-ok" : "is-warn";
  const word = live.status === "live" ? (good ? "live" : `the ${Object.keys(live.away).join(" and the ")} cannot be reached`) : "connection lost";
  if (state.dataset.word !== word) {
    state.dataset.word = word;
    state.className = `pill ${kind}`;
    state.title = Object.values(live.away).join("; ") || live.why;
    fresh(state, h("span.dot"), h("span.words", word));
  }
  const { role, name, key: id } = live.hello;
  const said = role === "admin" ? `Admin · ${name || id}` : role === "user" ? name || id : "No key";
  if (who.textContent !== said) who.textContent = said;
  shown?.update?.();
}

function turn() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("raygate.theme", root.dataset.theme); } catch { /* for this once, then */ }
  shown?.paint?.();
}

addEventListener("hashchange", () => { go(); frame?.main.focus({ preventScroll: true }); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => shown?.paint?.());
begin();
