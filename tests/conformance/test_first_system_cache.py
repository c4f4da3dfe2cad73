"""What the first system's two caches did wrong, each as it was seen to happen there, and what is right.

Its manager's key was messages, model, temperature and length, and what went first was the oldest, used or not; streams
passed it by. Its hooks' key was the first 48 bytes, which are provider and model. Neither knew whose request it was.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.cache.key import key_of
from runtime.request import Request, Sampling, Tool, ask
from tests.fakes.gateway import Rigs, text, tried
from tests.fakes.providers import streamed

ON = {"cache": {"enabled": True}, "routes": {"any": ["anthropic/m"], "tools": ["openai/m"]}}


async def test_two_and_two_is_no_poem() -> None:
    """There: "2+2?" was answered "4", and so was "Write a poem" after it."""
    made = Rigs(a=[text("4"), text("Roses are red")], settings={"cache": {"enabled": True}})
    assert (await made.answer(ask("2+2?"))).text == "4"
    assert (await made.answer(ask("Write a poem"))).text == "Roses are red"
    assert (await made.answer(ask("2+2?"))).text == "4"
    assert made.calls() == {"a": 2}


async def test_a_request_with_tools_for_one_provider_is_not_given_anothers_text() -> None:
    """There: what OpenAI was asked with tools was answered by what Anthropic had said without."""
    made = Rigs(anthropic=text("from Anthropic"), openai=text("from OpenAI"), settings=ON)
    plain = ask("what is the weather?", model="any")
    assert (await made.answer(plain)).text == "from Anthropic"
    assert (await made.answer(replace(plain, model="tools", tools=(Tool(name="weather"),)))).text == "from OpenAI"
    assert (await made.answer(replace(plain, model="any", tools=(Tool(name="weather"),)))).attempts[0].outcome == "ok"


@pytest.mark.parametrize(
    "other",
    [
        replace(ask("hi"), tools=(Tool(name="t"),)),
        replace(ask("hi"), sampling=Sampling(top_p=0.5)),
        replace(ask("hi"), sampling=Sampling(stop=("x",))),
        replace(ask("hi"), sampling=Sampling(frequency_penalty=0.5)),
        replace(ask("hi"), provider_options={"a": {"x": 1}}),
        replace(ask("hi"), tenant="another"),
    ],
    ids=["tools", "top_p", "stop", "penalty", "options", "tenant"],
)
def test_what_its_keys_left_out_is_in_ours(other: Request) -> None:
    assert key_of(other) != key_of(ask("hi"))


async def test_streams_are_remembered_too() -> None:
    """There: never."""
    made = Rigs(a=text("hello"), settings={"cache": {"enabled": True}})
    first, again = await streamed(made.gateway, ask("hi")), await streamed(made.gateway, ask("hi"))
    assert first.text == again.text == "hello"
    assert made.calls() == {"a": 1}


async def test_the_failed_over_answer_is_remembered_as_whose_it_is() -> None:
    """There: what came after a failure was not."""
    from runtime.dialects.scripted import Status
    from tests.fakes.providers import fails

    made = Rigs(a=fails(Status(status=500)), b=text("from b"), settings={"cache": {"enabled": True}})
    assert (await made.answer()).provider == "b"
    assert tried((await made.answer()).attempts) == [("b", "cached")]
