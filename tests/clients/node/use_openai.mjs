// OpenAI's own SDK for Node: chat completions and what lies beside them.

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import assert from "node:assert/strict";
import {
  BOTH, BREAKS, CITIES, CITY, COST, KEY, PERSON, PICTURE, PNG, TEXT, URL_, WEATHER,
  all, check, leftAlone, named, near, providerFor, raised, rest, same, seen,
} from "./report.mjs";

const client = new OpenAI({ baseURL: `${URL_}/v1`, apiKey: KEY });
const once = new OpenAI({ baseURL: `${URL_}/v1`, apiKey: KEY, maxRetries: 0 });
const HELLO = [{ role: "user", content: "Say hello." }];
const TOOLS = [{ type: "function", function: { name: "get_weather", description: "The weather", parameters: CITY } }];
const Person = z.object({ name: z.string(), age: z.number().int() });

const given = (what, provider, more) => ({ model: named(what, provider), messages: HELLO, ...more });
const ask = (what, provider = "fake", more = {}) => client.chat.completions.create(given(what, provider, more));
const text = (chunks) => chunks.map((one) => one.choices[0]?.delta.content ?? "").join("");

for (const provider of BOTH) {
  await check("chat", `an answer of ${provider}`, async () => {
    const said = await ask("say", provider);
    const [choice] = said.choices;
    same([choice.message.content, choice.message.role, choice.finish_reason], [TEXT, "assistant", "stop"]);
    same([said.usage.prompt_tokens, said.usage.completion_tokens], [7, 5]);
    assert.ok(said._request_id, "no x-request-id");
  });
  await check("stream", `pieces of ${provider}`, async () => {
    const chunks = await all(await ask("say", provider, { stream: true }));
    same([text(chunks), chunks.at(-1).choices[0].finish_reason], [TEXT, "stop"]);
    assert.ok(chunks.length >= 6);
  });
  await check("stream", `the SDK's helper, ${provider}`, async () => {
    const helper = client.chat.completions.stream(given("say", provider, {}));
    same(await helper.finalContent(), TEXT);
  });
  await check("usage", `of a stream of ${provider}, with its cost`, async () => {
    const chunks = await all(await ask("say", provider, { stream: true, stream_options: { include_usage: true } }));
    const last = chunks.at(-1);
    same([last.choices, last.usage.prompt_tokens, last.usage.completion_tokens], [[], 7, 5]);
    near(last.usage.cost, COST);
    const helper = client.chat.completions.stream(given("say", provider, { stream_options: { include_usage: true } }));
    same((await helper.totalUsage()).total_tokens, 12);
  });
  await check("tools", `two at once and their results, ${provider}`, async () => {
    const [{ message, finish_reason }] = (await ask("weather", provider, { tools: TOOLS })).choices;
    same(finish_reason, "tool_calls");
    same(message.tool_calls.map((one) => JSON.parse(one.function.arguments)), CITIES);
    const results = message.tool_calls.map((one, at) => (
      { role: "tool", tool_call_id: one.id, content: ["21 degrees", "17 degrees"][at] }
    ));
    const last = await ask("weather", provider, { tools: TOOLS, messages: [...HELLO, message, ...results] });
    same(last.choices[0].message.content, WEATHER);
  });
  await check("tools", `streamed, ${provider}`, async () => {
    const helper = client.chat.completions.stream(given("weather", provider, { tools: TOOLS }));
    const [{ message, finish_reason }] = (await helper.finalChatCompletion()).choices;
    same(finish_reason, "tool_calls");
    same(message.tool_calls.map((one) => JSON.parse(one.function.arguments)), CITIES);
  });
  await check("tools", `run by the SDK, ${provider}`, async () => {
    const weather = ({ city }) => (city === "Paris" ? "21 degrees" : "17 degrees");
    const run = { ...TOOLS[0].function, function: weather, parse: JSON.parse };
    const tools = [{ type: "function", function: run }];
    same(await client.chat.completions.runTools(given("weather", provider, { tools })).finalContent(), WEATHER);
    const streamed = client.chat.completions.runTools(given("weather", provider, { tools, stream: true }));
    same(await streamed.finalContent(), WEATHER);
  });
  await check("schema", `parsed, of ${provider}`, async () => {
    const format = zodResponseFormat(Person, "person");
    const said = await client.chat.completions.parse(given("person", provider, { response_format: format }));
    same(said.choices[0].message.parsed, PERSON);
    const helper = client.chat.completions.stream(given("person", provider, { response_format: format }));
    same((await helper.finalChatCompletion()).choices[0].message.parsed, PERSON);
  });
  await check("vision", `a picture, ${provider}`, async () => {
    const parts = [{ type: "image_url", image_url: { url: `data:image/png;base64,${PNG}` } }];
    const said = await ask("see", provider, { messages: [{ role: "user", content: parts }] });
    same(said.choices[0].message.content, PICTURE);
  });
  for (const how of BREAKS) {
    await check("break", `${how}, ${provider}`, async () => {
      const got = [];
      await raised(OpenAI.APIError, async () => {
        for await (const chunk of await ask(how, provider, { stream: true })) got.push(chunk);
      });
      same(text(got), "Hello from the");
    });
    await check("break", `${how}, the SDK's helper, ${provider}`, () =>
      raised(OpenAI.OpenAIError, () => client.chat.completions.stream(given(how, provider, {})).finalContent()));
  }
}

await check("chat", "old completions", async () => {
  same((await client.completions.create({ model: named("say"), prompt: "Say hello." })).choices[0].text, TEXT);
});
await check("stream", "who leaves ends the call upstream", async () => {
  const endless = await ask("endless", "fake", { stream: true });
  for await (const chunk of endless) if (chunk.choices[0].delta.content) break;
  await leftAlone(named("endless"));
});
await check("chat", "who leaves ends the call upstream", async () => {
  for (const turn of [0, 1, 2]) {
    const model = `${named("never")}.${turn}`;
    await raised(OpenAI.APIConnectionTimeoutError, () =>
      once.chat.completions.create({ model, messages: HELLO }, { timeout: 400 }));
    await leftAlone(model);
  }
});
await check("embed", "vectors", async () => {
  const said = await client.embeddings.create({ model: named("embed"), input: ["four", "sixsix"] });
  same(said.data.map((one) => [...one.embedding]), [[4, 0.5, -0.25], [6, 0.5, -0.25]]);
  same(said.usage.prompt_tokens, 6);
});
await check("models", "a list and one of them", async () => {
  const listed = (await all(client.models.list())).map((one) => one.id);
  assert.ok(listed.includes("fake/say"), listed.join());
  same((await client.models.retrieve("fake/say")).id, "fake/say");
  await raised(OpenAI.NotFoundError, () => client.models.retrieve("none-of-that-name"));
});

for (const [what, kind, status, code] of [
  ["fail-400", OpenAI.BadRequestError, 400, null],
  ["overflow", OpenAI.BadRequestError, 400, "context_length_exceeded"],
  ["fail-401", OpenAI.InternalServerError, 502, "upstream_unauthenticated"],
  ["fail-404", OpenAI.NotFoundError, 404, "model_not_found"],
  ["fail-413", OpenAI.APIError, 413, null],
  ["fail-429", OpenAI.RateLimitError, 429, "rate_limit_exceeded"],
  ["full", OpenAI.RateLimitError, 429, "insufficient_quota"],
  ["fail-500", OpenAI.InternalServerError, 503, null],
]) {
  for (const stream of [false, true]) {
    await check("errors", `${what}, ${stream ? "stream" : "whole"}`, async () => {
      const provider = await providerFor(what);
      const error = await raised(kind, () => once.chat.completions.create(given(what, provider, { stream })));
      same([error.status, code === null || error.code === code], [status, true]);
      assert.ok(error.requestID, "no x-request-id");
    });
  }
}
await check("errors", "a wrong key", async () => {
  const stranger = new OpenAI({ baseURL: `${URL_}/v1`, apiKey: "rg-wrong" });
  await raised(OpenAI.AuthenticationError, () => stranger.chat.completions.create(given("say", "fake", {})));
});
for (const [what, wanted] of [["fail-503", 2], ["fail-429", 2], ["fail-400", 1]]) {
  await check("retries", `${what} is not multiplied`, async () => {
    const model = `${named(what, await providerFor(what))}.retries`;
    await raised(OpenAI.APIError, () => client.chat.completions.create({ model, messages: HELLO }));
    same((await seen(model)).count, wanted);
  });
}
await check("retries", "the client waits where Raygate did not", async () => {
  await rest();
  const begun = Date.now();
  same((await ask("flaky-429", "hasty")).choices[0].message.content, TEXT);
  assert.ok(Date.now() - begun >= 300, "it did not wait as long as it was told");
});
