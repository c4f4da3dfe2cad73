"""The judge itself: what it takes for the same, and what it must notice."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from tests.wire import seed
from tests.wire.equivalence import Difference, equivalent
from tests.wire.mutate import at, damaged, deleted, kind_of, leaves, replaced
from tests.wire.records import ABSENT, DEV, chats

Json = Any
PNG = "data:image/png;base64,aGk="

OPENAI: Json = {
    "model": "m",
    "temperature": 0.2,
    "max_tokens": 9,
    "stop": ["x"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "messages": [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": PNG}}],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
                {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "default": None}}}],
    "somebody's": {"own": [None, 1]},
}
ANTHROPIC: Json = {
    "model": "m",
    "max_tokens": 9,
    "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {"role": "user", "content": "what?"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"x": None}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "1", "is_error": True},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
            ],
        },
    ],
    "tools": [{"name": "f", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}}],
}
GOOGLE: Json = {
    "systemInstruction": {"parts": [{"text": "be brief"}]},
    "contents": [
        {"role": "user", "parts": [{"text": "what?"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}}]},
        {
            "role": "model",
            "parts": [
                {"text": "hm", "thought": True},
                {"functionCall": {"name": "f", "args": {"a_b": None}}, "thoughtSignature": "s"},
            ],
        },
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": 1}}}]},
    ],
    "tools": [
        {
            "functionDeclarations": [
                {"name": "f", "parameters": {"type": "OBJECT", "properties": {"a_b": {"type": "STRING"}}}}
            ]
        },
        {"codeExecution": {}},
    ],
    "generationConfig": {"temperature": 0.2, "maxOutputTokens": 9, "thinkingConfig": {"thinkingBudget": 0}},
}
COHERE: Json = {
    "model": "m",
    "messages": [
        {"role": "user", "content": "what?"},
        {
            "role": "assistant",
            "tool_plan": "look",
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {
            "role": "tool",
            "tool_call_id": "a",
            "content": [{"type": "document", "document": {"id": "1", "data": {"text": "t"}}}],
        },
    ],
    "documents": ["one", {"id": "2", "data": {"text": "two"}}],
    "temperature": 0.2,
}
OLLAMA: Json = {
    "model": "m",
    "stream": False,
    "messages": [
        {"role": "user", "content": "what?", "images": ["aGk="]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]},
        {"role": "tool", "tool_name": "f", "content": "1"},
    ],
    "options": {"num_predict": 9, "temperature": 0.2},
    "think": False,
}
BODIES = {
    "openai": OPENAI,
    "compatible": OPENAI,
    "openrouter": OPENAI,
    "anthropic": ANTHROPIC,
    "google": GOOGLE,
    "cohere": COHERE,
    "ollama": OLLAMA,
}

USER = {"messages": [{"role": "user", "content": "a"}]}


def schema(**parameters: Json) -> Json:
    return {"tools": [{"functionDeclarations": [{"name": "f", **parameters}]}]}


SAME: list[tuple[str, Json, Json]] = [
    ("openai", USER, {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}], "stream": False}),
    ("openai", {"n": 1, "stop": "x", "seed": None}, {"stop": ["x"]}),
    ("openai", {"max_tokens": 5, "temperature": 1}, {"max_completion_tokens": 5, "temperature": 1.0}),
    ("openai", {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    (
        "openai",
        {
            "messages": [
                {"role": "assistant", "content": "", "tool_calls": [{"id": "a", "function": {"arguments": "{}"}}]}
            ]
        },
        {
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "a", "type": "function", "function": {"arguments": " { } "}}],
                }
            ]
        },
    ),
    (
        "openai",
        {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "data:image/PNG;x=y;base64,aGk="}}]}]},
        {"messages": [{"content": [{"type": "image_url", "image_url": {"url": PNG, "detail": "auto"}}]}]},
    ),
    ("openrouter", {"include_reasoning": True}, {"reasoning": {}, "usage": {"include": True}}),
    ("openrouter", {"include_reasoning": False}, {"reasoning": {"exclude": True}}),
    ("anthropic", {"system": "a"}, {"system": [{"type": "text", "text": "a"}]}),
    (
        "anthropic",
        {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
    ),
    ("anthropic", {"tools": [{"name": "f"}]}, {"tools": [{"name": "f", "type": "custom"}]}),
    ("anthropic", {"cache_control": {"type": "ephemeral"}}, {"cache_control": {"type": "ephemeral", "ttl": "5m"}}),
    ("anthropic", {"output_format": {"type": "json_schema"}}, {"output_config": {"format": {"type": "json_schema"}}}),
    (
        "anthropic",
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "is_error": False}]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": []}]}]},
    ),
    ("google", {"contents": {"parts": {"text": "a"}}}, {"contents": [{"role": "user", "parts": [{"text": "a"}]}]}),
    ("google", {"generation_config": {"top_k": 4, "candidate_count": 1}}, {"generationConfig": {"topK": 4.0}}),
    (
        "google",
        {"contents": [{"role": "function", "parts": [{"text": "a", "thought": False}]}], "safetySettings": None},
        {"contents": [{"role": "user", "parts": [{"text": "a"}]}], "generationConfig": {}},
    ),
    (
        "google",
        {"systemInstruction": {"role": "user", "parts": {"text": "a"}}},
        {"system_instruction": {"parts": [{"text": "a"}]}},
    ),
    (
        "google",
        schema(
            parameters={"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True, "min_length": "1"}}}
        ),
        schema(
            parametersJsonSchema={"type": "object", "properties": {"a": {"type": ["string", "null"], "minLength": 1}}}
        ),
    ),
    (
        "google",
        {"tools": [{"functionDeclarations": [{"name": "f"}], "codeExecution": {}}]},
        {"tools": [{"codeExecution": {}}, {"function_declarations": [{"name": "f"}]}]},
    ),
    ("google", {"contents": [], "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}}, {"tools": [{}]}),
    (
        "google",
        {"generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}},
        {"generationConfig": {"thinking_config": {"thinking_level": "LOW", "include_thoughts": False}}},
    ),
    ("cohere", {"documents": [], "stream": False}, {}),
    ("cohere", {"documents": ["a"]}, {"documents": [{"data": {"text": "a"}}]}),
    ("ollama", {"format": "", "options": {}, "keep_alive": None}, {"stream": True}),
    ("ollama", {"messages": [{"role": "assistant", "content": ""}]}, {"messages": [{"role": "assistant"}]}),
]

Edit = tuple[str, tuple[str | int, ...], Json]
GONE = object()
OTHER: list[Edit] = [
    ("openai", ("messages", 3), GONE),
    ("openai", ("messages", 3, "tool_call_id"), "b"),
    ("openai", ("messages", 2, "tool_calls", 1, "id"), "c"),
    ("openai", ("messages", 2, "tool_calls", 0, "function", "arguments"), '{"x": 2}'),
    ("openai", ("messages", 2, "tool_calls", 0, "function", "arguments"), '{"x": true}'),
    ("openai", ("messages", 1, "content", 1), GONE),
    ("openai", ("messages", 0, "role"), "user"),
    ("openai", ("temperature",), 0.3),
    ("openai", ("temperature",), GONE),
    ("openai", ("stream",), GONE),
    ("openai", ("stop", 0), GONE),
    ("openai", ("tools", 0, "function", "parameters", "default"), GONE),
    ("openai", ("somebody's",), GONE),
    ("openai", ("somebody's", "own", 0), GONE),
    ("compatible", ("max_tokens",), GONE),
    ("anthropic", ("messages", 1, "content", 0), GONE),
    ("anthropic", ("messages", 1, "content", 0, "signature"), "t"),
    ("anthropic", ("messages", 1, "content", 1, "input", "x"), GONE),
    ("anthropic", ("messages", 2, "content", 0, "is_error"), False),
    ("anthropic", ("messages", 2, "content", 1), GONE),
    ("anthropic", ("system", 0, "cache_control"), GONE),
    ("anthropic", ("system", 0, "cache_control", "ttl"), GONE),
    ("anthropic", ("tools", 0, "cache_control"), GONE),
    ("google", ("contents", 0, "parts", 1), GONE),
    ("google", ("contents", 1, "parts", 0, "thought"), GONE),
    ("google", ("contents", 1, "parts", 1, "thoughtSignature"), GONE),
    ("google", ("contents", 1, "parts", 1, "functionCall", "args", "a_b"), GONE),
    ("google", ("contents", 1, "parts", 1, "functionCall", "args"), {"aB": None}),
    ("google", ("contents", 2), GONE),
    ("google", ("tools", 1), GONE),
    ("google", ("tools", 0, "functionDeclarations", 0, "parameters", "properties"), {"aB": {"type": "STRING"}}),
    ("google", ("generationConfig", "thinkingConfig", "thinkingBudget"), GONE),
    ("cohere", ("messages", 1, "tool_plan"), GONE),
    ("cohere", ("messages", 2, "content", 0, "document", "id"), GONE),
    ("cohere", ("documents", 0), "two"),
    ("ollama", ("messages", 0, "images"), GONE),
    ("ollama", ("messages", 2, "tool_name"), GONE),
    ("ollama", ("stream",), GONE),
    ("ollama", ("think",), GONE),
    ("ollama", ("options", "num_predict"), 8),
]


@pytest.mark.parametrize(("api", "one", "other"), SAME)
def test_two_spellings_mean_the_same(api: str, one: Json, other: Json) -> None:
    assert equivalent(api, one, other) == ()
    assert equivalent(api, other, one) == ()


@pytest.mark.parametrize(("api", "path", "new"), OTHER)
def test_damage_is_noticed(api: str, path: tuple[str | int, ...], new: Json) -> None:
    whole = BODIES[api]
    broken = deleted(whole, path) if new is GONE else replaced(whole, path, new)
    assert equivalent(api, whole, whole) == ()
    assert equivalent(api, whole, broken)
    assert equivalent(api, broken, whole)


def test_a_host_that_knows_only_the_old_name_must_get_it() -> None:
    assert equivalent("compatible", {"max_tokens": 5}, {"max_completion_tokens": 5})


def test_a_difference_says_where_and_what() -> None:
    (found,) = equivalent("openai", OPENAI, deleted(OPENAI, ("messages", 0, "content")))
    assert isinstance(found, Difference)
    assert found.kind == "messages[].content[]"
    assert str(found).startswith("messages[0].content[0]: {'type': 'text'")


FREE_WHERE_DEFAULT = {
    "stream": {False},
    "n": {1},
    "type": {"function", "custom"},
    "detail": {"auto"},
    "ttl": {"5m"},
    "is_error": {False},
    "disable_parallel_tool_use": {False},
    "thought": {False},
    "includeThoughts": {False},
    "include_thoughts": {False},
    "candidateCount": {1},
    "candidate_count": {1},
    "responseMimeType": {"text/plain"},
    "nullable": {False},
    "mode": {"AUTO", "auto"},
}
FREE_ANYWHERE = ("stream_options.include_usage", "systemInstruction.role", "system_instruction.role", "usage.include")


def free(api: str, body: Json, path: tuple[str | int, ...], how: str) -> bool:
    """Whether the judge may overlook this damage: what is listed in `tests.wire.equivalence`, and nothing else."""
    value, last = at(body, path), path[-1]
    if kind_of(path) in FREE_ANYWHERE:
        return True
    if how != "deleted" or isinstance(last, int):
        return False
    empty = value is None or value in ("", [], {})
    default = isinstance(last, str) and not isinstance(value, list | dict) and value in FREE_WHERE_DEFAULT.get(last, ())
    if api == "google" and kind_of(path) == "contents[].role":
        return value in ("user", "function")
    if api == "ollama" and last == "stream":
        return value is True
    return empty or default


@pytest.mark.parametrize("api", BODIES)
def test_every_leaf_of_a_body_counts(api: str) -> None:
    rng = Random(seed())
    for path in leaves(BODIES[api]):
        for _ in range(8):
            how, mutant = damaged(BODIES[api], path, rng)
            assert equivalent(api, BODIES[api], mutant) or free(api, BODIES[api], path, how), (kind_of(path), how)


@pytest.mark.skipif(not DEV.is_dir(), reason=ABSENT)
def test_every_leaf_of_a_recorded_body_counts() -> None:
    rng, seen, missed, allowed = Random(seed()), 0, Counter[str](), Counter[str]()
    for record in chats():
        if not isinstance(record.sent, dict):
            continue
        paths = list(leaves(record.sent))
        for path in rng.sample(paths, min(10, len(paths))):
            how, mutant = damaged(record.sent, path, rng)
            seen += 1
            if not equivalent(record.api, record.sent, mutant):
                unnoticed = allowed if free(record.api, record.sent, path, how) else missed
                unnoticed[f"{record.api} {kind_of(path)} {how}"] += 1
    print(f"{seen} mutants, {missed.total()} unnoticed {dict(missed)}; free by design: {dict(allowed.most_common())}")
    assert missed.total() <= 0.01 * seen, missed
