// OpenAI's own SDK for Node, the Responses API.

import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import assert from "node:assert/strict";
import {
  BOTH, BREAKS, CITIES, CITY, COST, KEY, PERSON, PICTURE, PNG, TEXT, URL_, WEATHER,
  all, check, named, near, providerFor, raised, rest, same, seen,
} from "./report.mjs";

const client = new OpenAI({ baseURL: `${URL_}/v1`, apiKey: KEY });
const TOOLS = [{ type: "function", name: "get_weather", description: "The weather", parameters: CITY, strict: false }];
const Person = z.object({ name: z.string(), age: z.number().int() });

const given = (what, provider, more) => ({ model: named(what, provider), input: "Say hello.", ...more });
const ask = (what, provider = "fake", more = {}) => client.responses.create(given(what, provider, more));
const calls = (response) => response.output.filter((one) => one.type === "function_call");

for (const provider of BOTH) {
  await check("chat", `an answer of ${provider}`, async () => {
    const said = await ask("say", provider);
    same([said.object, said.status, said.output_text], ["response", "completed", TEXT]);
  });
  await check("stream", `events of ${provider}`, async () => {
    const events = await all(await ask("say", provider, { stream: true }));
    same([events[0].type, events.at(-1).type], ["response.created", "response.completed"]);
    const deltas = events.filter((one) => one.type === "response.output_text.delta");
    same(deltas.map((one) => one.delta).join(""), TEXT);
    assert.ok(deltas.length >= 5);
    const helper = client.responses.stream(given("say", provider, {}));
    same((await helper.finalResponse()).output_text, TEXT);
  });
  await check("usage", `of an answer and of a stream of ${provider}`, async () => {
    const streamed = (await all(await ask("say", provider, { stream: true }))).at(-1).response;
    for (const { usage } of [await ask("say", provider), streamed]) {
      same([usage.input_tokens, usage.output_tokens, usage.total_tokens], [7, 5, 12]);
      near(usage.cost, COST);
    }
  });
  await check("tools", `two at once and their results, ${provider}`, async () => {
    const said = await ask("weather", provider, { tools: TOOLS });
    same(calls(said).map((one) => JSON.parse(one.arguments)), CITIES);
    const results = calls(said).map((one, at) => (
      { type: "function_call_output", call_id: one.call_id, output: ["21 degrees", "17 degrees"][at] }
    ));
    const input = [{ role: "user", content: "The weather?" }, ...said.output, ...results];
    same((await ask("weather", provider, { tools: TOOLS, input })).output_text, WEATHER);
  });
  await check("tools", `streamed, ${provider}`, async () => {
    const helper = client.responses.stream(given("weather", provider, { tools: TOOLS }));
    same(calls(await helper.finalResponse()).map((one) => JSON.parse(one.arguments)), CITIES);
  });
  await check("schema", `parsed, of ${provider}`, async () => {
    const text = { format: zodTextFormat(Person, "person") };
    same((await client.responses.parse(given("person", provider, { text }))).output_parsed, PERSON);
    same((await client.responses.stream(given("person", provider, { text })).finalResponse()).output_parsed, PERSON);
  });
  await check("vision", `a picture, ${provider}`, async () => {
    const content = [{ type: "input_image", image_url: `data:image/png;base64,${PNG}`, detail: "auto" }];
    same((await ask("see", provider, { input: [{ role: "user", content }] })).output_text, PICTURE);
  });
  for (const how of BREAKS) {
    await check("break", `${how}, ${provider}`, async () => {
      const got = [];
      let failed = false;
      try {
        for await (const event of await ask(how, provider, { stream: true })) got.push(event);
      } catch (error) {
        failed = error instanceof OpenAI.APIError;
      }
      const kinds = got.map((one) => one.type);
      assert.ok(failed || kinds.includes("error") || kinds.includes("response.failed"), "it ended as if whole");
      assert.ok(!kinds.includes("response.completed"));
    });
  }
}
for (const [what, kind, status] of [
  ["fail-400", OpenAI.BadRequestError, 400],
  ["fail-404", OpenAI.NotFoundError, 404],
  ["fail-429", OpenAI.RateLimitError, 429],
  ["fail-500", OpenAI.InternalServerError, 503],
]) {
  await check("errors", what, async () => {
    const provider = await providerFor(what);
    const error = await raised(kind, () => client.responses.create(given(what, provider, {}), { maxRetries: 0 }));
    same(error.status, status);
  });
}
await check("errors", "a wrong key", async () => {
  const stranger = new OpenAI({ baseURL: `${URL_}/v1`, apiKey: "rg-wrong" });
  await raised(OpenAI.AuthenticationError, () => stranger.responses.create(given("say", "fake", {})));
});
for (const what of ["fail-503", "fail-429"]) {
  await check("retries", `${what} is not multiplied`, async () => {
    const model = `${named(what, await providerFor(what))}.retries`;
    await raised(OpenAI.APIError, () => client.responses.create({ model, input: "Say hello." }));
    same((await seen(model)).count, 2);
  });
}
await check("retries", "the client waits where Raygate did not", async () => {
  await rest();
  same((await ask("flaky-429", "hasty")).output_text, TEXT);
});
