"""docs/dialects.md tells the truth about what each dialect carries: every cell of its table is tried."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runtime.dialects.base import Target
from runtime.dialects.registry import DIALECTS
from runtime.outcome import Failure
from runtime.request import (
    AudioPart,
    CacheHint,
    EmbedRequest,
    FilePart,
    ImagePart,
    Message,
    NativePart,
    NativeTool,
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
from runtime.settings.model import BASE_URL, ProviderKind

PAGE = Path(__file__).parents[2] / "docs" / "dialects.md"

MODELS = {
    "openai": "gpt-5.1",
    "openrouter": "openai/gpt-5.1",
    "anthropic": "claude-sonnet-4-6",
    "google": "gemini-3.1-pro-preview",
    "cohere": "command-a-plus-05-2026",
    "ollama": "llava",
    "ruvllm": "ruvector-auto",
}
"""In the order of the page's columns: models that can do most of what their dialect can say."""

HI = ask("hi")
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
TOOL = Tool(name="f", description="d", parameters=SCHEMA)
TOOLS = replace(HI, tools=(TOOL,))
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
ROOM = Sampling(max_tokens=9_000)


def said(part: Part) -> Request:
    return Request(messages=(Message(role=Role.USER, parts=(TextPart("x"), part)),))


def answered(*results: Message) -> Request:
    calls = tuple(ToolCall(id=f"c{at}", name="f", arguments='{"a":"b"}') for at in range(len(results)))
    return replace(TOOLS, messages=(*HI.messages, Message(role=Role.ASSISTANT, parts=calls), *results))


def result(at: int, part: Part | None = None, *, is_error: bool | None = None) -> Message:
    parts = (part or TextPart("ok"),)
    return Message(role=Role.TOOL, tool_call_id=f"c{at}", name="f", parts=parts, is_error=is_error)


def system(role: Role) -> Message:
    return Message(role=role, parts=(TextPart("be brief"),))


def thought(signature: str = "") -> Request:
    parts = (ReasoningPart(text="hm", signature=signature), TextPart("yo"))
    return replace(HI, messages=(*HI.messages, Message(role=Role.ASSISTANT, parts=parts), *HI.messages))


YO = Message(role=Role.ASSISTANT, parts=(TextPart("yo"),))

PROBES: dict[str, tuple[Request, str]] = {
    "text": (HI, ""),
    "system message": (replace(HI, messages=(system(Role.SYSTEM), *HI.messages)), ""),
    "system message between turns": (replace(HI, messages=(*HI.messages, YO, system(Role.SYSTEM), *HI.messages)), ""),
    "name of a speaker": (replace(HI, messages=(replace(HI.messages[0], name="bob"),)), "messages[0].name"),
    "image, by address": (said(ImagePart(url="https://x/y.png")), ""),
    "image, inline": (said(ImagePart(data=PNG, media_type="image/png")), ""),
    "image, by file id": (said(ImagePart(file_id="file-1")), ""),
    "audio, inline": (said(AudioPart(data="UklGRg==", format="wav")), ""),
    "audio, by address": (said(AudioPart(url="https://x/y.wav", format="wav")), ""),
    "video": (said(VideoPart(url="https://x/y.mp4", media_type="video/mp4")), ""),
    "PDF, inline": (said(FilePart(data="JVBERi0=", media_type="application/pdf")), ""),
    "PDF, by address": (said(FilePart(url="https://x/a.pdf", media_type="application/pdf")), ""),
    "file, by file id": (said(FilePart(file_id="file-1")), ""),
    "document of plain text": (said(FilePart(text="hello", media_type="text/plain")), ""),
    "tools": (TOOLS, "tools"),
    "strict tools": (replace(HI, tools=(replace(TOOL, strict=True),)), "tools[0].strict"),
    "a call required": (replace(TOOLS, tool_choice=ToolChoice(mode="required")), "tool_choice"),
    "one tool required": (replace(TOOLS, tool_choice=ToolChoice(mode="function", function="f")), "tool_choice"),
    "no parallel calls": (replace(TOOLS, parallel_tool_calls=False), "parallel_tool_calls"),
    "results of parallel calls": (answered(result(0), result(1)), ""),
    "a result that is an error": (answered(result(0, is_error=True)), "messages[2].is_error"),
    "a result with an image": (answered(result(0, ImagePart(data=PNG, media_type="image/png"))), ""),
    "another dialect's own tool": (replace(HI, tools=(NativeTool(dialect="x", kind="k", value={}),)), ""),
    "another dialect's own part": (said(NativePart(dialect="x", kind="k", value={})), ""),
    "any JSON": (replace(HI, response_format=ResponseFormat(kind="json_object")), "response_format"),
    "JSON by schema": (
        replace(HI, response_format=ResponseFormat(kind="json_schema", name="n", schema=SCHEMA)),
        "response_format",
    ),
    "effort of thinking": (replace(HI, reasoning=Reasoning(effort="high"), sampling=ROOM), "reasoning"),
    "budget of thinking": (replace(HI, reasoning=Reasoning(budget_tokens=2_000), sampling=ROOM), "reasoning"),
    "thinking off": (replace(HI, reasoning=Reasoning(enabled=False)), "reasoning"),
    "thoughts shown or not": (replace(HI, reasoning=Reasoning(effort="low", show=False)), "reasoning.show"),
    "plain thoughts sent back": (thought(), "messages[1].reasoning"),
    "another provider's signed thoughts": (thought("s"), "messages[1].reasoning"),
    "cache markers": (replace(HI, cache=CacheHint(ttl="1h")), "cache"),
    **{
        name: (replace(HI, sampling=Sampling(**{name: value})), name)  # type: ignore[arg-type]
        for name, value in {
            "temperature": 0.5,
            "top_p": 0.5,
            "top_k": 3,
            "max_tokens": 5,
            "frequency_penalty": 0.5,
            "presence_penalty": 0.5,
            "stop": ("x",),
            "seed": 3,
        }.items()
    },
    "choices": (replace(HI, choices=2), "choices"),
    "user": (replace(HI, user="u"), "user"),
    "metadata": (replace(HI, metadata={"a": "b"}), "metadata"),
}
"""What is tried for each row, and the name under which a dialect drops all of it."""

EMBEDDINGS = {
    "embeddings": (EmbedRequest(inputs=("a",)), ""),
    "their dimensions": (EmbedRequest(inputs=("a",), dimensions=8), "dimensions"),
    "their purpose": (EmbedRequest(inputs=("a",), purpose="query"), "purpose"),
}


def target(dialect: str) -> Target:
    base_url = BASE_URL.get(ProviderKind(dialect), "http://127.0.0.1:3000")
    return Target(provider="p", base_url=base_url, model=MODELS[dialect], api_key="k")


def tried(row: str, dialect: str) -> str:
    """What the page should say."""
    speaks = DIALECTS[dialect]
    if row == "list of models":
        return "refused" if isinstance(speaks.list_models(target(dialect)), Failure) else "yes"
    if row == "free health check":
        return "refused" if isinstance(speaks.health(target(dialect)), Failure) else "yes"
    if row in EMBEDDINGS:
        embed, whole = EMBEDDINGS[row]
        call = speaks.encode_embed(embed, target(dialect))
    else:
        request, whole = PROBES[row]
        call = speaks.encode(request, target(dialect))
    if isinstance(call, Failure):
        return "refused"
    return "yes" if not call.dropped else "named" if whole in call.dropped else "partly"


def cells() -> dict[tuple[str, str], str]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    head = next(row for row in table if row[0] == "what")
    begin = table.index(head)
    rows = [row for row in table[begin + 2 :] if len(row) == len(head)]
    return {(row[0], dialect): cell for row in rows for dialect, cell in zip(head[1:], row[1:], strict=True)}


CELLS = cells()


def test_every_row_and_column_is_there() -> None:
    rows = {*PROBES, *EMBEDDINGS, "list of models", "free health check"}
    assert {row for row, _ in CELLS} == rows
    assert {dialect for _, dialect in CELLS} == set(MODELS) == DIALECTS.keys() - {"scripted"}


@pytest.mark.parametrize(("row", "dialect"), CELLS, ids=str)
def test_every_cell_is_true(row: str, dialect: str) -> None:
    assert CELLS[row, dialect] == tried(row, dialect)
