"""LiteLLM, in the words of OpenAI, Anthropic or Ollama: what its first argument says."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import litellm
from litellm import exceptions
from pydantic import BaseModel
from report import (
    CITY,
    COST,
    KEY,
    PERSON,
    PICTURE,
    PNG,
    TEXT,
    URL,
    WEATHER,
    check,
    named,
    near,
    provider_for,
    raises,
    rest,
    same,
    seen,
)

WORDS = sys.argv[1]
BASE = f"{URL}/v1" if WORDS == "openai" else URL
HELLO: Any = [{"role": "user", "content": "Say hello."}]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": CITY}}]
CITIES = [{"city": "Paris"}, {"city": "Zürich"}]

BREAKS: tuple[type[Exception], ...] = (exceptions.MidStreamFallbackError, exceptions.APIError)
if WORDS == "ollama_chat":
    # It expects no error in the midst of a stream of Ollama's, and stumbles over it.
    BREAKS = (exceptions.BadRequestError,)

litellm.suppress_debug_info = True


class Person(BaseModel):
    name: str
    age: int


def ask(what: str, provider: str = "fake", **more: Any) -> Any:
    given = {"model": f"{WORDS}/{named(what, provider)}", "messages": HELLO, "api_base": BASE, "api_key": KEY, **more}
    return litellm.completion(**given)


def text(chunks: list[Any]) -> str:
    return "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)


for provider in ("fake", "claude"):
    with check("chat", f"an answer of {provider}"):
        said = ask("say", provider)
        same((said.choices[0].message.content, said.choices[0].finish_reason), (TEXT, "stop"))
        same((said.usage.prompt_tokens, said.usage.completion_tokens), (7, 5))
    with check("chat", f"a thought of {provider}"):
        message = ask("think", provider).choices[0].message
        same((message.reasoning_content, message.content), ("Two and two make four.", "Four."))
    with check("stream", f"pieces of {provider}"):
        chunks = list(ask("say", provider, stream=True))
        same((text(chunks), chunks[-1].choices[0].finish_reason), (TEXT, "stop"))
        assert len([one for one in chunks if one.choices[0].delta.content]) >= 5
        same(litellm.stream_chunk_builder(chunks).choices[0].message.content, TEXT)
    with check("usage", f"of a stream of {provider}"):
        chunks = list(ask("say", provider, stream=True, stream_options={"include_usage": True}))
        used = next(one.usage for one in reversed(chunks) if getattr(one, "usage", None))
        same((used.prompt_tokens, used.completion_tokens, used.total_tokens), (7, 5, 12))
    with check("tools", f"two at once and their results, {provider}"):
        choice = ask("weather", provider, tools=TOOLS).choices[0]
        calls = choice.message.tool_calls
        same(choice.finish_reason, "tool_calls")
        same([json.loads(one.function.arguments) for one in calls], CITIES)
        back = [
            {"role": "tool", "tool_call_id": one.id, "content": result}
            for one, result in zip(calls, ("21 degrees", "17 degrees"), strict=True)
        ]
        last = ask("weather", provider, tools=TOOLS, messages=[*HELLO, choice.message.model_dump(), *back])
        same(last.choices[0].message.content, WEATHER)
    with check("tools", f"streamed, {provider}"):
        built = litellm.stream_chunk_builder(list(ask("weather", provider, tools=TOOLS, stream=True)))
        same([json.loads(one.function.arguments) for one in built.choices[0].message.tool_calls], CITIES)
    with check("schema", f"a model of pydantic's, {provider}"):
        same(json.loads(ask("person", provider, response_format=Person).choices[0].message.content), PERSON)
    with check("vision", f"a picture, {provider}"):
        url = {"url": f"data:image/png;base64,{PNG}"}
        parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": url}]
        said = ask("see", provider, messages=[{"role": "user", "content": parts}])
        same(said.choices[0].message.content, PICTURE)
    for how in ("reset", "stop-early", "error-event"):
        with check("break", f"{how}, {provider}"):
            got: list[Any] = []
            with raises(*BREAKS):
                for chunk in ask(how, provider, stream=True):
                    got.append(chunk)  # noqa: PERF402  # what came before the break counts
            same(text(got), "Hello from the")

with check("stream", "asynchronous"):

    async def told() -> list[Any]:
        model = f"{WORDS}/{named('say')}"
        given = await litellm.acompletion(model=model, messages=HELLO, api_base=BASE, api_key=KEY, stream=True)
        return [chunk async for chunk in given]

    same(text(asyncio.run(told())), TEXT)
if WORDS != "anthropic":
    with check("embed", "vectors"):
        model = f"{WORDS.removesuffix('_chat')}/{named('embed')}"
        said = litellm.embedding(model=model, input=["four", "sixsix"], api_base=BASE, api_key=KEY)
        same([one["embedding"] for one in said.data], [[4.0, 0.5, -0.25], [6.0, 0.5, -0.25]])
if WORDS == "openai":
    with check("usage", "with its cost"):
        near(ask("say").usage.cost, COST)
    with check("chat", "old completions"):
        model = f"text-completion-openai/{named('say')}"
        old = litellm.text_completion(model=model, prompt="Say hello.", api_base=BASE, api_key=KEY)
        same(old.choices[0].text, TEXT)

OVERFLOW = exceptions.ContextWindowExceededError if WORDS == "openai" else exceptions.BadRequestError
DOWN = (exceptions.ServiceUnavailableError, exceptions.InternalServerError)
ERRORS: list[tuple[str, tuple[type[Exception], ...]]] = [
    ("fail-400", (exceptions.BadRequestError,)),
    ("overflow", (OVERFLOW,)),
    ("fail-404", (exceptions.NotFoundError,)),
    ("fail-429", (exceptions.RateLimitError,)),
    ("fail-500", DOWN),
    ("fail-529", DOWN),
]
for what, kinds in ERRORS:
    with check("errors", what), raises(*kinds):
        ask(what, provider_for(what), max_retries=0)
with check("errors", "a wrong key"), raises(exceptions.AuthenticationError):
    ask("say", api_key="rg-wrong")
for what in ("fail-503", "fail-429"):
    with check("retries", f"{what} is not multiplied"):
        model = f"{named(what, provider_for(what))}.retries"
        with raises(exceptions.RateLimitError, *DOWN):
            ask("", model=f"{WORDS}/{model}", max_retries=2)
        same(seen(model)["count"], 2)
with check("retries", "a hiccup that Raygate gets over"):
    same(ask("flaky-503", max_retries=0).choices[0].message.content, TEXT)
if WORDS == "openai":
    # In the others' words it never tries again by itself.
    with check("retries", "the client waits where Raygate did not"):
        rest()
        same(ask("flaky-429", "hasty", max_retries=2).choices[0].message.content, TEXT)
