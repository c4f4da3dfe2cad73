"""Instructor over OpenAI's SDK: every answer is an object."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import instructor
import openai
from pydantic import BaseModel, Field
from report import COST, KEY, PERSON, PICTURE, PNG, URL, check, named, near, provider_for, raises, rest, same, seen

HELLO: Any = [{"role": "user", "content": "Who? Say it in JSON."}]
BOTH = ("fake", "claude")
MODES = (instructor.Mode.TOOLS, instructor.Mode.TOOLS_STRICT, instructor.Mode.JSON_SCHEMA)


class Person(BaseModel):
    name: str
    age: int


class Elder(Person):
    age: int = Field(ge=100)


class Weather(BaseModel):
    city: str


def client(mode: instructor.Mode = instructor.Mode.TOOLS, **more: Any) -> Any:
    return instructor.from_openai(openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, **more), mode=mode)


def causes(error: BaseException | None) -> list[BaseException]:
    """The exception and what led to it: Instructor wraps what its client raised."""
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def ask(what: str, provider: str = "fake", mode: instructor.Mode = instructor.Mode.TOOLS, **more: Any) -> Any:
    given = {"model": named(what, provider), "messages": HELLO, "response_model": Person, "max_retries": 1, **more}
    return client(mode).chat.completions.create(**given)


for provider in BOTH:
    with check("chat", f"an object of {provider}"):
        same(ask("person", provider).model_dump(), PERSON)
    for mode in MODES:
        with check("schema", f"{mode.name}, {provider}"):
            same(ask("person", provider, mode).model_dump(), PERSON)
        with check("stream", f"parts of an object, {mode.name}, {provider}"):
            parts = list(
                client(mode).chat.completions.create_partial(
                    model=named("person", provider), messages=HELLO, response_model=Person
                )
            )
            same(parts[-1].model_dump(), PERSON)
            assert len(parts) >= 2, parts
    with check("tools", f"several objects at once, {provider}"):
        given = client(instructor.Mode.PARALLEL_TOOLS).chat.completions.create(
            model=named("weather", provider), messages=HELLO, response_model=Iterable[Weather], max_retries=1
        )
        same([one.city for one in given], ["Paris", "Zürich"])
    with check("vision", f"a picture, {provider}"):
        picture = instructor.Image.from_base64(f"data:image/png;base64,{PNG}")
        said = client(instructor.Mode.JSON_SCHEMA).chat.completions.create(
            model=named("see", provider),
            messages=[{"role": "user", "content": ["What is it?", picture]}],
            response_model=None,
        )
        same(said.choices[0].message.content, PICTURE)
    with check("usage", f"beside the object, {provider}"):
        _, whole = client().chat.completions.create_with_completion(
            model=named("person", provider), messages=HELLO, response_model=Person
        )
        same((whole.usage.prompt_tokens, whole.usage.completion_tokens), (7, 5))
        near(whole.usage.cost, COST)
    for how in ("reset", "stop-early", "error-event"):
        with check("break", f"{how}, {provider}"):
            with raises(Exception) as caught:
                for _ in client(instructor.Mode.JSON_SCHEMA).chat.completions.create_partial(
                    model=named(f"{how}+person", provider), messages=HELLO, response_model=Person
                ):
                    pass
            assert any(isinstance(one, openai.APIError) for one in causes(caught.error)), repr(caught.error)

with check("schema", "JSON"):
    same(ask("person", mode=instructor.Mode.JSON).model_dump(), PERSON)
    same(seen(named("person"))["bodies"][-1]["response_format"], {"type": "json_object"})
with check("chat", "asynchronous"):

    async def told() -> Any:
        inner = openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY)
        asks = instructor.from_openai(inner).chat.completions.create
        return await asks(model=named("person"), messages=HELLO, response_model=Person)

    same(asyncio.run(told()).model_dump(), PERSON)
with check("tools", "an object that is wrong is asked for again, with what is wrong"):
    model = f"{named('person')}.wrong"
    with raises(Exception):
        ask("", model=model, response_model=Elder, max_retries=1)
    told_of = seen(model)["bodies"]
    same(len(told_of), 2)
    same([one["role"] for one in told_of[1]["messages"]], ["user", "assistant", "tool"])

ERRORS: list[tuple[str, type[openai.APIStatusError]]] = [
    ("fail-400", openai.BadRequestError),
    ("fail-401", openai.InternalServerError),
    ("fail-404", openai.NotFoundError),
    ("fail-429", openai.RateLimitError),
    ("fail-500", openai.InternalServerError),
]
for what, kind in ERRORS:
    with check("errors", what):
        asks = client(max_retries=0).chat.completions.create
        with raises(Exception) as caught:
            asks(model=named(what, provider_for(what)), messages=HELLO, response_model=Person, max_retries=1)
        assert any(type(one) is kind for one in causes(caught.error)), repr(causes(caught.error))
for what in ("fail-503", "fail-429"):
    with check("retries", f"{what} is not multiplied"):
        model = f"{named(what, provider_for(what))}.retries"
        with raises(Exception):
            ask("", model=model)
        same(seen(model)["count"], 2)
with check("retries", "the client waits where Raygate did not"):
    rest()
    same(ask("flaky-429+person", "hasty").model_dump(), PERSON)
