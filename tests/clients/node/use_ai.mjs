// Vercel's AI SDK, over one of its providers: what the first argument says.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, RetryError, embedMany, generateText, stepCountIs, streamText, tool } from "ai";
import assert from "node:assert/strict";
import { z } from "zod";
import {
  BOTH, BREAKS, KEY, PERSON, PICTURE, PNG, TEXT, URL_, WEATHER,
  all, check, leftAlone, named, providerFor, raised, rest, same, seen,
} from "./report.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

const WORDS = process.argv[2];

function words(apiKey) {
  const v1 = { baseURL: `${URL_}/v1`, apiKey };
  switch (WORDS) {
    case "openai":
      return createOpenAI(v1).chat;
    case "responses":
      return createOpenAI(v1).responses;
    case "compatible":
      return createOpenAICompatible({ ...v1, name: "raygate", includeUsage: true, supportsStructuredOutputs: true });
    case "anthropic":
      return createAnthropic(v1);
  }
}

const model = words(KEY);
const Person = z.object({ name: z.string(), age: z.number().int() });
const tools = {
  get_weather: tool({
    description: "The weather",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => (city === "Paris" ? "21 degrees" : "17 degrees"),
  }),
};
const CALLS = ["Paris", "Zürich"];

const given = (what, provider = "fake", more = {}) => (
  { model: model(named(what, provider)), prompt: "Say hello.", maxRetries: 0, ...more }
);
// Errors are parts of the whole stream; nothing else is to be said of them.
const stream = (what, provider, more) => streamText({ onError: () => {}, ...given(what, provider, more) });

for (const provider of BOTH) {
  await check("chat", `an answer of ${provider}`, async () => {
    const said = await generateText(given("say", provider));
    same([said.text, said.finishReason], [TEXT, "stop"]);
    assert.ok(said.response.id);
  });
  await check("chat", `a thought of ${provider}`, async () => {
    const said = await generateText(given("think", provider));
    // What this provider of theirs knows no name for, it leaves out.
    same([said.reasoningText ?? null, said.text], [WORDS === "openai" ? null : "Two and two make four.", "Four."]);
  });
  await check("stream", `pieces of ${provider}`, async () => {
    const said = stream("say", provider);
    const pieces = await all(said.textStream);
    same([pieces.join(""), await said.finishReason], [TEXT, "stop"]);
    assert.ok(pieces.length >= 5);
  });
  await check("usage", `of an answer and of a stream of ${provider}`, async () => {
    const said = stream("say", provider);
    await said.consumeStream();
    for (const usage of [(await generateText(given("say", provider))).usage, await said.usage]) {
      same([usage.inputTokens, usage.outputTokens, usage.inputTokenDetails.cacheReadTokens], [7, 5, 2]);
    }
  });
  await check("tools", `two at once, of ${provider}`, async () => {
    const said = await generateText(given("weather", provider, { tools }));
    same([said.finishReason, said.toolCalls.map((one) => one.input.city)], ["tool-calls", CALLS]);
  });
  await check("tools", `run by the SDK, ${provider}`, async () => {
    const said = await generateText(given("weather", provider, { tools, stopWhen: stepCountIs(3) }));
    same([said.text, said.steps.length], [WEATHER, 2]);
  });
  await check("tools", `streamed and run by the SDK, ${provider}`, async () => {
    const said = stream("weather", provider, { tools, stopWhen: stepCountIs(3) });
    const parts = await all(said.fullStream);
    same(parts.filter((one) => one.type === "tool-call").map((one) => one.input.city), CALLS);
    assert.ok(parts.some((one) => one.type === "tool-input-delta"));
    same(await said.text, WEATHER);
  });
  await check("schema", `an object of ${provider}`, async () => {
    const output = Output.object({ schema: Person });
    same((await generateText(given("person", provider, { output }))).output, PERSON);
    const said = stream("person", provider, { output });
    assert.ok((await all(said.partialOutputStream)).length >= 1);
    same(await said.output, PERSON);
  });
  await check("vision", `a picture, ${provider}`, async () => {
    const content = [{ type: "image", image: PNG, mediaType: "image/png" }];
    const { prompt, ...others } = given("see", provider);
    same((await generateText({ ...others, messages: [{ role: "user", content }] })).text, PICTURE);
  });
  for (const how of BREAKS) {
    await check("break", `${how}, ${provider}`, async () => {
      const parts = await all(stream(how, provider).fullStream);
      const said = parts.filter((one) => one.type === "text-delta").map((one) => one.text).join("");
      same(said, "Hello from the");
      assert.ok(parts.some((one) => one.type === "error"), "the stream ended as if whole");
    });
  }
}

await check("stream", "who leaves ends the call upstream", async () => {
  const leave = new AbortController();
  for await (const part of stream("endless", "fake", { abortSignal: leave.signal }).fullStream) {
    if (part.type === "text-delta") leave.abort();
  }
  await leftAlone(named("endless"));
});
if (WORDS === "openai" || WORDS === "compatible") {
  await check("embed", "vectors", async () => {
    const provider = WORDS === "openai" ? createOpenAI({ baseURL: `${URL_}/v1`, apiKey: KEY }) : model;
    const said = await embedMany({
      model: provider.embeddingModel(named("embed")), values: ["four", "sixsix"], maxRetries: 0,
    });
    same(said.embeddings, [[4, 0.5, -0.25], [6, 0.5, -0.25]]);
    same(said.usage.tokens, 6);
  });
}
const OVERLOADED = WORDS === "anthropic" ? 529 : 503;
for (const [what, status, again] of [
  ["fail-400", 400, false],
  ["fail-401", 502, true],
  ["fail-404", 404, false],
  ["fail-413", 413, false],
  ["fail-429", 429, true],
  ["fail-500", 503, true],
  ["fail-529", OVERLOADED, true],
]) {
  await check("errors", what, async () => {
    const provider = await providerFor(what);
    const error = await raised(APICallError, () => generateText(given(what, provider)));
    same([error.statusCode, error.isRetryable], [status, again]);
    // It shows the provider's sentence only where it finds the envelope that it knows.
    assert.ok(error.message.includes("The fake says"), error.message);
  });
}
await check("errors", "a stream that never begins", async () => {
  const parts = await all(stream("fail-400").fullStream);
  const [error] = parts.filter((one) => one.type === "error");
  same(error.error.statusCode, 400);
});
await check("errors", "a wrong key", async () => {
  const error = await raised(APICallError, () => generateText({ ...given("say"), model: words("rg-wrong")(named("say")) }));
  same(error.statusCode, 401);
});
await check("retries", "a hiccup that Raygate gets over", async () => {
  same((await generateText(given("flaky-503"))).text, TEXT);
});
await check("retries", "fail-429 is not multiplied", async () => {
  const name = `${named("fail-429", await providerFor("fail-429"))}.retries`;
  await raised(RetryError, () => generateText({ model: model(name), prompt: "Say hello." }));
  same((await seen(name)).count, 2);
});
await check("retries", "the client waits where Raygate did not", async () => {
  await rest();
  same((await generateText(given("flaky-429", "hasty", { maxRetries: 2 }))).text, TEXT);
});
