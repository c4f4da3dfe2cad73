"""OpenAI's own SDK, chat completions and what lies beside them. The same script for both generations."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import openai
from pydantic import BaseModel
from report import (
    COST,
    KEY,
    PERSON,
    PICTURE,
    PNG,
    TEXT,
    URL,
    WEATHER,
    check,
    left_alone,
    named,
    near,
    provider_for,
    raises,
    rest,
    same,
    seen,
)

client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY)
once = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
HELLO: Any = [{"role": "user", "content": "Say hello."}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
BOTH = ("fake", "claude")


class Person(BaseModel):
    name: str
    age: int


def ask(what: str, provider: str = "fake", **more: Any) -> Any:
    return client.chat.completions.create(**{"model": named(what, provider), "messages": HELLO, **more})


def pieces(chunks: Any) -> list[str]:
    return [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]


def chat() -> None:
    for provider in BOTH:
        with check("chat", f"an answer of {provider}"):
            said = ask("say", provider)
            same(said.choices[0].message.content, TEXT)
            same(
                (said.choices[0].message.role, said.choices[0].finish_reason, said.choices[0].index),
                ("assistant", "stop", 0),
            )
            same((said.object, said.model.partition(".")[0]), ("chat.completion", "say"))
            assert said.id
            assert said._request_id, "no x-request-id"
            same((said.usage.prompt_tokens, said.usage.completion_tokens, said.usage.total_tokens), (7, 5, 12))
        with check("chat", f"a thought of {provider}"):
            message = ask("think", provider).choices[0].message
            same((message.reasoning_content, message.content), ("Two and two make four.", "Four."))
    with check("chat", "headers"):
        raw = client.chat.completions.with_raw_response.create(model=named("say"), messages=HELLO)
        same(raw.parse().choices[0].message.content, TEXT)
        same((raw.headers["x-raygate-provider"], raw.headers["x-raygate-attempts"]), ("fake", "1"))
        assert raw.headers["x-raygate-model"].startswith("say")
        near(float(raw.headers["x-raygate-cost-usd"]), COST)
        assert float(raw.headers["x-raygate-overhead-ms"]) >= 0
    with check("chat", "several choices"):
        same([one.message.content for one in ask("say", n=2).choices], [TEXT, TEXT])
    with check("chat", "ran out of tokens"):
        same(ask("cut", max_tokens=2).choices[0].finish_reason, "length")
    with check("chat", "without /v1"):
        bare = openai.OpenAI(base_url=URL, api_key=KEY)
        same(bare.chat.completions.create(model=named("say"), messages=HELLO).choices[0].message.content, TEXT)
    with check("chat", "asynchronous"):

        async def told() -> Any:
            async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY) as asynchronous:
                return await asynchronous.chat.completions.create(model=named("say"), messages=HELLO)

        same(asyncio.run(told()).choices[0].message.content, TEXT)
    with check("chat", "old completions"):
        old = client.completions.create(model=named("say"), prompt="Say hello.", max_tokens=20)
        same((old.object, old.choices[0].text, old.choices[0].finish_reason), ("text_completion", TEXT, "stop"))
        same(old.usage.total_tokens if old.usage else None, 12)


def stream() -> None:
    for provider in BOTH:
        with check("stream", f"pieces of {provider}"):
            chunks = list(ask("say", provider, stream=True))
            assert len(pieces(chunks)) >= 5, pieces(chunks)
            same("".join(pieces(chunks)), TEXT)
            same(chunks[0].choices[0].delta.role, "assistant")
            same([one.choices[0].finish_reason for one in chunks if one.choices][-1], "stop")
            same({(one.id, one.object) for one in chunks}, {(chunks[0].id, "chat.completion.chunk")})
        with check("stream", f"a thought of {provider}"):
            chunks = list(ask("think", provider, stream=True))
            thoughts = [getattr(one.choices[0].delta, "reasoning_content", None) or "" for one in chunks if one.choices]
            same(("".join(thoughts), "".join(pieces(chunks))), ("Two and two make four.", "Four."))
    with check("stream", "the SDK's helper"):
        with client.chat.completions.stream(model=named("say"), messages=HELLO) as helper:
            kinds = {event.type for event in helper}
            same(helper.get_final_completion().choices[0].message.content, TEXT)
        assert {"chunk", "content.delta", "content.done"} <= kinds, kinds
    with check("stream", "asynchronous"):

        async def told() -> list[str]:
            async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY) as asynchronous:
                given = await asynchronous.chat.completions.create(model=named("say"), messages=HELLO, stream=True)
                return pieces([chunk async for chunk in given])

        same("".join(asyncio.run(told())), TEXT)
    with check("stream", "old completions"):
        old = client.completions.create(model=named("say"), prompt="Say hello.", stream=True)
        same("".join(chunk.choices[0].text for chunk in old if chunk.choices), TEXT)
    with check("stream", "who leaves ends the call upstream"):
        endless = ask("endless", stream=True)
        assert next(iter(endless)).choices
        endless.close()
        left_alone(named("endless"))
    with check("chat", "who leaves ends the call upstream"):
        impatient = once.with_options(timeout=0.4)
        for turn in range(3):
            model = f"{named('never')}.{turn}"
            with raises(openai.APITimeoutError):
                impatient.chat.completions.create(model=model, messages=HELLO)
            left_alone(model)


def tools() -> None:
    for provider in BOTH:
        with check("tools", f"two at once, of {provider}"):
            said = ask("weather", provider, tools=TOOLS)
            choice = said.choices[0]
            same((choice.finish_reason, choice.message.content), ("tool_calls", None))
            calls = choice.message.tool_calls
            same([(one.type, one.function.name) for one in calls], [("function", "get_weather")] * 2)
            same([json.loads(one.function.arguments) for one in calls], [{"city": "Paris"}, {"city": "Zürich"}])
            assert len({one.id for one in calls}) == 2
        with check("tools", f"and their results, to {provider}"):
            back = [
                {"role": "tool", "tool_call_id": one.id, "content": text}
                for one, text in zip(calls, ("21 degrees", "17 degrees"), strict=True)
            ]
            messages = [*HELLO, choice.message.model_dump(exclude_none=True), *back]
            last = ask("weather", provider, tools=TOOLS, messages=messages)
            same((last.choices[0].message.content, last.choices[0].finish_reason), (WEATHER, "stop"))
        with check("tools", f"streamed, of {provider}"):
            made: dict[int, list[str]] = {}
            finish = None
            for chunk in ask("weather", provider, tools=TOOLS, stream=True):
                for choice in chunk.choices:
                    finish = choice.finish_reason or finish
                    for piece in choice.delta.tool_calls or ():
                        call = made.setdefault(piece.index, ["", "", ""])
                        call[0] += piece.id or ""
                        call[1] += piece.function.name or ""
                        call[2] += piece.function.arguments or ""
            same((sorted(made), finish), ([0, 1], "tool_calls"))
            same([call[1] for call in made.values()], ["get_weather"] * 2)
            same([json.loads(call[2]) for call in made.values()], [{"city": "Paris"}, {"city": "Zürich"}])
            assert len({call[0] for call in made.values()}) == 2
    with check("tools", "the SDK's helper"):
        with client.chat.completions.stream(model=named("weather"), messages=HELLO, tools=TOOLS) as helper:
            kinds = [event.type for event in helper]
            final = helper.get_final_completion().choices[0].message.tool_calls or []
        same([json.loads(one.function.arguments) for one in final], [{"city": "Paris"}, {"city": "Zürich"}])
        same(kinds.count("tool_calls.function.arguments.done"), 2)
    with check("tools", "a choice and one at a time, as asked"):
        choice = {"type": "function", "function": {"name": "get_weather"}}
        ask("weather", tools=TOOLS, tool_choice=choice, parallel_tool_calls=False)
        sent = seen(named("weather"))["bodies"][-1]
        same((sent["tool_choice"], sent["parallel_tool_calls"], sent["tools"]), (choice, False, TOOLS))
    with check("tools", "functions, as once"):
        function = TOOLS[0]["function"]
        said = ask("person", functions=[function]).choices[0]
        same((said.finish_reason, json.loads(said.message.function_call.arguments)), ("function_call", PERSON))


def schema() -> None:
    for provider in BOTH:
        with check("schema", f"parsed, of {provider}"):
            said = client.chat.completions.parse(
                model=named("person", provider), messages=HELLO, response_format=Person
            )
            same(said.choices[0].message.parsed, Person(**PERSON))
            sent = seen(named("person", provider))["bodies"][-1]
            assert '"additionalProperties": false' in json.dumps(sent), "the schema did not arrive"
        with (
            check("schema", f"streamed, of {provider}"),
            client.chat.completions.stream(
                model=named("person", provider), messages=HELLO, response_format=Person
            ) as helper,
        ):
            for _ in helper:
                pass
            same(helper.get_final_completion().choices[0].message.parsed, Person(**PERSON))
    with check("schema", "any JSON object"):
        said = ask("person", response_format={"type": "json_object"})
        same(json.loads(said.choices[0].message.content), PERSON)
        same(seen(named("person"))["bodies"][-1]["response_format"], {"type": "json_object"})


def vision() -> None:
    def shown(url: str, provider: str) -> str:
        parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
        said = ask("see", provider, messages=[{"role": "user", "content": parts}])
        return str(said.choices[0].message.content)

    for provider in BOTH:
        with check("vision", f"a picture for {provider}"):
            same(shown(f"data:image/png;base64,{PNG}", provider), PICTURE)
        with check("vision", f"a picture's address for {provider}"):
            same(shown("https://example.com/a.png", provider), "[https://example.com/a.png]")


def embed() -> None:
    with check("embed", "vectors, in the SDK's own encoding"):
        said = client.embeddings.create(model=named("embed"), input=["four", "sixsix"])
        same([list(one.embedding) for one in said.data], [[4.0, 0.5, -0.25], [6.0, 0.5, -0.25]])
        same([one.index for one in said.data], [0, 1])
        same((said.usage.prompt_tokens, said.usage.total_tokens), (6, 6))
    with check("embed", "one text, as numbers, shorter"):
        said = client.embeddings.create(model=named("embed"), input="four", encoding_format="float", dimensions=2)
        same(list(said.data[0].embedding), [4.0, 0.5])


def usage() -> None:
    for provider in BOTH:
        with check("usage", f"of a stream of {provider}, when asked for"):
            chunks = list(ask("say", provider, stream=True, stream_options={"include_usage": True}))
            same([one.usage for one in chunks[:-1]], [None] * (len(chunks) - 1))
            last = chunks[-1]
            same(last.choices, [])
            same((last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens), (7, 5, 12))
            same(last.usage.prompt_tokens_details.cached_tokens, 2)
            near(last.usage.cost, COST)
        with check("usage", f"of a whole answer of {provider}, with its cost"):
            near(ask("say", provider).usage.cost, COST)
    with check("usage", "none when not asked for"):
        same([one.usage for one in ask("say", stream=True) if one.usage], [])


def models() -> None:
    with check("models", "a list"):
        listed = {one.id: one for one in client.models.list()}
        assert {"fake/say", "fake/embed"} <= listed.keys(), sorted(listed)
        same((listed["fake/say"].object, listed["fake/say"].owned_by), ("model", "fake"))
    with check("models", "one of them"):
        same(client.models.retrieve("fake/say").id, "fake/say")
    with check("models", "one that is not there"), raises(openai.NotFoundError):
        client.models.retrieve("none-of-that-name")


ERRORS: list[tuple[str, type[openai.APIStatusError], int, str | None]] = [
    ("fail-400", openai.BadRequestError, 400, None),
    ("overflow", openai.BadRequestError, 400, "context_length_exceeded"),
    ("fail-401", openai.InternalServerError, 502, "upstream_unauthenticated"),
    ("fail-403", openai.InternalServerError, 502, "upstream_forbidden"),
    ("fail-404", openai.NotFoundError, 404, "model_not_found"),
    ("fail-409", openai.BadRequestError, 400, None),
    ("fail-413", openai.APIStatusError, 413, None),
    ("fail-422", openai.BadRequestError, 400, None),
    ("fail-429", openai.RateLimitError, 429, "rate_limit_exceeded"),
    ("full", openai.RateLimitError, 429, "insufficient_quota"),
    ("fail-500", openai.InternalServerError, 503, None),
    ("fail-503", openai.InternalServerError, 503, None),
    ("fail-529", openai.InternalServerError, 503, None),
]


def errors() -> None:
    for what, kind, status, code in ERRORS:
        for how in ("whole", "stream"):
            with check("errors", f"{what}, {how}"):
                provider = provider_for(what)
                with raises(kind) as caught:
                    once.chat.completions.create(model=named(what, provider), messages=HELLO, stream=how == "stream")
                error = caught.error
                same((type(error), error.status_code), (kind, status))
                assert code is None or error.code == code, f"code {error.code!r}"
                assert error.request_id, "no x-request-id"
                assert provider in error.message, error.message
                assert error.type, "no type"
                if what == "fail-429":
                    told = error.response.headers
                    same((told["retry-after"], told["retry-after-ms"]), ("1", "300"))
    with check("errors", "a wrong key"):
        stranger = openai.OpenAI(base_url=f"{URL}/v1", api_key="rg-wrong")
        with raises(openai.AuthenticationError) as caught:
            stranger.chat.completions.create(model=named("say"), messages=HELLO)
        same((caught.error.status_code, caught.error.code), (401, "invalid_api_key"))
    with check("errors", "a model that is not there"):
        with raises(openai.NotFoundError) as caught:
            once.chat.completions.create(model="none-of-that-name", messages=HELLO)
        same((caught.error.code, caught.error.param), ("model_not_found", "model"))
    with check("errors", "a field of the wrong type"):
        with raises(openai.BadRequestError) as caught:
            ask("say", temperature="hot")
        same(caught.error.param, "temperature")
    with check("errors", "a body beyond the limit"):
        with raises(openai.APIStatusError) as caught:
            once.chat.completions.create(model=named("say"), messages=[{"role": "user", "content": "x" * 2_000_000}])
        same(caught.error.status_code, 413)
    with check("errors", "a provider that takes too long"):
        with raises(openai.InternalServerError) as caught:
            once.chat.completions.create(model=named("never", "hasty"), messages=HELLO)
        same(caught.error.status_code, 504)
    with check("errors", "a path that is not there"), raises(openai.NotFoundError):
        client.post("/nowhere", cast_to=object, body={})


RETRIES: list[tuple[str, type[openai.APIStatusError], int]] = [
    ("fail-500", openai.InternalServerError, 2),
    ("fail-503", openai.InternalServerError, 2),
    ("fail-429", openai.RateLimitError, 2),
    ("full", openai.RateLimitError, 1),
    ("fail-400", openai.BadRequestError, 1),
]


def retries() -> None:
    with check("retries", "a hiccup that Raygate gets over"):
        raw = client.chat.completions.with_raw_response.create(model=named("flaky-503"), messages=HELLO)
        same(raw.parse().choices[0].message.content, TEXT)
        same((raw.headers["x-raygate-attempts"], seen(named("flaky-503"))["count"]), ("2", 2))
    for what, kind, wanted in RETRIES:
        with check("retries", f"{what} is not multiplied"):
            model = f"{named(what, provider_for(what))}.retries"
            with raises(kind):
                client.chat.completions.create(model=model, messages=HELLO)
            same(seen(model)["count"], wanted)
    with check("retries", "the client waits where Raygate did not"):
        rest()
        begun = time.monotonic()
        model = named("flaky-429", "hasty")
        said = client.chat.completions.create(model=model, messages=HELLO)
        same((said.choices[0].message.content, seen(model)["count"]), (TEXT, 2))
        assert time.monotonic() - begun >= 0.3, "it did not wait as long as it was told"


def breaks() -> None:
    for provider in BOTH:
        for how in ("reset", "stop-early", "error-event"):
            with check("break", f"{how}, {provider}"):
                chunks: list[Any] = []
                with raises(openai.APIError):
                    for chunk in ask(how, provider, stream=True):
                        chunks.append(chunk)  # noqa: PERF402  # `extend` might not keep what came before the break
                same("".join(pieces(chunks)), "Hello from the")
    with (
        check("break", "the SDK's helper"),
        raises(openai.APIError),
        client.chat.completions.stream(model=named("reset"), messages=HELLO) as helper,
    ):
        for _ in helper:
            pass


for each in (chat, stream, tools, schema, vision, embed, usage, models, errors, retries, breaks):
    each()
