"""Pydantic AI over OpenAI's SDK."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, Embedder, ImageUrl, ModelAPIError, ModelHTTPError, NativeOutput
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from report import KEY, PERSON, PICTURE, PNG, TEXT, URL, WEATHER, check, named, provider_for, raises, rest, same, seen

BOTH = ("fake", "claude")
LOOP = asyncio.Runner()


class Person(BaseModel):
    name: str
    age: int


def through(**more: Any) -> OpenAIProvider:
    return OpenAIProvider(openai_client=openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, **more))


PROVIDER = through()


def agent(what: str, provider: str = "fake", **more: Any) -> Agent[None, Any]:
    return Agent(OpenAIChatModel(named(what, provider), provider=PROVIDER), **more)


def get_weather(city: str) -> str:
    """The weather in a city."""
    return {"Paris": "21 degrees", "Zürich": "17 degrees"}[city]


def run(asked: Agent[None, Any], prompt: Any = "Say hello.") -> Any:
    return LOOP.run(asked.run(prompt))


async def streamed(asked: Agent[None, Any]) -> tuple[list[str], Any, Any]:
    """Pieces of text, the whole output, the usage."""
    async with asked.run_stream("Say hello.") as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
        return pieces, await result.get_output(), result.usage


async def parts(asked: Agent[None, Any]) -> list[Any]:
    async with asked.run_stream("Who?") as result:
        return [one async for one in result.stream_output(debounce_by=None)]


for provider in BOTH:
    with check("chat", f"an answer of {provider}"):
        said = run(agent("say", provider))
        same(said.output, TEXT)
        same((said.response.finish_reason, said.response.usage.total_tokens), ("stop", 12))
    with check("chat", f"a thought of {provider}"):
        kinds = {one.part_kind: one.content for one in run(agent("think", provider)).response.parts}
        same(kinds, {"thinking": "Two and two make four.", "text": "Four."})
    with check("stream", f"pieces of {provider}"):
        pieces, output, _ = LOOP.run(streamed(agent("say", provider)))
        same((output, "".join(pieces)), (TEXT, TEXT))
        assert len(pieces) >= 5, pieces
    with check("usage", f"of a stream of {provider}"):
        _, _, usage = LOOP.run(streamed(agent("say", provider)))
        same((usage.input_tokens, usage.output_tokens, usage.cache_read_tokens), (7, 5, 2))
    with check("tools", f"two at once and their results, {provider}"):
        same(run(agent("weather", provider, tools=[get_weather]), "The weather?").output, WEATHER)
        if provider == "fake":
            sent = seen(named("weather"))["bodies"][-1]["messages"]
            same([one["role"] for one in sent], ["user", "assistant", "tool", "tool"])
    with check("tools", f"streamed, {provider}"):
        _, output, _ = LOOP.run(streamed(agent("weather", provider, tools=[get_weather])))
        same(output, WEATHER)
    for output_type in (Person, NativeOutput(Person)):
        word = "as a tool" if output_type is Person else "as the answer"
        with check("schema", f"{word}, {provider}"):
            same(run(agent("person", provider, output_type=output_type), "Who?").output, Person(**PERSON))
        with check("schema", f"{word}, streamed, {provider}"):
            same(LOOP.run(parts(agent("person", provider, output_type=output_type)))[-1], Person(**PERSON))
    with check("vision", f"a picture, {provider}"):
        picture = BinaryContent.from_data_uri(f"data:image/png;base64,{PNG}")
        same(run(agent("see", provider), ["What is it?", picture]).output, PICTURE)
    with check("vision", f"a picture's address, {provider}"):
        shown = ["What is it?", ImageUrl("https://example.com/a.png")]
        same(run(agent("see", provider), shown).output, "[https://example.com/a.png]")
    for how in ("reset", "stop-early", "error-event"):
        with check("break", f"{how}, {provider}"), raises(ModelAPIError, openai.APIError):
            LOOP.run(streamed(agent(how, provider)))

with check("embed", "vectors"):
    embedder = Embedder(OpenAIEmbeddingModel(named("embed"), provider=PROVIDER))
    found = LOOP.run(embedder.embed_documents(["four", "sixsix"]))
    same([list(one) for one in found.embeddings], [[4.0, 0.5, -0.25], [6.0, 0.5, -0.25]])
    same(found.usage.input_tokens, 6)

impatient = through(max_retries=0)
for what, status in (("fail-400", 400), ("fail-401", 502), ("fail-404", 404), ("fail-429", 429), ("fail-500", 503)):
    for how in ("whole", "stream"):
        with check("errors", f"{what}, {how}"):
            asked = Agent(OpenAIChatModel(named(what, provider_for(what)), provider=impatient))
            with raises(ModelHTTPError) as caught:
                LOOP.run(asked.run("x") if how == "whole" else streamed(asked))
            same(caught.error.status_code, status)
with check("errors", "a wrong key"):
    with raises(ModelHTTPError) as caught:
        run(Agent(OpenAIChatModel(named("say"), provider=OpenAIProvider(base_url=f"{URL}/v1", api_key="rg-wrong"))))
    same(caught.error.status_code, 401)
for what in ("fail-503", "fail-429"):
    with check("retries", f"{what} is not multiplied"):
        model = f"{named(what, provider_for(what))}.retries"
        with raises(ModelHTTPError):
            run(Agent(OpenAIChatModel(model, provider=PROVIDER)))
        same(seen(model)["count"], 2)
with check("retries", "the client waits where Raygate did not"):
    rest()
    same(run(agent("flaky-429", "hasty")).output, TEXT)
