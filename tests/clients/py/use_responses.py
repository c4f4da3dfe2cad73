"""OpenAI's own SDK, the Responses API. Raygate keeps nothing: every request brings its whole conversation."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import openai
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
TOOLS: Any = [
    {"type": "function", "name": "get_weather", "description": "The weather", "parameters": CITY, "strict": False}
]
CITIES = [{"city": "Paris"}, {"city": "Zürich"}]
BOTH = ("fake", "claude")


class Person(BaseModel):
    name: str
    age: int


def ask(what: str, provider: str = "fake", **more: Any) -> Any:
    return client.responses.create(**{"model": named(what, provider), "input": "Say hello.", "store": False, **more})


def calls_of(response: Any) -> list[Any]:
    return [one for one in response.output if one.type == "function_call"]


for provider in BOTH:
    with check("chat", f"an answer of {provider}"):
        said = ask("say", provider, instructions="Be brief.")
        same((said.object, said.status, said.output_text, said.error), ("response", "completed", TEXT, None))
        message = said.output[-1]
        same((message.type, message.role, message.status), ("message", "assistant", "completed"))
        assert said.id
        assert said._request_id, "no x-request-id"
    with check("chat", f"a thought of {provider}"):
        said = ask("think", provider)
        same((said.output[0].type, said.output_text), ("reasoning", "Four."))
        assert "Two and two make four." in said.output[0].to_json()
    with check("chat", f"ran out of tokens, {provider}"):
        said = ask("cut", provider, max_output_tokens=20)
        same((said.status, said.incomplete_details.reason), ("incomplete", "max_output_tokens"))
    with check("stream", f"events of {provider}"):
        events = list(ask("say", provider, stream=True))
        kinds = [one.type for one in events]
        same((kinds[0], kinds[-1]), ("response.created", "response.completed"))
        same([one.sequence_number for one in events], list(range(len(events))))
        assert {"response.output_item.added", "response.content_part.added", "response.output_text.done"} <= set(kinds)
        same("".join(one.delta for one in events if one.type == "response.output_text.delta"), TEXT)
        assert kinds.count("response.output_text.delta") >= 5
        same(events[-1].response.output_text, TEXT)
    with (
        check("stream", f"the SDK's helper, {provider}"),
        client.responses.stream(model=named("say", provider), input="Say hello.") as helper,
    ):
        for _ in helper:
            pass
        same(helper.get_final_response().output_text, TEXT)
    with check("tools", f"two at once and their results, {provider}"):
        said = ask("weather", provider, tools=TOOLS)
        made = calls_of(said)
        same([(one.name, json.loads(one.arguments)) for one in made], [("get_weather", city) for city in CITIES])
        assert len({one.call_id for one in made}) == 2
        results = [
            {"type": "function_call_output", "call_id": one.call_id, "output": result}
            for one, result in zip(made, ("21 degrees", "17 degrees"), strict=True)
        ]
        turns = [{"role": "user", "content": "The weather?"}, *said.output, *results]
        same(ask("weather", provider, tools=TOOLS, input=turns).output_text, WEATHER)
    with check("tools", f"streamed, {provider}"):
        events = list(ask("weather", provider, tools=TOOLS, stream=True))
        done = [one for one in events if one.type == "response.function_call_arguments.done"]
        same([json.loads(one.arguments) for one in done], CITIES)
        pieces = [one for one in events if one.type == "response.function_call_arguments.delta"]
        same("".join(one.delta for one in pieces), "".join(one.arguments for one in done))
        same([json.loads(one.arguments) for one in calls_of(events[-1].response)], CITIES)
    with check("schema", f"parsed, of {provider}"):
        said = client.responses.parse(model=named("person", provider), input="Who?", text_format=Person)
        same(said.output_parsed, Person(**PERSON))
    with (
        check("schema", f"streamed, of {provider}"),
        client.responses.stream(model=named("person", provider), input="Who?", text_format=Person) as helper,
    ):
        for _ in helper:
            pass
        same(helper.get_final_response().output_parsed, Person(**PERSON))
    with check("vision", f"a picture, {provider}"):
        shown = [
            {"type": "input_text", "text": "What is it?"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
        ]
        same(ask("see", provider, input=[{"role": "user", "content": shown}]).output_text, PICTURE)
    with check("usage", f"of an answer and of a stream of {provider}"):
        for used in (ask("say", provider).usage, list(ask("say", provider, stream=True))[-1].response.usage):
            same((used.input_tokens, used.output_tokens, used.total_tokens), (7, 5, 12))
            same((used.input_tokens_details.cached_tokens, used.output_tokens_details.reasoning_tokens), (2, 0))
            near(used.cost, COST)
    for how in ("reset", "stop-early", "error-event"):
        with check("break", f"{how}, {provider}"):
            got: list[Any] = []
            failed = ""
            try:
                for event in ask(how, provider, stream=True):
                    got.append(event)  # noqa: PERF402  # what came before the break counts
            except openai.APIError as error:
                failed = str(error)
            same("".join(one.delta for one in got if one.type == "response.output_text.delta"), "Hello from the")
            # The SDK hands these events out; it raises for no other.
            assert failed or {one.type for one in got} & {"error", "response.failed"}, "the stream ended as if whole"
            assert "response.completed" not in {one.type for one in got}

with check("chat", "asynchronous"):

    async def told() -> Any:
        async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY) as asynchronous:
            return await asynchronous.responses.create(model=named("say"), input="Say hello.")

    same(asyncio.run(told()).output_text, TEXT)
with check("stream", "who leaves ends the call upstream"):
    endless = ask("endless", stream=True)
    assert next(iter(endless)).type == "response.created"
    endless.close()
    left_alone(named("endless"))
with check("tools", "a choice and one at a time, as asked"):
    ask("weather", tools=TOOLS, tool_choice={"type": "function", "name": "get_weather"}, parallel_tool_calls=False)
    sent = seen(named("weather"))["bodies"][-1]
    same(sent["tool_choice"], {"type": "function", "function": {"name": "get_weather"}})
    same(sent["parallel_tool_calls"], False)
with check("schema", "any JSON object"):
    same(json.loads(ask("person", text={"format": {"type": "json_object"}}).output_text), PERSON)
    same(seen(named("person"))["bodies"][-1]["response_format"], {"type": "json_object"})

ERRORS: list[tuple[str, type[openai.APIStatusError], int, str | None]] = [
    ("fail-400", openai.BadRequestError, 400, None),
    ("overflow", openai.BadRequestError, 400, "context_length_exceeded"),
    ("fail-401", openai.InternalServerError, 502, "upstream_unauthenticated"),
    ("fail-404", openai.NotFoundError, 404, "model_not_found"),
    ("fail-429", openai.RateLimitError, 429, "rate_limit_exceeded"),
    ("full", openai.RateLimitError, 429, "insufficient_quota"),
    ("fail-500", openai.InternalServerError, 503, None),
]
for what, kind, status, code in ERRORS:
    for how in ("whole", "stream"):
        with check("errors", f"{what}, {how}"):
            with raises(kind) as caught:
                once.responses.create(model=named(what, provider_for(what)), input="Say hello.", stream=how == "stream")
            same((type(caught.error), caught.error.status_code), (kind, status))
            assert code is None or caught.error.code == code, f"code {caught.error.code!r}"
with check("errors", "a wrong key"), raises(openai.AuthenticationError):
    openai.OpenAI(base_url=f"{URL}/v1", api_key="rg-wrong").responses.create(model=named("say"), input="x")
with check("errors", "what was never kept"), raises(openai.BadRequestError, openai.NotFoundError):
    ask("say", previous_response_id="resp_1")
for what, wanted in (("fail-503", 2), ("fail-429", 2), ("fail-400", 1)):
    with check("retries", f"{what} is not multiplied"):
        model = f"{named(what, provider_for(what))}.retries"
        with raises(openai.APIStatusError):
            ask("", model=model)
        same(seen(model)["count"], wanted)
with check("retries", "the client waits where Raygate did not"):
    rest()
    begun = time.monotonic()
    same(ask("flaky-429", "hasty").output_text, TEXT)
    assert time.monotonic() - begun >= 0.3, "it did not wait as long as it was told"
