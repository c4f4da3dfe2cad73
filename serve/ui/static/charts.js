// Lines for cards, and time charts by uPlot.

import { css, fitted, h, s } from "./dom.js";

/** A small line without axes; gaps where there was nothing. The words beside it say what matters. */
export function spark(values, { kind, label }) {
  const width = values.length - 1, known = values.filter((v) => v !== null);
  const most = Math.max(...known, 0) || 1;
  const at = (v, i) => `${i},${(28 - (v / most) * 25).toFixed(2)}`;
  const parts = [];
  let run = [];
  const flush = () => { if (run.length) parts.push(run); run = []; };
  values.forEach((v, i) => (v === null ? flush() : run.push([v, i])));
  flush();
  const lines = parts.map((part) => "M" + part.map(([v, i]) => at(v, i)).join("L") + (part.length === 1 ? "h.8" : ""));
  const areas = parts.map((part) => `M${part[0][1]},29L${part.map(([v, i]) => at(v, i)).join("L")}L${part.at(-1)[1]},29Z`);
  return s("svg", { viewBox: `0 0 ${width} 30`, preserveAspectRatio: "none", class: `spark ${kind || ""}`, role: "img", "aria-label": label },
    s("path", { class: "base", d: `M0,29.5H${width}` }),
    known.some((v) => v > 0) ? [s("path", { class: "area", d: areas.join("") }), s("path", { class: "line", d: lines.join("") })] : null);
}

const FONT = "11.5px system-ui, sans-serif";

const hour = (t) => new Date(t * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const date = (t) => new Date(t * 1000).toLocaleDateString([], { day: "numeric", month: "short" });
const STEPS_S = [60, 300, 900, 3_600, 10_800, 21_600, 86_400, 2 * 86_400, 7 * 86_400, 30 * 86_400];

function axes(money, days) {
  const ink = css("--soft"), line = css("--line");
  const common = { stroke: ink, font: FONT, ticks: { show: false }, grid: { stroke: line, width: 1 } };
  return [{ ...common, grid: { show: false }, space: 64, size: 28, gap: 4, incrs: STEPS_S, values: (_, at) => at.map((t) => (days ? date(t) : hour(t))) }, { ...common, size: money ? 66 : 44, gap: 6, ...(money ? { values: (_, at) => at.map(money) } : {}) }];
}

/**
 * A chart over time in `el`. `series`: {label, stroke, fill, bars}; `data`: as uPlot has it. Returns {set, paint, end}.
 * What it shows is said in words by `about`, for those who do not see it.
 */
export function timechart(el, { height, series, money, about, floor, days }) {
  let plot = null, data = null, made = "";
  const frame = h("div", { role: "img", "aria-label": about || "" });
  el.append(frame);
  const draw = (width) => {
    plot?.destroy(); plot = null;
    if (!data || !width) return;
    const shape = series();
    plot = new uPlot({
      width, height, padding: [10, 16, 0, 0], cursor: { show: false }, legend: { show: false },
      scales: { x: { time: true }, y: { range: (_, lo, hi) => [0, Math.max(hi * 1.08, floor || 1e-9)] } },
      axes: axes(money, days?.()),
      series: [{}, ...shape.map((one) => ({ points: { show: false }, width: 1.6, ...one, ...(one.bars ? { paths: uPlot.paths.bars({ size: [0.72, 44], radius: 0.12 }) } : {}) }))],
    }, data, frame);
  };
  const end = fitted(el, draw);
  return {
    set(now, shape, words) {
      data = now;
      if (words) frame.setAttribute("aria-label", words);
      if (plot && made === shape) plot.setData(now); else draw(el.clientWidth);
      made = shape;
    },
    paint() { draw(el.clientWidth); },
    end() { end(); plot?.destroy(); },
  };
}
