"""A `Request` as the body of Cohere's chat, and texts as that of its embeddings.

Cohere's ranges are narrower than those of other APIs. A value from elsewhere that lies outside is sent as the nearest
one that Cohere takes, and named as dropped: left out, it would become Cohere's default, which may be far from it.
"""

from __future__ import annotations

from collections.abc import Mapping

from runtime.dialects.base import HttpCall, Target
from runtime.dialects.cohere.messages import NAME, Wording, encode_message
from runtime.dialects.encoding import budget_of, get, post, put_extra, put_options, texts_of
from runtime.outcome import Failure
from runtime.request import EmbedRequest, Json, Reasoning, Request, ResponseFormat, Role, Sampling, Tool

OURS = frozenset({"model", "messages", "stream"})
"""Fields of the body that a provider's options may not overrule: decoding and billing rest on them."""

RANGES: Mapping[str, tuple[str, float, float]] = {
    "temperature": ("temperature", 0.0, 1.0),
    "top_p": ("p", 0.01, 0.99),
    "top_k": ("k", 0, 500),
    "frequency_penalty": ("frequency_penalty", 0.0, 1.0),
    "presence_penalty": ("presence_penalty", 0.0, 1.0),
}
"""Cohere's word for each sampling field, and the least and most that it takes."""

DEFAULT_LONGEST = 32_000
"""The longest answer of the reasoning models, of which an effort is a share where nothing else says."""

PURPOSES = {
    "query": "search_query",
    "document": "search_document",
    "classification": "classification",
    "clustering": "clustering",
}


def encode_chat(request: Request, target: Target) -> HttpCall | Failure:
    """The chat call, or why this request cannot be said in Cohere's words."""
    ours = request.dialect == NAME
    # Parsing makes a turn for documents that have none, so such a one goes again. Of others the only question stays.
    alone = sum(message.role is Role.USER for message in request.messages) == 1
    wording = Wording(target, ours=ours, omit=alone is ours)
    messages: list[Json] = []
    for position, message in enumerate(request.messages):
        encoded = encode_message(message, position, wording)
        if isinstance(encoded, Failure):
            return encoded
        if encoded is not None:
            messages.append(encoded)
    body: dict[str, Json] = {"model": target.model, "messages": messages}
    if wording.documents:
        body["documents"] = wording.documents
    failure = _tools(body, request, wording)
    if failure is not None:
        return failure
    _sampling(body, request.sampling, wording)
    if request.response_format is not None:
        body["response_format"] = _response_format(request.response_format, wording)
    if request.reasoning is not None:
        _thinking(body, request.reasoning, request.sampling.max_tokens or target.max_output_tokens, wording)
    wording.dropped.extend(_unsaid(request))
    if request.stream:
        body["stream"] = True
    wording.keep(body, request.extra)
    put_options(body, request.provider_options.get(target.provider), protected=OURS, dropped=wording.dropped)
    accept = "text/event-stream" if request.stream else "application/json"
    return post(target, "v2/chat", body, headers_of(target), wording.dropped, accept=accept)


def encode_embed(request: EmbedRequest, target: Target) -> HttpCall | Failure:
    """The embeddings call. Cohere must be told what the vectors are for; if nobody says, it is documents."""
    texts = texts_of(request, target)
    if isinstance(texts, Failure):
        return texts
    dropped: list[str] = []
    purpose = PURPOSES.get(request.purpose or "document")
    if purpose is None:
        dropped.append("purpose")
    body: dict[str, Json] = {
        "model": target.model,
        "texts": texts,
        "input_type": purpose or "search_document",
        "embedding_types": ["float"],
    }
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    if request.user is not None:
        dropped.append("user")
    put_extra(body, request.extra, ours=request.dialect == NAME, dropped=dropped)
    return post(target, "v2/embed", body, headers_of(target), dropped)


def get_models(target: Target, *, page_size: int) -> HttpCall:
    """A call without a body that costs nothing."""
    return get(target, f"v1/models?page_size={page_size}", headers_of(target))


def headers_of(target: Target) -> dict[str, str]:
    return {"authorization": f"Bearer {target.api_key}"} if target.api_key else {}


def _unsaid(request: Request) -> list[str]:
    """The fields of this request for which Cohere has no word."""
    named = {
        "choices": request.choices != 1,
        "parallel_tool_calls": request.parallel_tool_calls is not None,
        "user": request.user is not None,
        "metadata": bool(request.metadata),
        "cache": request.cache is not None,
    }
    return [name for name, meant in named.items() if meant]


def _sampling(body: dict[str, Json], sampling: Sampling, wording: Wording) -> None:
    for name, (word, least, most) in RANGES.items():
        value = getattr(sampling, name)
        if value is None:
            continue
        taken = value if wording.ours else min(max(value, least), most)
        if taken != value:
            wording.dropped.append(name)
        body[word] = taken
    if sampling.max_tokens is not None:
        body["max_tokens"] = sampling.max_tokens
    if sampling.stop:
        body["stop_sequences"] = list(sampling.stop)
    if sampling.seed is not None:
        if sampling.seed >= 0 or wording.ours:
            body["seed"] = sampling.seed
        else:
            wording.dropped.append("seed")


def _tools(body: dict[str, Json], request: Request, wording: Wording) -> Failure | None:
    """The tools that may be called. Cohere has no word for one or some of them: then it is offered no other."""
    wanted = _wanted(request)
    tools: list[Json] = []
    strict: dict[int, bool | None] = {}
    for position, tool in enumerate(request.tools):
        if not isinstance(tool, Tool):
            if tool.dialect != NAME:
                what = f"no {tool.kind}, which another provider runs itself; offer a function instead"
                return wording.cannot(f"tools[{position}]", what)
            tools.append(dict(tool.value))
        elif wanted is None or tool.name in wanted:
            tools.append(_tool(tool, position, wording))
            strict[position] = tool.strict
    if wanted is not None and not strict:
        return wording.wrong("tool_choice", f"names {', '.join(sorted(wanted))}, which is none of the tools: offer it")
    if tools:
        body["tools"] = tools
    flags = set(strict.values())
    if len(flags) > 1:
        # All tools are strict, or none is.
        wording.dropped.extend(f"tools[{position}].strict" for position, one in strict.items() if one is not None)
    elif flags != {None} and flags:
        body["strict_tools"] = flags.pop()
    if request.tool_choice is not None and request.tool_choice.mode != "auto":
        body["tool_choice"] = "NONE" if request.tool_choice.mode == "none" else "REQUIRED"
    return None


def _wanted(request: Request) -> frozenset[str] | None:
    """The names of the tools that may be called; None where any may."""
    choice = request.tool_choice
    if choice is None:
        return None
    if choice.mode == "function":
        return frozenset((choice.function or "",))
    return frozenset(choice.allowed) if choice.allowed and choice.mode != "none" else None


def _tool(tool: Tool, position: int, wording: Wording) -> dict[str, Json]:
    function: dict[str, Json] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    elif not wording.ours:
        # Cohere wants a schema also of a tool that takes nothing.
        function["parameters"] = {"type": "object", "properties": {}}
    body: dict[str, Json] = {"type": "function", "function": function}
    if tool.cache is not None:
        wording.dropped.append("cache")
    wording.keep(body, tool.extra, f"tools[{position}].")
    return body


def _response_format(wanted: ResponseFormat, wording: Wording) -> dict[str, Json]:
    body: dict[str, Json] = {"type": "text" if wanted.kind == "text" else "json_object"}
    if wanted.kind == "json_schema" and wanted.schema is not None:
        body["json_schema"] = wanted.schema
    for name, value in (("name", wanted.name), ("description", wanted.description)):
        if value is not None:
            wording.dropped.append(f"response_format.{name}")
    if wanted.strict is False:
        # Cohere always keeps to the schema.
        wording.dropped.append("response_format.strict")
    wording.keep(body, wanted.extra, "response_format.")
    return body


def _thinking(body: dict[str, Json], wanted: Reasoning, longest: int | None, wording: Wording) -> None:
    enabled, budget = wanted.enabled, wanted.budget_tokens
    if budget is None and wanted.effort not in (None, "none"):
        budget = budget_of(wanted.effort, longest or DEFAULT_LONGEST)
    if not wording.ours:
        if wanted.effort == "none" or budget == 0:
            enabled = False
        if enabled is None and budget is not None:
            enabled = True
    thinking: dict[str, Json] = {}
    if enabled is not None:
        thinking["type"] = "enabled" if enabled else "disabled"
    if budget is not None and (enabled is not False or wording.ours):
        thinking["token_budget"] = budget
    if wanted.show is False:
        # Thoughts cannot be hidden, only not thought.
        wording.dropped.append("reasoning.show")
    if thinking or wording.ours:
        body["thinking"] = thinking
