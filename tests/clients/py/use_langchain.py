"""LangChain over OpenAI's SDK."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel
from report import KEY, PERSON, PICTURE, PNG, TEXT, URL, WEATHER, check, named, provider_for, raises, rest, same, seen

BASE: dict[str, Any] = {"base_url": f"{URL}/v1", "api_key": KEY}
# LangChain keeps its connections for all clients, so there must be one loop for all.
LOOP = asyncio.Runner()
BOTH = ("fake", "claude")
CALLS = [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Zürich"})]


class Person(BaseModel):
    """A person."""

    name: str
    age: int


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return {"Paris": "21 degrees", "Zürich": "17 degrees"}[city]


def chat_model(what: str, provider: str = "fake", **more: Any) -> ChatOpenAI:
    return ChatOpenAI(model=named(what, provider), **BASE, **more)


def whole(chunks: Any) -> AIMessageChunk:
    first, *others = chunks
    for one in others:
        first += one
    return first


for provider in BOTH:
    with check("chat", f"an answer of {provider}"):
        said = chat_model("say", provider).invoke("Say hello.")
        same((said.content, said.response_metadata["finish_reason"]), (TEXT, "stop"))
        usage = said.usage_metadata
        same((usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]), (7, 5, 12))
    with check("stream", f"pieces of {provider}"):
        chunks = list(chat_model("say", provider).stream("Say hello."))
        same("".join(str(one.content) for one in chunks), TEXT)
        assert len([one for one in chunks if one.content]) >= 5
        same(whole(chunks).response_metadata["finish_reason"], "stop")
    with check("usage", f"of a stream of {provider}"):
        given = whole(chat_model("say", provider, stream_usage=True).stream("Say hello.")).usage_metadata
        same((given["input_tokens"], given["output_tokens"]), (7, 5))
        same(given["input_token_details"]["cache_read"], 2)
    with check("tools", f"two at once and their results, {provider}"):
        bound = chat_model("weather", provider).bind_tools([get_weather])
        asked: list[Any] = [HumanMessage("The weather?")]
        asked.append(bound.invoke(asked))
        same([(one["name"], one["args"]) for one in asked[1].tool_calls], CALLS)
        asked += map(get_weather.invoke, asked[1].tool_calls)
        assert all(isinstance(one, ToolMessage) for one in asked[2:])
        same(bound.invoke(asked).content, WEATHER)
    with check("tools", f"streamed, {provider}"):
        made = whole(chat_model("weather", provider).bind_tools([get_weather]).stream("The weather?"))
        same([(one["name"], one["args"]) for one in made.tool_calls], CALLS)
    for method in ("json_schema", "function_calling"):
        with check("schema", f"{method}, {provider}"):
            asks = chat_model("person", provider).with_structured_output(Person, method=method)
            same(asks.invoke("Who?"), Person(**PERSON))
    with check("vision", f"a picture in OpenAI's words, {provider}"):
        shown = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]
        same(chat_model("see", provider).invoke([HumanMessage(shown)]).content, PICTURE)
    for how in ("reset", "stop-early", "error-event"):
        with check("break", f"{how}, {provider}"):
            got: list[str] = []
            with raises(openai.APIError):
                for chunk in chat_model(how, provider).stream("Say hello."):
                    got.append(str(chunk.content))  # noqa: PERF401  # what came before the break counts
            same("".join(got), "Hello from the")

with check("chat", "asynchronous, in a batch"):
    many = LOOP.run(chat_model("say").abatch(["one", "two"]))
    same([one.content for one in many], [TEXT, TEXT])
with check("stream", "asynchronous"):

    async def told() -> str:
        return "".join([str(one.content) async for one in chat_model("say").astream("Say hello.")])

    same(LOOP.run(told()), TEXT)
with check("chat", "old completions"):
    same(OpenAI(model=named("say"), **BASE).invoke("Say hello."), TEXT)
with check("schema", "json_mode"):
    same(chat_model("person").with_structured_output(Person, method="json_mode").invoke("Who? JSON."), Person(**PERSON))
with check("tools", "one that must be called"):
    chat_model("weather").bind_tools([get_weather], tool_choice="get_weather", parallel_tool_calls=False).invoke("x")
    sent = seen(named("weather"))["bodies"][-1]
    same(sent["tool_choice"], {"type": "function", "function": {"name": "get_weather"}})
with check("vision", "a picture in LangChain's words"):
    block = [{"type": "image", "base64": PNG, "mime_type": "image/png"}]
    same(chat_model("see").invoke([HumanMessage(block)]).content, PICTURE)
with check("embed", "vectors"):
    # By itself it would send token numbers, for which it fetches a vocabulary from OpenAI.
    vectors = OpenAIEmbeddings(model=named("embed"), check_embedding_ctx_length=False, **BASE)
    same(vectors.embed_documents(["four", "sixsix"]), [[4.0, 0.5, -0.25], [6.0, 0.5, -0.25]])
    same(vectors.embed_query("four"), [4.0, 0.5, -0.25])

ERRORS: list[tuple[str, type[openai.APIError], int]] = [
    ("fail-400", openai.BadRequestError, 400),
    ("overflow", openai.BadRequestError, 400),
    ("fail-401", openai.InternalServerError, 502),
    ("fail-404", openai.NotFoundError, 404),
    ("fail-429", openai.RateLimitError, 429),
    ("fail-500", openai.InternalServerError, 503),
]
for what, kind, status in ERRORS:
    with check("errors", what):
        model = chat_model(what, provider_for(what), max_retries=0)
        with raises(kind) as caught:
            model.invoke("Say hello.")
        same(caught.error.status_code, status)
with check("errors", "a wrong key"), raises(openai.AuthenticationError):
    ChatOpenAI(model=named("say"), base_url=f"{URL}/v1", api_key="rg-wrong").invoke("Say hello.")
for what, wanted in (("fail-503", 2), ("fail-429", 2)):
    with check("retries", f"{what} is not multiplied"):
        name = f"{named(what, provider_for(what))}.retries"
        with raises(openai.APIStatusError):
            ChatOpenAI(model=name, **BASE).invoke("Say hello.")
        same(seen(name)["count"], wanted)
with check("retries", "the client waits where Raygate did not"):
    rest()
    same(chat_model("flaky-429", "hasty").invoke("Say hello.").content, TEXT)
