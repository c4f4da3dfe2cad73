// What a client's script says: one line of JSON for each thing that it tried. See py/report.py.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

export const { RAYGATE_URL: URL_, RAYGATE_KEY: KEY, FAKE_URL, CLIENT_TAG: TAG, CLIENT_SLOT: SLOT } = process.env;

export const TEXT = "Hello from the fake.";
export const PERSON = { name: "Ada", age: 36 };
export const CITIES = [{ city: "Paris" }, { city: "Zürich" }];
export const CITY = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
export const PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
export const PICTURE = `[image/png ${PNG.length}]`;
export const WEATHER = "Paris: 21 degrees; Zürich: 17 degrees";
export const COST = (5 * 1.0 + 2 * 0.5 + 5 * 2.0) / 1e6;
export const BOTH = ["fake", "claude"];
export const BREAKS = ["reset", "stop-early", "error-event"];

const THROTTLES = ["fail-429", "full"];

// A model that no other client asks for. Providers: see tests/clients/stack.py.
export function named(what, provider = "fake") {
  const own = ["busy", "hasty"].includes(provider) ? `${provider}-${SLOT}` : provider;
  return `${own}/${what}.${TAG}`;
}

// Lets a throttle pass: the fake asks for 0.3 s, and the news of it take a moment.
export const rest = () => sleep(700);

export async function providerFor(what) {
  if (!THROTTLES.includes(what)) return "fake";
  await rest();
  return "busy";
}

// What came for a model: {count, listening, bodies, headers}.
export async function seen(model) {
  const name = encodeURIComponent(model.slice(model.indexOf("/") + 1));
  return (await fetch(`${FAKE_URL}/_seen?model=${name}`)).json();
}

// Nobody listens any more to what the fake says under this name.
export async function leftAlone(model) {
  const until = Date.now() + 1000;
  let told = await seen(model);
  while (told.listening && Date.now() < until) {
    await sleep(20);
    told = await seen(model);
  }
  assert.ok(told.count >= 1, "it was never asked");
  assert.equal(told.listening, 0, "the call upstream goes on a second after its client has gone");
}

// One thing that must hold; the script goes on whether it does or not.
export async function check(column, name, attempt) {
  let problem = "";
  try {
    await attempt();
  } catch (error) {
    const own = /(use_\w+\.mjs:\d+)/.exec(error?.stack ?? "");
    problem = `${error?.name}: ${error?.message} (${own ? own[1] : ""})`.slice(0, 600);
  }
  console.log(JSON.stringify({ column, check: name, problem }));
}

export function same(found, wanted) {
  assert.deepEqual(JSON.parse(JSON.stringify(found)), wanted);
}

export function near(found, wanted) {
  assert.ok(Math.abs(found - wanted) < 1e-12, `${found} is not ${wanted}`);
}

// The error that the attempt must end with; `kind` is a class of errors.
export async function raised(kind, attempt) {
  let given;
  try {
    given = await attempt();
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  throw new assert.AssertionError({ message: `nothing was raised, but ${JSON.stringify(given)?.slice(0, 200)}` });
}

export async function all(chunks) {
  const found = [];
  for await (const chunk of chunks) found.push(chunk);
  return found;
}
