// Anthropic's own SDK for Node, API version 2026-10-21.

import Anthropic from "@anthropic-ai/sdk";
import assert from "node:assert/strict";
import {
  BOTH, BREAKS, CITIES, CITY, COST, KEY, PERSON, PICTURE, PNG, TEXT, URL_, WEATHER,
  all, check, leftAlone, named, near, providerFor, raised, rest, same, seen,
} from "./report.mjs";

const client = new Anthropic({ baseURL: URL_, apiKey: KEY });
const once = new Anthropic({ baseURL: URL_, apiKey: KEY, maxRetries: 0 });
const HELLO = [{ role: "user", content: "Say hello." }];
const TOOLS = [{ name: "get_weather", description: "The weather", input_schema: CITY }];
const PERSON_SCHEMA = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};

const given = (what, provider, more) => ({ model: named(what, provider), max_tokens: 100, messages: HELLO, ...more });
const ask = (what, provider = "claude", more = {}) => client.messages.create(given(what, provider, more));
const inputs = (message) => message.content.filter((one) => one.type === "tool_use").map((one) => one.input);
const text = (events) =>
  events.map((one) => (one.type === "content_block_delta" && one.delta.text) || "").join("");

for (const provider of BOTH) {
  await check("chat", `an answer of ${provider}`, async () => {
    const said = await ask("say", provider);
    same([said.type, said.role, said.stop_reason, said.content.map((one) => one.text)],
      ["message", "assistant", "end_turn", [TEXT]]);
    assert.ok(said._request_id, "no request-id");
  });
  await check("stream", `events of ${provider}`, async () => {
    const events = await all(await ask("say", provider, { stream: true }));
    same([events[0].type, events.at(-1).type, text(events)], ["message_start", "message_stop", TEXT]);
    const helper = client.messages.stream(given("say", provider, {}));
    same(await helper.finalText(), TEXT);
  });
  await check("stream", `a thought of ${provider}`, async () => {
    const final = await client.messages.stream(given("think", provider, {})).finalMessage();
    same(final.content.map((one) => one.thinking ?? one.text), ["Two and two make four.", "Four."]);
  });
  await check("usage", `of an answer and of a stream of ${provider}, with its cost`, async () => {
    const final = await client.messages.stream(given("say", provider, {})).finalMessage();
    for (const { usage } of [await ask("say", provider), final]) {
      same([usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens], [5, 2, 5]);
    }
    near((await ask("say", provider)).usage.cost, COST);
  });
  await check("tools", `two at once and their results, ${provider}`, async () => {
    const said = await ask("weather", provider, { tools: TOOLS });
    same([said.stop_reason, inputs(said)], ["tool_use", CITIES]);
    const calls = said.content.filter((one) => one.type === "tool_use");
    const results = calls.map((one, at) => (
      { type: "tool_result", tool_use_id: one.id, content: ["21 degrees", "17 degrees"][at] }
    ));
    const messages = [...HELLO, { role: "assistant", content: said.content }, { role: "user", content: results }];
    same((await ask("weather", provider, { tools: TOOLS, messages })).content[0].text, WEATHER);
  });
  await check("tools", `streamed, ${provider}`, async () => {
    const helper = client.messages.stream(given("weather", provider, { tools: TOOLS }));
    same(inputs(await helper.finalMessage()), CITIES);
  });
  await check("schema", `by a schema, ${provider}`, async () => {
    const output_config = { format: { type: "json_schema", schema: PERSON_SCHEMA } };
    same(JSON.parse((await ask("person", provider, { output_config })).content[0].text), PERSON);
  });
  await check("vision", `a picture, ${provider}`, async () => {
    const content = [{ type: "image", source: { type: "base64", media_type: "image/png", data: PNG } }];
    same((await ask("see", provider, { messages: [{ role: "user", content }] })).content[0].text, PICTURE);
  });
  for (const how of BREAKS) {
    await check("break", `${how}, ${provider}`, async () => {
      const got = [];
      await raised(Anthropic.APIError, async () => {
        for await (const event of await ask(how, provider, { stream: true })) got.push(event);
      });
      same(text(got), "Hello from the");
    });
    await check("break", `${how}, the SDK's helper, ${provider}`, () =>
      raised(Anthropic.AnthropicError, () => client.messages.stream(given(how, provider, {})).finalMessage()));
  }
}

await check("usage", "tokens are counted", async () => {
  assert.ok((await client.messages.countTokens({ model: named("say"), messages: HELLO })).input_tokens > 0);
});
await check("chat", "who leaves ends the call upstream", async () => {
  for (const turn of [0, 1, 2]) {
    const model = `${named("never")}.${turn}`;
    await raised(Anthropic.APIConnectionTimeoutError, () =>
      once.messages.create({ ...given("never", "fake", {}), model }, { timeout: 400 }));
    await leftAlone(model);
  }
});
await check("models", "a list, in pages, and one of them", async () => {
  const listed = (await all(client.models.list({ limit: 2 }))).map((one) => one.id);
  assert.ok(listed.includes("fake/say"), listed.join());
  same((await client.models.retrieve("fake/say")).id, "fake/say");
  await raised(Anthropic.NotFoundError, () => client.models.retrieve("none-of-that-name"));
});

for (const [what, status, word] of [
  ["fail-400", 400, "invalid_request_error"],
  ["fail-401", 502, "api_error"],
  ["fail-404", 404, "not_found_error"],
  ["fail-413", 413, "request_too_large"],
  ["fail-429", 429, "rate_limit_error"],
  ["full", 402, "billing_error"],
  ["fail-500", 503, "api_error"],
  ["fail-529", 529, "overloaded_error"],
]) {
  for (const stream of [false, true]) {
    await check("errors", `${what}, ${stream ? "stream" : "whole"}`, async () => {
      const provider = await providerFor(what);
      const error = await raised(Anthropic.APIError, () => once.messages.create(given(what, provider, { stream })));
      same([error.status, error.error.type, error.error.error.type], [status, "error", word]);
      assert.ok(error.requestID, "no request-id");
    });
  }
}
await check("errors", "a wrong key", async () => {
  const stranger = new Anthropic({ baseURL: URL_, apiKey: "rg-wrong" });
  await raised(Anthropic.AuthenticationError, () => stranger.messages.create(given("say", "fake", {})));
});
for (const [what, wanted] of [["fail-529", 2], ["fail-429", 2], ["fail-400", 1]]) {
  await check("retries", `${what} is not multiplied`, async () => {
    const model = `${named(what, await providerFor(what))}.retries`;
    await raised(Anthropic.APIError, () => client.messages.create({ ...given(what, "fake", {}), model }));
    same((await seen(model)).count, wanted);
  });
}
await check("retries", "the client waits where Raygate did not", async () => {
  await rest();
  const begun = Date.now();
  same((await ask("flaky-429", "hasty")).content[0].text, TEXT);
  assert.ok(Date.now() - begun >= 300, "it did not wait as long as it was told");
});
