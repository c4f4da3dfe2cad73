"""Requests by hand that use every type of part and every option, in any dialect's words or in none."""

from __future__ import annotations

from dataclasses import replace

from runtime.request import (
    AudioPart,
    CacheHint,
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
    VideoPart,
    ask,
)

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": ["integer", "null"], "minimum": 1}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = Tool(name="weather", description="The weather of a city.", parameters=SCHEMA)
NOW = Tool(name="now", parameters={"type": "object", "properties": {}})
BARE = Tool(name="ping")
PNG = "iVBORw0KGgo="
PDF = "JVBERi0xLjQ="

PARTS: dict[str, Part] = {
    "text": TextPart("What is this?"),
    "image by address": ImagePart(url="https://example.com/a.png"),
    "image with detail": ImagePart(url="https://example.com/a.png", detail="low"),
    "image inline": ImagePart(data=PNG, media_type="image/png"),
    "image by id": ImagePart(file_id="file-1"),
    "audio inline": AudioPart(data="UklGRg==", format="wav"),
    "audio by address": AudioPart(url="https://example.com/a.mp3", format="mp3"),
    "video inline": VideoPart(data="AAAAIGZ0eXA=", media_type="video/mp4"),
    "video by address": VideoPart(url="https://example.com/a.mp4", media_type="video/mp4"),
    "file inline": FilePart(data=PDF, media_type="application/pdf", name="a.pdf"),
    "file by address": FilePart(url="https://example.com/a.pdf", media_type="application/pdf"),
    "file as text": FilePart(text="Plain words.", media_type="text/plain", name="a.txt"),
    "file by id": FilePart(file_id="file-1"),
    "text with a cache marker": TextPart("Long text.", cache=CacheHint(ttl="1h")),
}


def said(*parts: Part, role: Role = Role.USER) -> Message:
    return Message(role=role, parts=parts)


def result(call: str, text: str, *, is_error: bool | None = None, name: str | None = None) -> Message:
    return Message(role=Role.TOOL, parts=(TextPart(text),), tool_call_id=call, is_error=is_error, name=name)


ROUND_TRIP = Request(
    messages=(
        said(TextPart("You know the weather."), role=Role.SYSTEM),
        said(TextPart("Compare Bonn and Köln, and tell me the time.")),
        said(
            TextPart("I shall look."),
            ToolCall(id="call_1", name="weather", arguments='{"city":"Bonn"}'),
            ToolCall(id="call_2", name="weather", arguments='{"city":"Köln","days":2}'),
            ToolCall(id="call_3", name="now", arguments="{}"),
            role=Role.ASSISTANT,
        ),
        result("call_1", '{"sky":"rain"}'),
        result("call_2", "It is sunny."),
        result("call_3", "12:00", name="now"),
        said(TextPart("Köln."), role=Role.ASSISTANT),
        said(TextPart("And tomorrow?")),
        said(ToolCall(id="call_4", name="weather", arguments='{"city":"Köln","days":1}'), role=Role.ASSISTANT),
        result("call_4", "the service is down", is_error=True),
    ),
    tools=(WEATHER, NOW, BARE),
)

HELLO = ask("Say hello.")
TOOLS = replace(HELLO, tools=(WEATHER, NOW))

OPTIONS: dict[str, Request] = {
    "nothing else": HELLO,
    "a stream": replace(HELLO, stream=True),
    "system and developer": replace(
        HELLO,
        messages=(
            said(TextPart("One."), role=Role.SYSTEM),
            said(TextPart("Two."), role=Role.DEVELOPER),
            *HELLO.messages,
        ),
    ),
    "several turns": replace(
        HELLO, messages=(*HELLO.messages, said(TextPart("Hello."), role=Role.ASSISTANT), said(TextPart("Again.")))
    ),
    "two turns in a row": replace(HELLO, messages=(*HELLO.messages, said(TextPart("Aloud.")))),
    "sampling": replace(
        HELLO,
        sampling=Sampling(
            temperature=0.5,
            top_p=0.9,
            top_k=40,
            max_tokens=4096,
            frequency_penalty=0.5,
            presence_penalty=-0.5,
            stop=("END", "STOP"),
            seed=7,
        ),
    ),
    "choices": replace(HELLO, choices=2),
    "user and metadata": replace(HELLO, user="u-1", metadata={"run": "7"}),
    "tools": replace(TOOLS, parallel_tool_calls=True),
    "strict tools": replace(HELLO, tools=(replace(WEATHER, strict=True),), parallel_tool_calls=False),
    "tools with a cache marker": replace(HELLO, tools=(replace(WEATHER, cache=CacheHint()),)),
    "tool choice auto": replace(TOOLS, tool_choice=ToolChoice(mode="auto")),
    "tool choice none": replace(TOOLS, tool_choice=ToolChoice(mode="none")),
    "tool choice required": replace(TOOLS, tool_choice=ToolChoice(mode="required")),
    "tool choice by name": replace(TOOLS, tool_choice=ToolChoice(mode="function", function="now")),
    "tool choice of some": replace(TOOLS, tool_choice=ToolChoice(mode="auto", allowed=("now",))),
    "any JSON object": replace(HELLO, response_format=ResponseFormat(kind="json_object")),
    "a JSON schema": replace(
        HELLO,
        response_format=ResponseFormat(kind="json_schema", name="answer", schema=SCHEMA, strict=True),
    ),
    "text": replace(HELLO, response_format=ResponseFormat(kind="text")),
    "reasoning effort": replace(HELLO, reasoning=Reasoning(effort="low"), sampling=Sampling(max_tokens=4096)),
    "reasoning budget": replace(
        HELLO, reasoning=Reasoning(budget_tokens=2048, show=True), sampling=Sampling(max_tokens=4096)
    ),
    "no reasoning": replace(HELLO, reasoning=Reasoning(enabled=False)),
    "reasoning": replace(HELLO, reasoning=Reasoning(enabled=True), sampling=Sampling(max_tokens=4096)),
    "cached prompt": replace(HELLO, cache=CacheHint()),
    "a tool round trip": ROUND_TRIP,
    "earlier thoughts": replace(
        HELLO,
        messages=(
            *HELLO.messages,
            said(ReasoningPart(text="Politely.", signature="c2ln"), TextPart("Hello."), role=Role.ASSISTANT),
            said(TextPart("Again.")),
        ),
    ),
    "a refusal": replace(
        HELLO, messages=(*HELLO.messages, Message(role=Role.ASSISTANT, refusal="No."), said(TextPart("Please.")))
    ),
    "a named speaker": replace(HELLO, messages=(Message(role=Role.USER, parts=(TextPart("Hi."),), name="Ann"),)),
    "an image in a result": replace(
        ROUND_TRIP,
        messages=(
            *ROUND_TRIP.messages[:-1],
            Message(role=Role.TOOL, parts=(TextPart("See."), PARTS["image inline"]), tool_call_id="call_4"),
        ),
    ),
}
PARTED: dict[str, Request] = {
    name: replace(HELLO, messages=(said(part, TextPart("Describe it.")),)) for name, part in PARTS.items()
}
EVERYTHING: dict[str, Request] = {**OPTIONS, **PARTED}
