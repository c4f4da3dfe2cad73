"""A stream that broke is continued: what is said twice is heard once, and the answer says what happened."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace
from typing import Any

import orjson
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from runtime.catalog import Catalog
from runtime.continuation import LEAST_REPEATED, Joint, add_costs, add_usages, continuable
from runtime.dialects.anthropic.surface import AnthropicSurface
from runtime.dialects.completions_surface import CompletionsSurface
from runtime.dialects.ollama.surface import OllamaSurface
from runtime.dialects.openai_surface import OpenAISurface
from runtime.dialects.responses_surface import ResponsesSurface
from runtime.dialects.scripted import ErrorEvent, Malformed, Stall, Step, Truncate
from runtime.dialects.surface import Surface
from runtime.models import Feature
from runtime.outcome import Completion, Cost, Failure, FailureKind, FinishReason, Usage
from runtime.request import (
    Message,
    Reasoning,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ask,
)
from runtime.settings import Settings
from tests.fakes.gateway import Rigs, text, tried
from tests.fakes.providers import Streamed, fails, kind, streamed

K = FailureKind

# The joint.


def joined(said: str, pieces: list[str]) -> str:
    joint = Joint(said)
    return said + "".join(joint.feed(piece) for piece in pieces) + joint.flush()


def cut(words: str, at: list[int]) -> list[str]:
    edges = sorted({0, len(words), *(place % (len(words) + 1) for place in at)})
    return [words[a:b] for a, b in itertools.pairwise(edges)]


def ambiguous(said: str, comes: str, repeated: int) -> bool:
    """Whether the text itself repeats so much there that nobody could tell it from a repetition."""
    sizes = range(max(LEAST_REPEATED, repeated + 1), min(len(said), len(comes)) + 1)
    sent = said.rstrip()
    again = bool(sent) and comes.startswith(sent) and repeated < len(sent)
    return again or any(said.endswith(comes[:size]) for size in sizes)


texts = st.text(min_size=1, max_size=120) | st.lists(st.integers(0, 999), min_size=1, max_size=40).map(
    lambda numbers: " ".join(f"word{number}" for number in numbers)
)


@given(
    whole=texts,
    place=st.integers(0, 200),
    tail=st.integers(LEAST_REPEATED, 200) | st.just(0),
    cuts=st.lists(st.integers(0, 400), max_size=20),
)
@example(whole="The quick brown fox jumps over the lazy dog.", place=20, tail=16, cuts=list(range(60)))
def test_whatever_tail_is_repeated_the_whole_is_heard_once(whole: str, place: int, tail: int, cuts: list[int]) -> None:
    place %= len(whole) + 1
    said, rest = whole[:place], whole[place:]
    # As it is asked for: what was said ends without whitespace, or the whitespace is repeated with the tail.
    assume(said == said.rstrip() or tail)
    tail = min(tail, len(said))
    assume(said == said.rstrip() or tail)
    comes = said[len(said) - tail :] + rest
    assume(not ambiguous(said, comes, tail))
    assert joined(said, cut(comes, cuts)) == whole


@given(said=st.text("ab \n", max_size=30), comes=st.text("ab \n", max_size=60), cuts=st.lists(st.integers(0, 60)))
def test_what_was_said_stands_and_the_cuts_do_not_matter(said: str, comes: str, cuts: list[int]) -> None:
    once = joined(said, [comes])
    assert once.startswith(said)
    assert comes.endswith(once[len(said) :])
    assert joined(said, cut(comes, cuts)) == once


@pytest.mark.parametrize(
    ("said", "comes", "whole"),
    [
        ("Hello world ", " and all", "Hello world and all"),
        ("Hello world ", "and all", "Hello world and all"),
        ("Hello world", " and all", "Hello world and all"),
        ("Hello wor", "ld", "Hello world"),
        ("One.\n\n", "\n\nTwo.", "One.\n\nTwo."),
        ("One.\n\n", "Two.", "One.\n\nTwo."),
        ("One.\n", "\n\nTwo.", "One.\n\nTwo."),
        ("ban", "ana", "banana"),
        ("if x {\n    }\n", "    }\n", "if x {\n    }\n    }\n"),
        ("Rays", "Rays are fish.", "Rays are fish."),
        ("One.\n\n", "One. Two.", "One.\n\n Two."),
        ("One.\n\n", "One.\n\nTwo.", "One.\n\nTwo."),
        ("The answer begins here", "The answer begins here and ends.", "The answer begins here and ends."),
        ("It was a dark and stormy ", "dark and stormy night", "It was a dark and stormy night"),
        ("x", "", "x"),
    ],
)
def test_blanks_and_repetitions(said: str, comes: str, whole: str) -> None:
    assert joined(said, [comes]) == whole
    assert joined(said, list(comes)) == whole


def test_a_continuation_is_passed_on_as_soon_as_it_can_be_nothing_else() -> None:
    joint = Joint("The quick brown fox jumps")
    assert [joint.feed(piece) for piece in (" over", " the", " lazy")] == [" over", " the", " lazy"]


# Which requests.


@pytest.mark.parametrize(
    "request_",
    [
        replace(ask("hi"), choices=2),
        replace(ask("hi"), tools=(Tool(name="t"),)),
        replace(ask("hi"), response_format=ResponseFormat(kind="json_object")),
        replace(ask("hi"), reasoning=Reasoning(effort="high")),
        Request(messages=(Message(role=Role.ASSISTANT, parts=(TextPart("I say"),)),)),
        Request(messages=()),
    ],
    ids=["choices", "tools", "schema", "reasoning", "prefilled", "empty"],
)
def test_only_plain_text_can_be_continued(request_: Request) -> None:
    assert continuable(ask("hi"))
    assert not continuable(request_)


def test_usages_add_up() -> None:
    one = Usage(input_tokens=3, output_tokens=2, billed_input_tokens=4, server_tool_calls={"web": 1})
    other = Usage(input_tokens=5, reasoning_tokens=1, server_tool_calls={"web": 2, "x": 1}, estimated=True)
    assert add_usages(one, other) == Usage(
        input_tokens=8,
        output_tokens=2,
        reasoning_tokens=1,
        billed_input_tokens=9,
        server_tool_calls={"web": 3, "x": 1},
        estimated=True,
    )


@pytest.mark.parametrize(
    ("provider", "model", "known"),
    [
        ("anthropic", "claude-3-5-sonnet-20241022", True),
        ("anthropic", "claude-haiku-4-5", True),
        ("anthropic", "claude-sonnet-4-5-20250929", True),
        ("anthropic", "claude-opus-4-6", False),
        ("anthropic", "claude-sonnet-5-5", False),
        ("local", "smollm2-135m", True),
        ("openai", "gpt-4o", False),
        ("openrouter", "anthropic/claude-3.5-sonnet", None),
        ("ollama", "llama3.2", None),
        ("custom", "anything", None),
    ],
)
def test_who_goes_on_with_what_another_one_began(provider: str, model: str, *, known: bool | None) -> None:
    settings = Settings.model_validate({"providers": {provider: {"kind": provider, "base_url": "http://x"}}})
    info = Catalog(settings).info(provider, model)
    assert info is not None
    assert info.has(Feature.PREFILL) is known


# Through the gateway.

ABLE = {"features": ["streaming", "system_messages", "prefill"], "price": {"input": "1", "output": "2"}}
WHOLE = "One two three four five six."


def rigs(*, route: dict[str, Any] | None = None, models: dict[str, Any] | None = None, **steps: Any) -> Rigs:
    """Providers that can all go on with what another one began, on a route that wants it."""
    targets = {"targets": [f"{name}/m" for name in steps], "continue_streams": True, **(route or {})}
    known = {f"{name}/m": ABLE for name in steps} | (models or {})
    priority = {name: {"priority": -at} for at, name in enumerate(steps)}
    return Rigs(settings={"routes": {"any": targets}, "models": known, "providers": priority}, **steps)


def sent(made: Rigs, name: str) -> dict[str, Any]:
    """The last request that this provider got."""
    request: dict[str, Any] = orjson.loads(made[name].transport.sent[-1])["request"]
    return request


@pytest.mark.parametrize("trouble", [Truncate(3), Stall(3), Malformed(3), ErrorEvent(after=3)], ids=str)
async def test_the_client_sees_one_stream(trouble: Any) -> None:
    made = rigs(a=fails(trouble, text=WHOLE), b=text("four five six."))
    seen = await streamed(made.gateway, replace(ask("hi"), request_id="r1"))
    assert seen.text == WHOLE
    outcome = seen.outcome
    assert isinstance(outcome, Completion)
    assert (outcome.text, outcome.continued, outcome.finish_reason) == (WHOLE, 1, FinishReason.STOP)
    assert (outcome.provider, outcome.request_id) == ("b", "r1")
    assert [provider for provider, _ in tried(outcome.attempts)] == ["a", "b"]
    assert outcome.attempts[0].outcome != "ok"
    assert outcome.attempts[1].outcome == "ok"
    assert seen.start is not None
    assert (seen.start.provider, outcome.id) == ("a", seen.start.id)
    messages = sent(made, "b")["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant"]
    assert messages[-1]["parts"][0]["text"] == "One two three", "without the blank at its end"
    assert all(one.in_flight == 0 and one.transport.active == 0 for one in made.rigs.values())


async def test_usage_and_cost_are_the_sums() -> None:
    made = rigs(
        a=fails(Truncate(3), text=WHOLE), b=text("four five six.", usage=Usage(input_tokens=7, output_tokens=3))
    )
    outcome = (await streamed(made.gateway, ask("hi"))).outcome
    assert isinstance(outcome, Completion)
    parts = [await one.provider.usage("all") for one in made.rigs.values()]
    assert outcome.usage.input_tokens == sum(part.total.input_tokens for part in parts)
    assert outcome.usage.output_tokens == sum(part.total.output_tokens for part in parts)
    assert outcome.cost is not None
    assert outcome.cost.total_nanousd == sum(part.total.cost_nanousd for part in parts)


async def test_what_is_repeated_is_heard_once() -> None:
    made = rigs(a=fails(Truncate(4), text=WHOLE), b=text(WHOLE), c=text("x"))
    assert (await streamed(made.gateway, ask("hi"))).text == WHOLE


async def test_it_may_break_more_than_once() -> None:
    made = rigs(
        a=fails(Truncate(2), text=WHOLE), b=fails(Truncate(2), text="three four five six."), c=text("five six.")
    )
    seen = await streamed(made.gateway, ask("hi"))
    assert isinstance(seen.outcome, Completion)
    assert (seen.text, seen.outcome.continued) == (WHOLE, 2)
    assert [word for _, word in tried(seen.outcome.attempts)] == ["interrupted", "interrupted", "ok"]


async def test_the_same_provider_may_go_on_after_a_wait() -> None:
    made = rigs(a=[fails(Truncate(3), text=WHOLE), text("four five six.")])
    seen = await streamed(made.gateway, ask("hi"))
    assert seen.text == WHOLE
    assert len(made.clock.slept) == 1


async def test_who_fails_before_it_says_anything_is_passed_over() -> None:
    made = rigs(a=fails(Truncate(3), text=WHOLE), b=fails(Truncate()), c=text("four five six."))
    seen = await streamed(made.gateway, ask("hi"))
    assert isinstance(seen.outcome, Completion)
    assert seen.text == WHOLE
    assert tried(seen.outcome.attempts) == [("a", "interrupted"), ("b", "interrupted"), ("c", "ok")]


async def test_what_is_left_of_the_length_is_asked_for() -> None:
    made = rigs(a=fails(Truncate(3), text=WHOLE), b=text("four five six."))
    await streamed(made.gateway, replace(ask("hi"), sampling=Sampling(max_tokens=50)))
    left = sent(made, "b")["sampling"]["max_tokens"]
    used = (await made["a"].provider.usage("all")).total.output_tokens
    assert 0 < left == 50 - used


async def broken(made: Rigs, request: Request | None = None) -> Streamed:
    seen = await streamed(made.gateway, request or ask("hi"))
    assert kind(seen.outcome) is K.INTERRUPTED, "the end says that it is none"
    return seen


async def test_it_is_off_unless_the_route_wants_it() -> None:
    made = rigs(a=fails(Truncate(3), text=WHOLE), b=text("x"), route={"continue_streams": False})
    assert (await broken(made)).text == "One two three "
    assert made.calls() == {"a": 1, "b": 0}


async def test_only_who_is_known_to_go_on_is_asked() -> None:
    unable = {"b/m": {"features": ["streaming"]}, "c/m": {}}
    made = rigs(a=[fails(Truncate(3), text=WHOLE)], b=text("x"), c=text("x"), models={**unable, "a/m": {}})
    await broken(made)
    assert made.calls() == {"a": 1, "b": 0, "c": 0}
    made = rigs(a=fails(Truncate(3), text=WHOLE), b=text("x"), c=text("four five six."), models={"b/m": unable["b/m"]})
    assert (await streamed(made.gateway, ask("hi"))).text == WHOLE


@pytest.mark.parametrize(
    "step",
    [
        Step(reasoning="hm", text=WHOLE, fault=Truncate(3)),
        Step(text=WHOLE, tool_calls=(ToolCall(id="1", name="t", arguments="{}"),), fault=Truncate(7)),
        Step(chunks=("  ", "\n", "x"), fault=Truncate(2)),
    ],
    ids=["thoughts", "tools", "blanks"],
)
async def test_what_is_not_plain_text_ends_with_an_error(step: Step) -> None:
    made = rigs(a=step, b=text("x"))
    await broken(made)
    assert made.calls()["b"] == 0


async def test_attempts_bound_continuations_too() -> None:
    made = rigs(
        a=fails(Truncate(2), text=WHOLE), b=fails(Truncate(2), text="x y z"), c=text("x"), route={"max_attempts": 2}
    )
    seen = await broken(made)
    assert isinstance(seen.outcome, Failure)
    assert len(seen.outcome.attempts) == 2
    assert seen.outcome.usage is not None
    used = [(await one.provider.usage("all")).total.output_tokens for one in made.rigs.values()]
    assert seen.outcome.usage.output_tokens == sum(used), "a failure tells of all that was used, too"


SURFACES: tuple[Surface, ...] = (
    OpenAISurface(),
    CompletionsSurface(),
    ResponsesSurface(),
    AnthropicSurface(),
    OllamaSurface(),
)


@pytest.mark.parametrize("surface", SURFACES, ids=lambda one: str(one.name))
async def test_surfaces_say_that_the_answer_was_continued(surface: Surface) -> None:
    made = rigs(a=fails(Truncate(3), text=WHOLE), b=text("four five six."))
    request = replace(ask("hi"), stream=True, stream_usage=True)
    renderer = surface.renderer(request)
    told = b"".join([piece async for event in made.gateway.stream(request) for piece in renderer.render(event)])
    lines = [line.removeprefix(b"data: ") for line in told.splitlines() if line.startswith((b"data: {", b"{"))]
    (last,) = (orjson.loads(line) for line in lines if b'"continued":1' in line)
    assert b'"cost"' in orjson.dumps(last), "it stands beside the cost"


def test_every_part_of_a_cost_is_summed() -> None:
    names = [column.name for column in fields(Cost) if column.name.endswith("_nanousd")]
    one = Cost(**{name: 10**place for place, name in enumerate(names)})
    both = add_costs(one, one)
    assert both is not None
    assert [getattr(both, name) for name in names] == [2 * 10**place for place in range(len(names))]
    assert add_costs(one, None) is None, "unknown and known is unknown"
