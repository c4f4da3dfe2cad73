// Elements, and how numbers are written. Text is only ever set as text: nothing that comes from outside becomes HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(el, props, kids) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [one, said] of Object.entries(value)) el.style.setProperty(one, said);
    else if (name === "value" || name === "checked" || name === "selected" || name === "open") el[name] = value;
    else el.setAttribute(name, value === true ? "" : value);
  }
  put(el, ...kids);
  return el;
}

export function put(el, ...kids) {
  for (const kid of kids.flat(9)) {
    if (kid === null || kid === undefined || kid === false || kid === "") continue;
    el.append(kid instanceof Node ? kid : document.createTextNode(String(kid)));
  }
  return el;
}

/** An element: h("div.card.bad", {id: "x"}, "text", other). */
export function h(tag, props, ...kids) {
  if (props instanceof Node || typeof props !== "object" || Array.isArray(props)) { kids.unshift(props); props = null; }
  const [name, ...classes] = tag.split(".");
  const el = document.createElement(name || "div");
  if (classes.length) el.className = classes.join(" ");
  return fill(el, props, kids);
}

export function s(tag, props, ...kids) {
  return fill(document.createElementNS(SVG, tag), props, kids);
}

export function fresh(el, ...kids) { el.replaceChildren(); return put(el, ...kids); }

/** Draw into `el` by its width, and again when that changes. Returns what ends it. */
export function fitted(el, draw) {
  let width = 0;
  const seen = new ResizeObserver(() => {
    const now = Math.round(el.clientWidth);
    if (now && now !== width) { width = now; draw(now); }
  });
  seen.observe(el);
  return () => seen.disconnect();
}

export function say(text) {
  const el = document.getElementById("said");
  el.textContent = "";
  requestAnimationFrame(() => { el.textContent = text; });
}

const ICONS = {
  overview: "M3 12h4l3-8 4 16 3-8h4",
  requests: "M4 6h16M4 12h16M4 18h10",
  spend: "M4 20V10m5.3 10V4m5.4 16v-8M20 20V7",
  routing: "M4 12h5m0 0 4-6h7M9 12l4 6h7",
  playground: "M5 5h14v10H10l-5 4z",
  keys: "M14.5 9.5 20 4m-3 3 2.5 2.5M9 20a5 5 0 1 1 0-10 5 5 0 0 1 0 10z",
  up: "M7 11v9H4v-9zm0 0 4-7a2 2 0 0 1 2 2v4h5.5a1.5 1.5 0 0 1 1.5 1.8l-1.2 6.4A2 2 0 0 1 16.8 20H7",
  down: "M7 13V4H4v9zm0 0 4 7a2 2 0 0 0 2-2v-4h5.5a1.5 1.5 0 0 0 1.5-1.8l-1.2-6.4A2 2 0 0 0 16.8 4H7",
  sun: "M12 4V2m0 20v-2m8-8h2M2 12h2m13.7-5.7 1.4-1.4M4.9 19.1l1.4-1.4m11.4 0 1.4 1.4M4.9 4.9l1.4 1.4M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0z",
  out: "M10 4H5v16h5m4-12 4 4-4 4m4-4H9",
  chevron: "m9 6 6 6-6 6",
  check: "m5 12 5 5L19 7",
};
export function icon(name) {
  return s("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", focusable: "false" },
    s("path", { d: ICONS[name], fill: "none", stroke: "currentColor", "stroke-width": "1.8", "stroke-linecap": "round", "stroke-linejoin": "round" }));
}

const whole = new Intl.NumberFormat("en-US");
const two = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
export const count = (n) => whole.format(Math.round(n));
export const short = (n) => n < 10_000 ? count(n) : n < 1e6 ? `${(n / 1e3).toFixed(n < 1e5 ? 1 : 0)} k` : `${(n / 1e6).toFixed(1)} M`;
export const percent = (share, digits) => `${(share * 100).toFixed(digits ?? (share > 0 && share < 0.1 ? 1 : 0))} %`;

/** Dollars; what is not known is never 0. */
export function usd(dollars) {
  if (dollars === null || dollars === undefined) return "unknown";
  const size = Math.abs(dollars);
  if (size === 0) return "$0";
  if (size >= 1) return `$${two.format(dollars)}`;
  if (size >= 0.01) return `$${dollars.toFixed(size >= 0.1 ? 2 : 3)}`;
  // Two digits that count, however small it is.
  return `$${dollars.toFixed(Math.min(9, 1 - Math.floor(Math.log10(size))))}`;
}
export const nano = (value) => usd(value === null || value === undefined ? null : value / 1e9);

export function ms(value) {
  if (value === null || value === undefined) return "–";
  if (value < 10) return `${value.toFixed(1)} ms`;
  if (value < 1000) return `${Math.round(value)} ms`;
  if (value < 60_000) return `${(value / 1000).toFixed(value < 10_000 ? 2 : 1)} s`;
  return `${Math.floor(value / 60_000)} min ${Math.round((value % 60_000) / 1000)} s`;
}

export function wait(seconds) {
  const left = Math.max(0, Math.ceil(seconds));
  return left < 90 ? `${left} s` : left < 5_400 ? `${Math.round(left / 60)} min` : left < 172_800 ? `${Math.round(left / 3_600)} h` : `${Math.round(left / 86_400)} days`;
}

export const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
export const day = (at) => new Date(at).toLocaleDateString([], { day: "numeric", month: "short" });
export const plural = (n, one, more) => `${count(n)} ${n === 1 ? one : more || one + "s"}`;

export function median(values) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const at = sorted.length >> 1;
  return sorted.length % 2 ? sorted[at] : (sorted[at - 1] + sorted[at]) / 2;
}

/** What there is instead of content: what it means, and what to do. */
export function empty(title, ...more) {
  return h("div.empty", h("p.empty-title", title), ...more.map((one) => one instanceof Node ? one : h("p", one)));
}
export function fault(title, detail) {
  return h("div.fault", { role: "alert" }, h("strong", title), detail && h("p", detail));
}

/** A colour for each name, the same for as long as the page lives. */
const given = new Map();
export function hue(name) {
  if (!given.has(name)) given.set(name, given.size % 8);
  return `var(--data-${given.get(name)})`;
}
export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export function hueNow(name) { hue(name); return css(`--data-${given.get(name)}`); }
