"""Ollama's own client, with its key in OLLAMA_API_KEY."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import ollama
from pydantic import BaseModel
from report import (
    PERSON,
    PICTURE,
    PNG,
    TEXT,
    URL,
    WEATHER,
    check,
    left_alone,
    named,
    provider_for,
    raises,
    same,
    seen,
)

client = ollama.Client(host=URL)
HELLO: Any = [{"role": "user", "content": "Say hello."}]
BOTH = ("fake", "claude")
CITIES = [{"city": "Paris"}, {"city": "Zürich"}]


class Person(BaseModel):
    name: str
    age: int


def get_weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: The city
    """
    return {"Paris": "21 degrees", "Zürich": "17 degrees"}[city]


def ask(what: str, provider: str = "fake", **more: Any) -> Any:
    return client.chat(**{"model": named(what, provider), "messages": HELLO, **more})


def text(chunks: list[Any]) -> str:
    return "".join(one.message.content or "" for one in chunks)


for provider in BOTH:
    with check("chat", f"an answer of {provider}"):
        said = ask("say", provider)
        same((said.message.role, said.message.content, said.done, said.done_reason), ("assistant", TEXT, True, "stop"))
        assert said.model
        assert said.created_at
    with check("chat", f"a thought of {provider}"):
        message = ask("think", provider, think=True).message
        same((message.thinking, message.content), ("Two and two make four.", "Four."))
    with check("chat", f"an answer to a prompt of {provider}"):
        said = client.generate(model=named("say", provider), prompt="Say hello.", system="Be brief.")
        same((said.response, said.done), (TEXT, True))
    with check("stream", f"pieces of {provider}"):
        chunks = list(ask("say", provider, stream=True))
        same((text(chunks), [one.done for one in chunks]), (TEXT, [False] * (len(chunks) - 1) + [True]))
        assert len(chunks) >= 6, chunks
        same(chunks[-1].done_reason, "stop")
    with check("stream", f"a thought of {provider}"):
        chunks = list(ask("think", provider, stream=True, think=True))
        same("".join(one.message.thinking or "" for one in chunks), "Two and two make four.")
        same(text(chunks), "Four.")
    with check("stream", f"an answer to a prompt of {provider}"):
        parts = client.generate(model=named("say", provider), prompt="Say hello.", stream=True)
        same("".join(one.response for one in parts), TEXT)
    with check("usage", f"of an answer and of a stream of {provider}"):
        said, last = ask("say", provider), list(ask("say", provider, stream=True))[-1]
        same((said.prompt_eval_count, said.eval_count), (7, 5))
        same((last.prompt_eval_count, last.eval_count), (7, 5))
        assert last.total_duration is not None
        assert last.total_duration > 0
    with check("tools", f"two at once and their results, {provider}"):
        message = ask("weather", provider, tools=[get_weather]).message
        same(
            [(one.function.name, dict(one.function.arguments)) for one in message.tool_calls or ()],
            [("get_weather", city) for city in CITIES],
        )
        results = [
            {"role": "tool", "tool_name": one.function.name, "content": get_weather(**one.function.arguments)}
            for one in message.tool_calls or ()
        ]
        last = ask("weather", provider, tools=[get_weather], messages=[*HELLO, message, *results])
        same(last.message.content, WEATHER)
    with check("tools", f"streamed, {provider}"):
        chunks = list(ask("weather", provider, tools=[get_weather], stream=True))
        calls = [call for one in chunks for call in one.message.tool_calls or ()]
        same([dict(one.function.arguments) for one in calls], CITIES)
    with check("schema", f"by a schema, {provider}"):
        said = ask("person", provider, format=Person.model_json_schema())
        same(Person.model_validate_json(said.message.content or ""), Person(**PERSON))
    with check("vision", f"a picture, {provider}"):
        said = ask("see", provider, messages=[{"role": "user", "content": "What is it?", "images": [PNG]}])
        same(said.message.content, PICTURE)
    for how in ("reset", "stop-early", "error-event"):
        with check("break", f"{how}, {provider}"):
            got: list[Any] = []
            with raises(ollama.ResponseError):
                for chunk in ask(how, provider, stream=True):
                    got.append(chunk)  # noqa: PERF402  # what came before the break counts
            same(text(got), "Hello from the")
            assert not any(one.done for one in got)

with check("chat", "ran out of tokens, with options"):
    same(ask("cut", options={"num_predict": 2, "temperature": 0.5, "stop": ["x"]}).done_reason, "length")
    sent = seen(named("cut"))["bodies"][-1]
    same((sent["temperature"], sent["stop"]), (0.5, ["x"]))
with check("chat", "asynchronous"):
    said = asyncio.run(ollama.AsyncClient(host=URL).chat(model=named("say"), messages=HELLO))
    same(said.message.content, TEXT)
with check("stream", "asynchronous"):

    async def told() -> str:
        parts = await ollama.AsyncClient(host=URL).chat(model=named("say"), messages=HELLO, stream=True)
        return text([one async for one in parts])

    same(asyncio.run(told()), TEXT)
with check("stream", "who leaves ends the call upstream"):
    endless = ask("endless", stream=True)
    assert next(endless).message
    endless.close()
    left_alone(named("endless"))
with check("schema", "any JSON object"):
    same(json.loads(ask("person", format="json").message.content or ""), PERSON)
    same(seen(named("person"))["bodies"][-1]["response_format"], {"type": "json_object"})
with check("embed", "vectors"):
    found = client.embed(model=named("embed"), input=["four", "sixsix"])
    same([list(one) for one in found.embeddings], [[4.0, 0.5, -0.25], [6.0, 0.5, -0.25]])
    same(found.prompt_eval_count, 6)
with check("embed", "a vector, as once"):
    same(list(client.embeddings(model=named("embed"), prompt="four").embedding), [4.0, 0.5, -0.25])
with check("models", "a list"):
    listed = {one.model: one for one in client.list().models}
    assert "fake/say" in listed, sorted(map(str, listed))
with check("models", "one of them"):
    assert client.show("fake/say").model_dump() is not None
with check("models", "one that is not there"):
    with raises(ollama.ResponseError) as caught:
        client.show("none-of-that-name")
    same(caught.error.status_code, 404)
with check("models", "those that run"):
    assert client.ps().models is not None

for what, status in (
    ("fail-400", 400),
    ("fail-401", 502),
    ("fail-404", 404),
    ("fail-413", 413),
    ("fail-429", 429),
    ("full", 429),
    ("fail-500", 503),
    ("fail-503", 503),
):
    for stream in (False, True):
        with check("errors", f"{what}, {'stream' if stream else 'whole'}"):
            provider = provider_for(what)
            with raises(ollama.ResponseError) as caught:
                given = ask(what, provider, stream=stream)
                list(given) if stream else None
            same(caught.error.status_code, status)
            assert provider in caught.error.error, caught.error.error
with check("errors", "a wrong key"):
    with raises(ollama.ResponseError) as caught:
        ollama.Client(host=URL, headers={"Authorization": "Bearer rg-wrong"}).chat(model=named("say"), messages=HELLO)
    same(caught.error.status_code, 401)
with check("errors", "a model that is not there"):
    with raises(ollama.ResponseError) as caught:
        ask("", model="none-of-that-name")
    same(caught.error.status_code, 404)
    assert "none-of-that-name" in caught.error.error

with check("retries", "a hiccup that Raygate gets over"):
    same((ask("flaky-503").message.content, seen(named("flaky-503"))["count"]), (TEXT, 2))
for what in ("fail-503", "fail-429"):
    with check("retries", f"{what} is not multiplied"):
        model = f"{named(what, provider_for(what))}.retries"
        with raises(ollama.ResponseError):
            ask("", model=model)
        same(seen(model)["count"], 2)
