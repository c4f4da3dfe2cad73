"""A request said in another dialect and read back: what got lost without being named?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from runtime.dialects.base import HttpCall, Target
from runtime.dialects.encoding import INVENTED
from runtime.dialects.registry import DIALECTS, PARSERS
from runtime.outcome import Failure, FailureKind
from runtime.request import (
    Message,
    NativePart,
    NativeTool,
    Reasoning,
    ReasoningPart,
    Request,
    Role,
    Sampling,
    Tool,
    ToolChoice,
)
from tests.wire.meaning import BESIDE, documents, manner, system_text, turns, turns_lost
from tests.wire.normal.google import schema
from tests.wire.proof import extras_of

Json = Any

CHAT_DIALECTS = ("anthropic", "openai", "openrouter", "google", "cohere", "ollama")

BASES = {
    "anthropic": "https://api.anthropic.com/v1",
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "google": "https://generativelanguage.googleapis.com/v1beta",
    "cohere": "https://api.cohere.com",
    "ollama": "http://127.0.0.1:11434",
}
WITHOUT_IDS = frozenset({"ollama"})
"""APIs in which calls and results have no ids: results follow in the order of the calls."""

AUTO = ToolChoice(mode="auto")

ORPHAN = "a result that answers no call"

LACKS: dict[str, frozenset[str]] = {
    "openai": frozenset(
        {"VideoPart", "ImagePart by id", "AudioPart by address", "FilePart by address", "FilePart as text"}
        | {"ImagePart in a result", "AudioPart in a result", "FilePart in a result"}
    ),
    "openrouter": frozenset({"ImagePart by id", "AudioPart by address"}),
    "anthropic": frozenset(
        {"AudioPart", "VideoPart", "ImagePart by id", "FilePart by id", "messages", "response_format.schema"}
    ),
    "google": frozenset({"ImagePart by id", "FilePart by id", "messages", ORPHAN}),
    "cohere": frozenset({"AudioPart", "VideoPart", "FilePart", "ImagePart by id", "ImagePart in a result"}),
    "ollama": frozenset({"AudioPart", "VideoPart", "FilePart", "ImagePart by id", "ImagePart by address", ORPHAN}),
}
"""What a dialect may refuse because its API has nothing for it, beside parts and tools that only another one has.

A name alone means all manners of the part. The id of a file means nothing at another provider. Anthropic's schemas must
name every property of an object; Gemini and Anthropic want a user's turn; results go by the name of the function where
an API has no ids."""

SHOWS_ALWAYS = frozenset({"cohere"})
"""APIs that show thoughts without being asked."""


@dataclass(frozen=True, slots=True)
class Abroad:
    """The verdict on a request said in another dialect: `refused` names what that API lacks, `wrong` what was lost."""

    other: str
    refused: str = ""
    wrong: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


def abroad(request: Request, other: str) -> Abroad:
    """Say the request in another dialect, read it back, and compare."""
    target = Target(provider="p", base_url=BASES[other], model="m", api_key="k")
    call = DIALECTS[other].encode(request, target)
    if isinstance(call, Failure):
        what = thing_at(request, call.param or "")
        lacking = what.startswith("native ") or bool(names_of(what) & LACKS[other])
        allowed = lacking and (call.kind is FailureKind.UNSUPPORTED or what == ORPHAN)
        return Abroad(other, what, () if allowed else (f"refused {what}: {call.kind}: {call.detail}",))
    again = PARSERS[other](json.loads(call.body), model="m", stream=request.stream)
    if isinstance(again, Failure):
        return Abroad(
            other, wrong=(f"does not read its own words: {again.param}: {again.detail}",), dropped=call.dropped
        )
    return Abroad(other, wrong=tuple(lost(request, again, call, other)), dropped=call.dropped)


def names_of(what: str) -> set[str]:
    """A thing by every name under which `LACKS` may list it."""
    kind = what.split(" ", maxsplit=1)[0]
    return {what, kind} | (
        {what.removesuffix(" in a result"), f"{kind} in a result"} if "in a result" in what else set()
    )


def thing_at(request: Request, param: str) -> str:
    """What stands at a path of the request, in words: "native web_search", "AudioPart", …"""
    numbers = [int(one) for one in _numbers(param)]
    if param.startswith("tools[") and numbers[0] < len(request.tools):
        tool = request.tools[numbers[0]]
        return f"native tool {tool.kind}" if isinstance(tool, NativeTool) else "Tool"
    if param.startswith("messages[") and len(numbers) > 1 and numbers[0] < len(request.messages):
        message = request.messages[numbers[0]]
        parts = message.parts
        if numbers[1] < len(parts):
            part = parts[numbers[1]]
            if isinstance(part, NativePart):
                return f"native part {part.kind}"
            return manner(part) + (" in a result" if message.role is Role.TOOL else "")
    if param.endswith("].name") and _orphan(request, request.messages[numbers[0]]):
        return ORPHAN
    return "response_format.schema" if param.startswith("response_format.schema") else param


def _orphan(request: Request, message: Message) -> bool:
    calls = {call.id for one in request.messages for call in one.tool_calls}
    return message.role is Role.TOOL and message.tool_call_id not in calls


def _numbers(param: str) -> Iterator[str]:
    for piece in param.split("[")[1:]:
        number = piece.split("]")[0]
        if number.isdigit():
            yield number


def lost(request: Request, again: Request, call: HttpCall, other: str) -> Iterator[str]:
    """What a request said that neither came back nor was named in `dropped`."""
    dropped = set(call.dropped)

    def named(name: str) -> bool:
        return any(one == name or one.startswith((f"{name}.", f"{name}[")) for one in dropped)

    request = _offered(request, again)
    if system_text(request) != system_text(again):
        yield f"system text: {system_text(request)[:60]!r} became {system_text(again)[:60]!r}"
    yield from turns_lost(turns(request, seen_by=other), turns(again, seen_by=other))
    if other in BESIDE and documents(request) != documents(again):
        yield f"documents: {documents(request)} became {documents(again)}"
    if _failed(request) != _failed(again) and not any(one.endswith("].is_error") for one in dropped):
        yield f"{_failed(request)} failed results became {_failed(again)}"
    if other not in WITHOUT_IDS and _ids(request) != _ids(again):
        yield f"ids: {_ids(request)} became {_ids(again)}"
    yield from _tools_lost(request, again, named)
    yield from _options_lost(request, again, named, other)
    if _caches(request) != _caches(again) and not named("cache"):
        yield f"cache markers: {_caches(request)} became {_caches(again)}"
    spoken = {"openai", "openrouter"}
    if request.dialect != other and not {request.dialect, other} <= spoken:
        for owner, extra in extras_of(request):
            for key in extra:
                thought = owner.endswith("ReasoningPart") and any(one.endswith("].reasoning") for one in dropped)
                if not thought and not any(one.endswith(key) for one in dropped):
                    yield f"extra {owner}.{key} is neither sent nor named"


UNSAID: dict[str, Json] = {"choices": 1, "parallel_tool_calls": None, "user": None, "metadata": {}, "cache": None}
Named = Callable[[str], bool]


def _options_lost(request: Request, again: Request, named: Named, other: str) -> Iterator[str]:
    for one in fields(Sampling):
        was, now = getattr(request.sampling, one.name), getattr(again.sampling, one.name)
        if was != now and not named(one.name) and was not in (None, ()):
            yield f"{one.name}: {was} became {now}"
    for name, unsaid in UNSAID.items():
        was, now = getattr(request, name), getattr(again, name)
        if was not in (now, unsaid) and not named(name):
            yield f"{name}: {was} became {now}"
    choice = request.tool_choice
    # "auto" is what every API does of itself; a dialect without choices may offer nothing but what was chosen.
    if choice not in (None, AUTO, again.tool_choice) and not named("tool_choice") and not _narrowed(request, again):
        yield f"tool_choice: {choice} became {again.tool_choice}"
    asked = request.reasoning
    if asked == Reasoning(show=True) and other in SHOWS_ALWAYS:
        asked = None
    if asked not in (None, Reasoning()) and again.reasoning is None and not named("reasoning"):
        yield f"reasoning: {request.reasoning} is gone"
    wanted, got = request.response_format, again.response_format
    said = wanted is not None and wanted.kind != "text" and not named("response_format")
    if wanted is not None and said and (got is None or _closed(schema(got.schema)) != _closed(schema(wanted.schema))):
        yield f"response_format: {wanted} became {got}"


def _narrowed(request: Request, again: Request) -> bool:
    choice = request.tool_choice
    if choice is None:
        return False
    if choice.mode == "none":
        return not again.tools
    chosen = {choice.function} if choice.mode == "function" else set(choice.allowed)
    return bool(chosen) and chosen == {tool.name for tool in again.tools if isinstance(tool, Tool)}


def _offered(request: Request, again: Request) -> Request:
    """The request without the tools that its choice forbids, where they were left out."""
    if not _narrowed(request, again):
        return request
    offered = {tool.name for tool in again.tools if isinstance(tool, Tool)}
    return replace(request, tools=tuple(t for t in request.tools if isinstance(t, Tool) and t.name in offered))


def _tools_lost(request: Request, again: Request, named: Named) -> Iterator[str]:
    if len(request.tools) != len(again.tools):
        yield f"{len(request.tools)} tools became {len(again.tools)}"
        return
    for at, (was, now) in enumerate(zip(request.tools, again.tools, strict=True)):
        if isinstance(was, NativeTool) or isinstance(now, NativeTool):
            if was != now:
                yield f"tool {was} became {now}"
            continue
        if (was.name, was.description or "") != (now.name, now.description or ""):
            yield f"tool {was.name}: another name or description"
        if _shape(was.parameters) != _shape(now.parameters) and not named(f"tools[{at}].parameters"):
            yield f"tool {was.name}: {str(was.parameters)[:80]} became {str(now.parameters)[:80]}"
        if was.strict and not now.strict and not (named("strict") or named("tools")):
            yield f"tool {was.name}: strict is gone"


def _shape(parameters: Json) -> Json:
    """Parameters in one spelling; a function without any takes an object without properties."""
    found = schema(parameters)
    return {"type": "object"} if found in (None, {}, {"type": "object"}) else found


def _closed(value: Json) -> Json:
    """A schema without the word that objects have no other properties, and with anyOf for oneOf.

    Some APIs demand the first of every object, and know only the second.
    """
    if isinstance(value, list):
        return [_closed(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        "anyOf" if name == "oneOf" else name: _closed(one)
        for name, one in value.items()
        if (name, one) != ("additionalProperties", False)
    }


def _ids(request: Request) -> tuple[list[str], list[str | None]]:
    """The ids of calls and of results; those that Raygate made up by their position."""
    calls = [call.id for message in request.messages for call in message.tool_calls]
    made_up = {one: f"#{at}" for at, one in enumerate(calls) if one.startswith(INVENTED)}
    results = [message.tool_call_id or "" for message in request.messages if message.role is Role.TOOL]
    return [made_up.get(one, one) for one in calls], sorted(made_up.get(one, one) for one in results)


def _failed(request: Request) -> int:
    return sum(message.is_error is True for message in request.messages)


def _caches(request: Request) -> int:
    found = sum(message.cache is not None for message in request.messages)
    found += sum(
        part.cache is not None
        for message in request.messages
        for part in message.parts
        if not isinstance(part, NativePart | ReasoningPart)
    )
    return found + sum(tool.cache is not None for tool in request.tools if not isinstance(tool, NativeTool))
