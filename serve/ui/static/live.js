// How things stand, from one stream of events: what the manager knows, and the attempts that are over.

import { ask, events } from "./api.js";
import { median } from "./dom.js";

export const STEP_MS = 5_000;
export const STEPS = 60;
const MOST_ROWS = 2_000;
const FINE = new Set(["ok", "cached", "shared", "hedged", "cancelled"]);

export const failed = (row) => !FINE.has(row.outcome);

class Bucket {
  constructor() { this.n = 0; this.bad = 0; this.nano = 0; this.tokens = 0; this.waits = []; }
}

/** The last five minutes of one provider. */
class Pulse {
  constructor() { this.at = new Map(); }
  in(ms) {
    const step = Math.floor(ms / STEP_MS);
    if (!this.at.has(step)) {
      this.at.set(step, new Bucket());
      for (const old of this.at.keys()) if (old < step - STEPS - 2) this.at.delete(old);
    }
    return this.at.get(step);
  }
  series(now, value, since = 0) {
    const last = Math.floor(now / STEP_MS);
    return Array.from({ length: STEPS }, (_, i) => {
      const bucket = this.at.get(last - STEPS + 1 + i);
      if (last - STEPS + 1 + i < Math.floor(since / STEP_MS)) return null;
      return bucket ? value(bucket) : value === WAITS ? null : 0;
    });
  }
  sum(now, span_ms, value) {
    const last = Math.floor(now / STEP_MS), first = last - Math.round(span_ms / STEP_MS);
    let total = 0;
    for (const [step, bucket] of this.at) if (step > first && step <= last) total += value(bucket);
    return total;
  }
  waits(now) {
    const last = Math.floor(now / STEP_MS);
    return [...this.at].filter(([step]) => step > last - STEPS).flatMap(([, bucket]) => bucket.waits);
  }
}
export const COUNT = (b) => b.n;
export const BAD = (b) => b.bad;
export const COST = (b) => b.nano;
export const WAITS = (b) => (b.waits.length ? median(b.waits) : null);

export class Live {
  constructor() {
    this.rows = new Map();          // attempt -> row, in the order in which they came
    this.requests = new Map();      // request -> its rows
    this.hello = null; this.state = null; this.away = {}; this.used = null;
    this.pulses = new Map();
    this.status = "connecting";     // connecting, live, lost, refused
    this.why = "";
    this.skew = 0;                  // the gateway's clock less ours
    this.seenAt = 0;
    this.listeners = new Set();
    this.ended = null; this.begun = 0;
    this.since = 0;                 // of what was before, only a part is known
    this.due = false;
    this.visible = () => this.look();
    document.addEventListener("visibilitychange", this.visible);
  }

  on(listener) { this.listeners.add(listener); return () => this.listeners.delete(listener); }
  now() { return Date.now() + this.skew; }
  pulse(provider) {
    if (!this.pulses.has(provider)) this.pulses.set(provider, new Pulse());
    return this.pulses.get(provider);
  }

  tell() {
    if (this.due) return;
    this.due = true;
    setTimeout(() => { this.due = false; for (const one of this.listeners) one(); }, 40);
  }

  /** Nothing is asked while nobody can see the page. */
  look() {
    clearTimeout(this.hiding);
    if (document.hidden) this.hiding = setTimeout(() => this.ended?.abort(), 30_000);
    else if (this.status === "hidden") this.start();
  }

  async start() {
    let pause = 500;
    const ended = (this.ended = new AbortController());
    while (this.ended === ended && !this.stopped) {
      try {
        const reply = await ask("GET", "ui/live", undefined, { signal: ended.signal, type: "raw" });
        this.begun = 0; this.used = null;
        for await (const { event, data } of events(reply)) {
          pause = 500;
          this.status = "live"; this.why = "";
          this.take(event, JSON.parse(data));
          if (this.status === "refused") return;
        }
      } catch (error) {
        if (ended.signal.aborted) { this.status = "hidden"; return; }
        if (error.status === 401 || error.status === 403) {
          this.status = "refused"; this.why = error.message; this.code = error.code; this.tell(); return;
        }
        this.status = "lost"; this.why = error.status === 0 || !error.status ? "The gateway cannot be reached. It is tried again by itself." : error.message;
        this.tell();
        await new Promise((done) => setTimeout(done, pause * (0.7 + Math.random() * 0.6)));
        pause = Math.min(pause * 2, 8_000);
      }
    }
  }

  stop() { this.stopped = true; this.ended?.abort(); document.removeEventListener("visibilitychange", this.visible); }

  take(event, said) {
    if (event === "hello") this.hello = said;
    else if (event === "gone") { this.status = "refused"; this.why = said.message; }
    else if (event === "away") this.away = said;
    else if (event === "rows") {
      if (!this.rows.size && said.length >= 300) this.since = Math.min(...said.map((row) => row.settled_ms));
      for (const row of said) this.row(row);
    }
    else if (event === "state") this.look_at(said);
    this.tell();
  }

  row(row) {
    if (this.rows.has(row.attempt)) return;
    this.rows.set(row.attempt, row);
    const of = row.request_id || row.attempt;
    if (!this.requests.has(of)) this.requests.set(of, []);
    this.requests.get(of).push(row);
    while (this.rows.size > MOST_ROWS) {
      const [oldest, gone] = this.rows.entries().next().value;
      this.rows.delete(oldest);
      this.requests.delete(gone.request_id || gone.attempt);
    }
    const bucket = this.pulse(row.provider).in(row.settled_ms);
    if (row.latency_ms !== undefined && !failed(row)) bucket.waits.push(row.ttft_ms ?? row.latency_ms);
    // From when the sums are followed, they count for more than single rows, which may be left out.
    if (this.begun && row.settled_ms >= this.begun) return;
    bucket.n += 1; bucket.bad += failed(row) ? 1 : 0; bucket.nano += row.cost_nanousd || 0;
  }

  look_at(state) {
    if (!this.state) this.skew = state.at_s * 1000 - Date.now();
    const before = this.used, at = state.at_s * 1000;
    if (before && state.incarnation === before.incarnation && state.hour_s === before.hour_s) {
      for (const [name, sums] of Object.entries(state.used)) {
        const was = before.used[name] || [0, 0, 0, 0, 0];
        const bucket = this.pulse(name.split("/")[0]).in(at);
        bucket.n += Math.max(0, sums[0] - was[0]); bucket.bad += Math.max(0, sums[1] - was[1]);
        bucket.nano += Math.max(0, sums[2] - was[2]); bucket.tokens += Math.max(0, sums[3] - was[3]);
      }
    }
    if (!this.begun) this.begun = at;
    this.used = state; this.state = state; this.seenAt = Date.now();
  }
}
