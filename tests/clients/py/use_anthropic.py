"""Anthropic's own SDK: the same script for API version 2023-06-01 (0.x) and 2026-10-21 (2.x)."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import anthropic
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

client = anthropic.Anthropic(base_url=URL, api_key=KEY)
once = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0)
HELLO: Any = [{"role": "user", "content": "Say hello."}]
TOOLS: Any = [{"name": "get_weather", "description": "The weather in a city", "input_schema": CITY}]
CITIES = [{"city": "Paris"}, {"city": "Zürich"}]
SIGNATURE = "c2lnbmVkIGJ5IHRoZSBmYWtl"
BOTH = ("claude", "fake")
NEWEST = anthropic.__version__.startswith("2.")


class Person(BaseModel):
    name: str
    age: int


def ask(what: str, provider: str = "claude", **more: Any) -> Any:
    return client.messages.create(**given(what, provider, **more))


def given(what: str, provider: str = "claude", **more: Any) -> dict[str, Any]:
    return {"model": named(what, provider), "max_tokens": 100, "messages": HELLO, **more}


def text(events: list[Any]) -> str:
    return "".join(
        one.delta.text for one in events if one.type == "content_block_delta" and one.delta.type == "text_delta"
    )


def counts(usage: Any) -> tuple[int, ...]:
    return (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens)


def chat() -> None:
    for provider in BOTH:
        with check("chat", f"an answer of {provider}"):
            said = ask("say", provider)
            same(
                (said.type, said.role, said.stop_reason, said.stop_sequence), ("message", "assistant", "end_turn", None)
            )
            same([(one.type, one.text) for one in said.content], [("text", TEXT)])
            assert said.id
            same(said.model.partition(".")[0], "say")
            assert said._request_id, "no request-id"
        with check("chat", f"ran out of tokens, {provider}"):
            same(ask("cut", provider).stop_reason, "max_tokens")
    with check("chat", "a thought, signed"):
        thought, answer = ask("think", thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000).content
        same((thought.type, thought.thinking, thought.signature), ("thinking", "Two and two make four.", SIGNATURE))
        same(answer.text, "Four.")
    with check("chat", "a thought without signature, of fake"):
        found = {one.type: one for one in ask("think", "fake").content}
        same((found["thinking"].thinking, found["text"].text), ("Two and two make four.", "Four."))
    with check("chat", "a thought goes back as it came"):
        said = ask("think")
        back = [*HELLO, {"role": "assistant", "content": said.content}, {"role": "user", "content": "And?"}]
        ask("think", messages=back)
        sent = seen(named("think"))["bodies"][-1]["messages"][1]["content"][0]
        same((sent["type"], sent["thinking"], sent["signature"]), ("thinking", "Two and two make four.", SIGNATURE))
    with check("chat", "a system prompt, to be cached"):
        system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
        ask("say", system=system)
        same(seen(named("say"))["bodies"][-1]["system"], system)
    with check("chat", "headers"):
        raw = client.messages.with_raw_response.create(**given("say"))
        same((raw.headers["x-raygate-provider"], raw.headers["x-raygate-attempts"]), ("claude", "1"))
        near(float(raw.headers["x-raygate-cost-usd"]), COST)
        assert raw.headers["request-id"]
    with check("chat", "the key as a bearer's"):
        bearer = anthropic.Anthropic(base_url=URL, auth_token=KEY, api_key=None)
        same(bearer.messages.create(**given("say")).content[0].text, TEXT)
    with check("chat", "asynchronous"):

        async def told() -> Any:
            async with anthropic.AsyncAnthropic(base_url=URL, api_key=KEY) as asynchronous:
                return await asynchronous.messages.create(**given("say"))

        same(asyncio.run(told()).content[0].text, TEXT)
    with check("chat", "who leaves ends the call upstream"):
        impatient = once.with_options(timeout=0.4)
        for turn in range(3):
            model = f"{named('never')}.{turn}"
            with raises(anthropic.APITimeoutError):
                impatient.messages.create(**{**given("never"), "model": model})
            left_alone(model)


def stream() -> None:
    for provider in BOTH:
        with check("stream", f"events of {provider}"):
            events = list(ask("say", provider, stream=True))
            kinds = [one.type for one in events]
            same(
                (kinds[:2], kinds[-3:]),
                (
                    ["message_start", "content_block_start"],
                    ["content_block_stop", "message_delta", "message_stop"],
                ),
            )
            assert kinds.count("content_block_delta") >= 5
            same(text(events), TEXT)
            start = events[0].message
            same((start.type, start.role, start.content), ("message", "assistant", []))
            same(events[-2].delta.stop_reason, "end_turn")
        with check("stream", f"the SDK's helper, {provider}"):
            with client.messages.stream(**given("say", provider)) as helper:
                same("".join(helper.text_stream), TEXT)
                final = helper.get_final_message()
            same((final.content[0].text, final.stop_reason), (TEXT, "end_turn"))
    with check("stream", "a thought, signed"), client.messages.stream(**given("think")) as helper:
        thought, answer = helper.get_final_message().content
        same((thought.thinking, thought.signature, answer.text), ("Two and two make four.", SIGNATURE, "Four."))
    with (
        check("stream", "a thought without signature, of fake"),
        client.messages.stream(**given("think", "fake")) as helper,
    ):
        found = {one.type: one for one in helper.get_final_message().content}
        same((found["thinking"].thinking, found["text"].text), ("Two and two make four.", "Four."))
    with check("stream", "asynchronous"):

        async def told() -> str:
            asynchronous = anthropic.AsyncAnthropic(base_url=URL, api_key=KEY)
            async with asynchronous, asynchronous.messages.stream(**given("say")) as helper:
                return "".join([piece async for piece in helper.text_stream])

        same(asyncio.run(told()), TEXT)
    with check("stream", "who leaves ends the call upstream"):
        endless = ask("endless", stream=True)
        assert next(iter(endless)).type == "message_start"
        endless.close()
        left_alone(named("endless"))


def tools() -> None:
    for provider in BOTH:
        with check("tools", f"two at once and their results, {provider}"):
            said = ask("weather", provider, tools=TOOLS)
            same(said.stop_reason, "tool_use")
            calls = [one for one in said.content if one.type == "tool_use"]
            same([(one.name, one.input) for one in calls], [("get_weather", city) for city in CITIES])
            assert len({one.id for one in calls}) == 2
            results = [
                {"type": "tool_result", "tool_use_id": one.id, "content": result}
                for one, result in zip(calls, ("21 degrees", "17 degrees"), strict=True)
            ]
            turns = [
                *HELLO,
                {"role": "assistant", "content": said.content},
                {"role": "user", "content": results},
            ]
            same(ask("weather", provider, tools=TOOLS, messages=turns).content[0].text, WEATHER)
        with check("tools", f"streamed, {provider}"):
            made: dict[int, list[Any]] = {}
            for event in ask("weather", provider, tools=TOOLS, stream=True):
                if event.type == "content_block_start" and event.content_block.type == "tool_use":
                    made[event.index] = [event.content_block.name, ""]
                elif event.type == "content_block_delta" and event.delta.type == "input_json_delta":
                    made[event.index][1] += event.delta.partial_json
            same([(name, json.loads(said)) for name, said in made.values()], [("get_weather", one) for one in CITIES])
        with (
            check("tools", f"the SDK's helper, {provider}"),
            client.messages.stream(**given("weather", provider, tools=TOOLS)) as helper,
        ):
            final = helper.get_final_message()
            same([one.input for one in final.content if one.type == "tool_use"], CITIES)
            same(final.stop_reason, "tool_use")
    with check("tools", "a choice and one at a time, as asked"):
        choice = {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
        ask("weather", tools=TOOLS, tool_choice=choice)
        sent = seen(named("weather"))["bodies"][-1]
        same((sent["tool_choice"], sent["tools"]), (choice, TOOLS))


def schema() -> None:
    for provider in BOTH:
        with check("schema", f"parsed, of {provider}"):
            said = client.messages.parse(**given("person", provider, output_format=Person))
            same(said.parsed_output, Person(**PERSON))
        with check("schema", f"as a tool's input, {provider}"):
            tool = {"name": "person", "description": "A person", "input_schema": Person.model_json_schema()}
            said = ask("person", provider, tools=[tool], tool_choice={"type": "tool", "name": "person"})
            same([one.input for one in said.content if one.type == "tool_use"], [PERSON])


def vision() -> None:
    for provider in BOTH:
        for kind, source, wanted in (
            ("picture", {"type": "base64", "media_type": "image/png", "data": PNG}, PICTURE),
            ("picture's address", {"type": "url", "url": "https://example.com/a.png"}, "[https://example.com/a.png]"),
        ):
            with check("vision", f"a {kind}, {provider}"):
                parts = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
                said = ask("see", provider, messages=[{"role": "user", "content": parts}])
                same(said.content[0].text, wanted)


def usage() -> None:
    for provider in BOTH:
        with check("usage", f"of an answer of {provider}, with its cost"):
            used = ask("say", provider).usage
            same(counts(used), (5, 2, 5))
            near(used.cost, COST)
        with check("usage", f"of a stream of {provider}, with its cost"):
            events = list(ask("say", provider, stream=True))
            last = next(one for one in events if one.type == "message_delta")
            same(last.usage.output_tokens, 5)
            near(last.usage.cost, COST)
            with client.messages.stream(**given("say", provider)) as helper:
                same(counts(helper.get_final_message().usage), (5, 2, 5))
    with check("usage", "tokens are counted"):
        counted = client.messages.count_tokens(model=named("say", "claude"), messages=HELLO)
        assert counted.input_tokens > 0


def models() -> None:
    with check("models", "a list, in pages"):
        listed = {one.id: one for one in client.models.list(limit=2)}
        assert "fake/say" in listed, sorted(listed)
        same(listed["fake/say"].type, "model")
        assert listed["fake/say"].display_name
        assert listed["fake/say"].created_at.tzinfo is not None
    with check("models", "one of them"):
        same(client.models.retrieve("fake/say").id, "fake/say")
    with check("models", "one that is not there"), raises(anthropic.NotFoundError):
        client.models.retrieve("none-of-that-name")


ERRORS: list[tuple[str, str, int, str]] = [
    ("fail-400", "BadRequestError", 400, "invalid_request_error"),
    ("fail-401", "InternalServerError", 502, "api_error"),
    ("fail-403", "InternalServerError", 502, "api_error"),
    ("fail-404", "NotFoundError", 404, "not_found_error"),
    ("fail-409", "BadRequestError", 400, "invalid_request_error"),
    ("fail-413", "ContentTooLargeError" if NEWEST else "RequestTooLargeError", 413, "request_too_large"),
    ("fail-422", "BadRequestError", 400, "invalid_request_error"),
    ("fail-429", "RateLimitError", 429, "rate_limit_error"),
    ("full", "PaymentRequiredError" if NEWEST else "APIStatusError", 402, "billing_error"),
    ("fail-500", "ServiceUnavailableError" if NEWEST else "InternalServerError", 503, "api_error"),
    ("fail-503", "OverloadedError", 529, "overloaded_error"),
    ("fail-529", "OverloadedError", 529, "overloaded_error"),
]


def errors() -> None:
    for what, kind, status, word in ERRORS:
        for how in ("whole", "stream"):
            with check("errors", f"{what}, {how}"):
                provider = provider_for(what)
                with raises(anthropic.APIStatusError) as caught:
                    once.messages.create(**given(what, provider), stream=how == "stream")
                error = caught.error
                same((type(error).__name__, error.status_code), (kind, status))
                same((error.body["type"], error.body["error"]["type"]), ("error", word))
                assert error.request_id, "no request-id"
                same(error.body["request_id"], error.request_id)
                assert provider in error.body["error"]["message"]
    with check("errors", "a wrong key"):
        with raises(anthropic.AuthenticationError) as caught:
            anthropic.Anthropic(base_url=URL, api_key="rg-wrong").messages.create(**given("say"))
        same(caught.error.body["error"]["type"], "authentication_error")
    with check("errors", "a model that is not there"), raises(anthropic.NotFoundError):
        once.messages.create(**{**given("say"), "model": "none-of-that-name"})
    with check("errors", "a field that is missing"):
        with raises(anthropic.BadRequestError) as caught:
            client.post("/v1/messages", cast_to=object, body={"model": named("say"), "messages": HELLO})
        assert "max_tokens" in str(caught.error)
    with check("errors", "a body beyond the limit"):
        with raises(anthropic.APIStatusError) as caught:
            once.messages.create(**{**given("say"), "messages": [{"role": "user", "content": "x" * 2_000_000}]})
        same((caught.error.status_code, caught.error.body["error"]["type"]), (413, "request_too_large"))
    with check("errors", "a provider that takes too long"):
        with raises(anthropic.APIStatusError) as caught:
            once.messages.create(**given("never", "hasty"))
        same((caught.error.status_code, caught.error.body["error"]["type"]), (504, "timeout_error"))


def retries() -> None:
    with check("retries", "a hiccup that Raygate gets over"):
        raw = client.messages.with_raw_response.create(**given("flaky-529"))
        same((raw.headers["x-raygate-attempts"], seen(named("flaky-529"))["count"]), ("2", 2))
    for what, wanted in (("fail-500", 2), ("fail-529", 2), ("fail-429", 2), ("fail-400", 1)):
        with check("retries", f"{what} is not multiplied"):
            model = f"{named(what, provider_for(what))}.retries"
            with raises(anthropic.APIStatusError):
                client.messages.create(**{**given(what), "model": model})
            same(seen(model)["count"], wanted)
    with check("retries", "the client waits where Raygate did not"):
        rest()
        begun = time.monotonic()
        same(ask("flaky-429", "hasty").content[0].text, TEXT)
        same(seen(named("flaky-429", "hasty"))["count"], 2)
        assert time.monotonic() - begun >= 0.3, "it did not wait as long as it was told"


def breaks() -> None:
    for provider in BOTH:
        for how in ("reset", "stop-early", "error-event"):
            with check("break", f"{how}, {provider}"):
                got: list[Any] = []
                with raises(anthropic.APIStatusError):
                    for event in ask(how, provider, stream=True):
                        got.append(event)  # noqa: PERF402  # what came before the break counts
                same(text(got), "Hello from the")
            with (
                check("break", f"{how}, the SDK's helper, {provider}"),
                raises(anthropic.APIStatusError),
                client.messages.stream(**given(how, provider)) as helper,
            ):
                helper.get_final_message()


for each in (chat, stream, tools, schema, vision, usage, models, errors, retries, breaks):
    each()
