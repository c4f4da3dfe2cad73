"""Laws of translation: what a request says survives a journey through a dialect, is named as dropped, or is refused.

Request ── encode ──► body ── parse ──► Request'      lost(Request, Request') is empty
Request' ── encode ──► the same body                  what came back once comes back always: a fixed point
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from runtime.dialects.base import HttpCall, Target
from runtime.dialects.encoding import INVENTED
from runtime.dialects.registry import DIALECTS, PARSERS
from runtime.outcome import Failure, FailureKind
from runtime.request import (
    AudioPart,
    CacheHint,
    CostLimits,
    FilePart,
    ImagePart,
    Message,
    Part,
    Reasoning,
    ReasoningPart,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from tests.wire.abroad import BASES, CHAT_DIALECTS, LACKS, names_of, thing_at
from tests.wire.abroad import lost as lost_abroad
from tests.wire.meaning import turns

Json = Any
unhurried = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
every_dialect = pytest.mark.parametrize("dialect", CHAT_DIALECTS)

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=8).filter(str.strip)
names = st.sampled_from(["look_up", "get-weather", "f"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | words, lambda inner: st.lists(inner, max_size=2), max_leaves=3
)
arguments = st.dictionaries(st.sampled_from(["a", "b_c", "d"]), values, max_size=2).map(json.dumps)
caches = st.none() | st.none() | st.builds(CacheHint, ttl=st.sampled_from([None, "1h"]))

texts = st.builds(TextPart, words, cache=caches)
media: st.SearchStrategy[Part] = st.sampled_from(
    [
        ImagePart(data="iVBORw0KGgo=", media_type="image/png"),
        ImagePart(url="https://example.com/a.png", media_type="image/png"),
        FilePart(data="JVBERi0xLjQ=", media_type="application/pdf", name="a.pdf"),
        FilePart(text="plain words", media_type="text/plain"),
        AudioPart(data="UklGRg==", format="wav"),
    ]
)
schemas = st.sampled_from(
    [
        {"type": "object", "properties": {"a": {"type": "string"}, "b_c": {"type": "integer"}}, "required": ["a"]},
        {"type": "object", "properties": {"d": {"type": "array", "items": {"type": "number"}}}, "required": []},
        {"type": "object", "properties": {"a": {"enum": ["x", "y"], "type": "string"}}},
    ]
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Turns as models know them: each call is answered, in any order, before the conversation goes on."""
    said: list[Message] = [
        Message(role=draw(st.sampled_from([Role.SYSTEM, Role.DEVELOPER])), parts=(TextPart(draw(words)),))
        for _ in range(draw(st.integers(0, 2)))
    ]
    calls = 0
    for _ in range(draw(st.integers(1, 3))):
        said.append(Message(role=Role.USER, parts=(*draw(st.lists(media, max_size=1)), draw(texts))))
        parts: list[Part] = []
        if draw(st.booleans()):
            parts.append(ReasoningPart(text=draw(words), signature=draw(st.sampled_from(["", "c2ln"]))))
        if draw(st.booleans()):
            parts.append(TextPart(draw(words)))
        asked = [
            ToolCall(id=f"call_{calls + at}", name=draw(names), arguments=draw(arguments))
            for at in range(draw(st.integers(0, 3)))
        ]
        calls += len(asked)
        if not any(isinstance(part, TextPart) for part in parts) and not asked:
            continue
        said.append(Message(role=Role.ASSISTANT, parts=(*parts, *asked)))
        for call in draw(st.permutations(asked)):
            failed = draw(st.sampled_from([None, None, True]))
            result = draw(words | arguments)
            said.append(Message(role=Role.TOOL, parts=(TextPart(result),), tool_call_id=call.id, is_error=failed))
    if said[-1].role is Role.ASSISTANT:
        said.append(Message(role=Role.USER, parts=(draw(texts),)))
    return tuple(said)


tools = st.lists(
    st.builds(
        Tool,
        name=names,
        description=st.none() | words,
        parameters=schemas,
        strict=st.sampled_from([None, None, False]),
        cache=caches,
    ),
    max_size=3,
    unique_by=lambda tool: tool.name,
).map(tuple)
formats = st.none() | st.one_of(
    st.sampled_from([ResponseFormat(kind="text"), ResponseFormat(kind="json_object")]),
    st.builds(ResponseFormat, kind=st.just("json_schema"), name=st.just("answer"), schema=schemas),
)
reasonings = st.none() | st.builds(
    Reasoning,
    enabled=st.none() | st.booleans(),
    effort=st.sampled_from([None, "low", "medium", "high"]),
    show=st.none() | st.booleans(),
)
samplings = st.builds(
    Sampling,
    temperature=st.none() | st.sampled_from([0.0, 0.5, 1.0, 1.5]),
    top_p=st.none() | st.sampled_from([0.25, 0.9, 1.0]),
    top_k=st.none() | st.integers(1, 600),
    max_tokens=st.none() | st.integers(2000, 9000),
    frequency_penalty=st.none() | st.sampled_from([0.5, -0.5]),
    presence_penalty=st.none() | st.sampled_from([0.5, -0.5]),
    stop=st.lists(words, max_size=2, unique=True).map(tuple),
    seed=st.none() | st.integers(0, 2**31 - 1),
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    offered = draw(tools)
    choices: list[ToolChoice | None] = [None]
    if offered:
        name = offered[0].name
        choices += [ToolChoice(mode="auto"), ToolChoice(mode="none"), ToolChoice(mode="required")]
        choices += [ToolChoice(mode="function", function=name), ToolChoice(mode="auto", allowed=(name,))]
    return Request(
        messages=draw(conversations()),
        model="m",
        sampling=draw(samplings),
        choices=draw(st.sampled_from([1, 1, 2])),
        tools=offered,
        tool_choice=draw(st.sampled_from(choices)),
        parallel_tool_calls=draw(st.none() | st.booleans()) if offered else None,
        response_format=draw(formats),
        reasoning=draw(reasonings),
        cache=draw(caches),
        stream=draw(st.booleans()),
        user=draw(st.none() | words),
        metadata=draw(st.sampled_from([{}, {"run": "7"}])),
        # Ours alone: never sent, so never named.
        stream_usage=draw(st.booleans()),
        cost=CostLimits(max_cost_nanousd=5),
        deadline_s=9.0,
        request_id="r",
        tenant="t",
    )


def target(dialect: str) -> Target:
    return Target(provider="p", base_url=BASES[dialect], model="m", api_key="k", max_output_tokens=32_000)


def sent(request: Request, dialect: str) -> HttpCall | None:
    """The call; None where the dialect refuses what its API lacks."""
    call = DIALECTS[dialect].encode(request, target(dialect))
    if isinstance(call, HttpCall):
        return call
    what = thing_at(request, call.param or "")
    assert call.kind is FailureKind.UNSUPPORTED, call
    assert names_of(what) & LACKS[dialect], call
    return None


def read(call: HttpCall, dialect: str) -> Request:
    stream = "stream" in call.url.lower()
    request = PARSERS[dialect](orjson.loads(call.body), model="m", stream=stream)
    assert not isinstance(request, Failure), request
    return request


@every_dialect
@unhurried
@given(request=requests())
def test_what_is_said_survives_or_is_named_or_refused(dialect: str, request: Request) -> None:
    call = sent(request, dialect)
    if call is None:
        return
    again = read(call, dialect)
    assert list(lost_abroad(request, again, call, dialect)) == []
    assert again.stream is request.stream


@every_dialect
@unhurried
@given(request=requests())
def test_texts_survive_to_the_letter(dialect: str, request: Request) -> None:
    assume(not any(isinstance(part, FilePart) for message in request.messages for part in message.parts))
    call = sent(request, dialect)
    if call is None:
        return
    again = read(call, dialect)
    for role in (Role.USER, Role.ASSISTANT):
        assert _texts(again, role) == _texts(request, role)


@every_dialect
@unhurried
@given(request=requests())
def test_what_came_back_once_comes_back_always(dialect: str, request: Request) -> None:
    first = sent(request, dialect)
    if first is None:
        return
    once = read(first, dialect)
    second = DIALECTS[dialect].encode(once, target(dialect))
    assert isinstance(second, HttpCall)
    assert orjson.loads(second.body) == orjson.loads(first.body)
    assert second.url == first.url
    assert second.dropped == ()
    assert read(second, dialect) == once


@every_dialect
@unhurried
@given(request=requests())
def test_only_what_was_said_is_named_as_dropped(dialect: str, request: Request) -> None:
    call = sent(request, dialect)
    for name in call.dropped if call else ():
        assert _was_said(request, name), name


@unhurried
@given(request=requests(), way=st.lists(st.sampled_from(CHAT_DIALECTS), min_size=2, max_size=4))
def test_a_journey_through_several_dialects_loses_only_what_each_names(request: Request, way: list[str]) -> None:
    for dialect in way:
        call = sent(request, dialect)
        assume(call is not None)
        assert call is not None
        again = read(call, dialect)
        assert list(lost_abroad(request, again, call, dialect)) == [], dialect
        request = replace(again, model="m")


@every_dialect
@unhurried
@given(
    chosen=st.lists(names, min_size=2, max_size=5),
    results=st.lists(words, min_size=5, max_size=5, unique=True),
    order=st.permutations(range(5)),
)
def test_a_tool_round_trip_with_parallel_calls_and_repeated_names(
    dialect: str, chosen: list[str], results: list[str], order: list[int]
) -> None:
    """Calls, their results in any order, an answer, and the next question: each result stays with its call."""
    calls = tuple(ToolCall(id=f"c{at}", name=name, arguments=f'{{"n":{at}}}') for at, name in enumerate(chosen))
    answers = tuple(
        Message(role=Role.TOOL, parts=(TextPart(results[at]),), tool_call_id=f"c{at}")
        for at in order
        if at < len(calls)
    )
    request = Request(
        messages=(
            Message(role=Role.USER, parts=(TextPart("go"),)),
            Message(role=Role.ASSISTANT, parts=calls),
            *answers,
            Message(role=Role.ASSISTANT, parts=(TextPart("done"),)),
            Message(role=Role.USER, parts=(TextPart("thanks"),)),
        ),
        tools=tuple(Tool(name=name, parameters={"type": "object"}) for name in dict.fromkeys(chosen)),
    )
    call = sent(request, dialect)
    assert call is not None
    assert call.dropped == ()
    again = read(call, dialect)
    assert turns(again)[1].calls == [(one.name, json.loads(one.arguments)) for one in calls]
    assert sorted(turns(again)[2].results) == sorted(turns(request)[2].results)
    ids = [one.id for message in again.messages for one in message.tool_calls]
    assert len(set(ids)) == len(calls)
    assert ids == [one.id for one in calls] or all(one.startswith(INVENTED) for one in ids)


def _texts(request: Request, role: Role) -> str:
    """All that one side said, as a whole."""
    return "".join(message.text for message in request.messages if message.role is role)


def _was_said(request: Request, name: str) -> bool:
    if name.startswith("messages["):
        at = int(name[9 : name.index("]")])
        message = request.messages[at]
        rest = name[name.index("]") + 2 :]
        if rest.startswith("reasoning"):
            return any(isinstance(part, ReasoningPart) for part in message.parts)
        if rest == "is_error":
            return message.is_error is not None
        return bool(rest)
    if name.startswith("tools["):
        tool = request.tools[int(name[6 : name.index("]")])]
        return isinstance(tool, Tool) and (tool.strict is not None or not name.endswith("strict"))
    head = name.split(".", maxsplit=1)[0]
    if head == "cache":
        marked = [request.cache, *(tool.cache for tool in request.tools if isinstance(tool, Tool))]
        marked += [part.cache for message in request.messages for part in message.parts if isinstance(part, TextPart)]
        return any(one is not None for one in marked)
    if hasattr(request.sampling, head):
        return getattr(request.sampling, head) not in (None, ())
    return bool(getattr(request, head) != getattr(Request(messages=()), head))
