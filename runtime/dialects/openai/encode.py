"""A `Request` as the body of OpenAI's chat completions.

The inverse is `openai_surface.parse_chat`: parsing what is encoded here gives the request back.
"""

from __future__ import annotations

from collections.abc import Mapping

from runtime.dialects.base import HttpCall, Target
from runtime.dialects.encoding import effort_of, get, post, put_extra, put_options
from runtime.dialects.openai.parts import Wording, encode_message
from runtime.dialects.openai.quirks import Quirks, quirks_of
from runtime.dialects.reading import obj
from runtime.outcome import Failure
from runtime.request import EmbedRequest, Json, NativeTool, Reasoning, Request, ResponseFormat, Tool, ToolChoice

NAME = "openai"

OURS = frozenset({"model", "messages", "stream", "stream_options"})
"""Fields of the body that a provider's options may not overrule: decoding and billing rest on them."""


def encode_chat(
    request: Request, target: Target, *, host: Quirks | None = None, headers: Mapping[str, str] | None = None
) -> HttpCall | Failure:
    """The chat call, or why this request cannot be said in OpenAI's words.

    `host` is what the host takes, where its address does not tell; `headers` go beside the usual ones.
    """
    wording = Wording(target, quirks_of(target, host), ours=request.dialect == NAME)
    messages: list[Json] = []
    for position, message in enumerate(request.messages):
        encoded = encode_message(message, position, wording)
        if isinstance(encoded, Failure):
            return encoded
        messages.append(encoded)
    body: dict[str, Json] = {"model": target.model, "messages": messages}
    refusal = _tools(body, request, wording)
    if refusal is not None:
        return refusal
    _sampling(body, request, wording)
    _answer(body, request, wording)
    if request.user is not None:
        body["user"] = request.user
    if request.metadata:
        body["metadata"] = dict(request.metadata)
    if request.stream:
        body["stream"] = True
        if wording.quirks.stream_options:
            # Asked for whether the client wants it or not: without it, nobody knows what the stream cost.
            body["stream_options"] = {"include_usage": True}
    wording.keep(body, request.extra)
    options = request.provider_options.get(target.provider)
    put_options(body, options, protected=OURS, dropped=wording.dropped)
    accept = "text/event-stream" if request.stream else "application/json"
    ours = {**headers_of(target), **(headers or {})}
    return post(target, "chat/completions", body, ours, wording.dropped, accept=accept)


def encode_embed(request: EmbedRequest, target: Target) -> HttpCall | Failure:
    """The embeddings call."""
    inputs: list[Json] = [*request.inputs, *map(list, request.tokens)]
    body: dict[str, Json] = {"model": target.model, "input": inputs, "encoding_format": "float"}
    dropped: list[str] = []
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.purpose is not None:
        dropped.append("purpose")
    if request.user is not None:
        body["user"] = request.user
    put_extra(body, request.extra, ours=request.dialect == NAME, dropped=dropped)
    return post(target, "embeddings", body, headers_of(target), dropped)


def get_models(target: Target, path: str = "models", headers: Mapping[str, str] | None = None) -> HttpCall:
    """A call without a body that costs nothing."""
    return get(target, path, {**headers_of(target), **(headers or {})})


def headers_of(target: Target) -> dict[str, str]:
    """The key, and what the options say of organisation and project."""
    headers = {"authorization": f"Bearer {target.api_key}"} if target.api_key else {}
    for name in ("OpenAI-Organization", "OpenAI-Project"):
        said = target.options.get(name)
        if isinstance(said, str) and said:
            headers[name.lower()] = said
    return headers


def _sampling(body: dict[str, Json], request: Request, wording: Wording) -> None:
    sampling = request.sampling
    for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed"):
        value = getattr(sampling, name)
        if value is not None:
            body[name] = value
    if sampling.top_k is not None:
        if wording.quirks.top_k:
            body["top_k"] = sampling.top_k
        else:
            wording.dropped.append("top_k")
    if sampling.max_tokens is not None:
        body[wording.quirks.max_tokens_field] = sampling.max_tokens
    if sampling.stop:
        body["stop"] = list(sampling.stop)


def _answer(body: dict[str, Json], request: Request, wording: Wording) -> None:
    """What kind of answer is wanted, and how it may be made."""
    if request.choices != 1:
        body["n"] = request.choices
    if request.response_format is not None:
        body["response_format"] = _response_format(request.response_format, wording)
    if request.reasoning is not None:
        _reasoning(body, request.reasoning, request.sampling.max_tokens, wording)
    if request.cache is not None:
        wording.mark(body, request.cache)


def _tools(body: dict[str, Json], request: Request, wording: Wording) -> Failure | None:
    tools: list[Json] = []
    for position, tool in enumerate(request.tools):
        if isinstance(tool, Tool):
            tools.append(_tool(tool, position, wording))
        elif tool.dialect == NAME:
            tools.append(dict(tool.value))
        else:
            return wording.cannot(
                f"tools[{position}]", f"no {tool.kind}, which another provider runs itself; offer a function instead"
            )
    if tools:
        body["tools"] = tools
    if request.tool_choice is not None:
        body["tool_choice"] = _tool_choice(request.tool_choice, request.tools)
    if request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls
    return None


def _tool(tool: Tool, position: int, wording: Wording) -> dict[str, Json]:
    function: dict[str, Json] = {"name": tool.name}
    for key in ("description", "parameters", "strict"):
        value = getattr(tool, key)
        if value is not None:
            function[key] = value
    body: dict[str, Json] = {"type": "function", "function": function}
    if tool.cache is not None:
        wording.mark(body, tool.cache)
    wording.keep(body, tool.extra, f"tools[{position}].")
    return body


def _tool_choice(choice: ToolChoice, tools: tuple[Tool | NativeTool, ...]) -> Json:
    if choice.mode == "function":
        return _named(choice.function or "", tools)
    if choice.allowed:
        named = [_named(name, tools) for name in choice.allowed]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": named}}
    return choice.mode


def _named(name: str, tools: tuple[Tool | NativeTool, ...]) -> dict[str, Json]:
    for tool in tools:
        if isinstance(tool, NativeTool) and obj(tool.value.get(tool.kind)).get("name") == name:
            return {"type": tool.kind, tool.kind: {"name": name}}
    return {"type": "function", "function": {"name": name}}


def _response_format(wanted: ResponseFormat, wording: Wording) -> dict[str, Json]:
    body: dict[str, Json] = {"type": wanted.kind}
    if wanted.kind != "json_schema":
        if wanted.schema is not None:
            # llama.cpp takes a schema here too.
            body["schema"] = wanted.schema
    else:
        inner: dict[str, Json] = {"name": wanted.name or "answer"}
        for key in ("description", "schema", "strict"):
            value = getattr(wanted, key)
            if value is not None:
                inner[key] = value
        body["json_schema"] = inner
    wording.keep(body, wanted.extra, "response_format.")
    return body


def _reasoning(body: dict[str, Json], wanted: Reasoning, max_tokens: int | None, wording: Wording) -> None:
    if wording.quirks.reasoning == "object":
        said = {
            "enabled": wanted.enabled,
            "effort": wanted.effort,
            "max_tokens": wanted.budget_tokens,
            "exclude": None if wanted.show is None else not wanted.show,
        }
        if wanted.effort is not None and wanted.budget_tokens is not None:
            # OpenRouter takes one of the two.
            said["effort"] = None
        body["reasoning"] = {name: value for name, value in said.items() if value is not None}
        return
    if wanted.show is not None:
        wording.dropped.append("reasoning.show")
    effort = wanted.effort
    if effort is None and wanted.budget_tokens is not None:
        effort = effort_of(wanted.budget_tokens, max_tokens)
    if effort is None and wanted.enabled is False:
        effort = "none"
    if effort is not None:
        body["reasoning_effort"] = effort
    elif wanted.enabled:
        wording.dropped.append("reasoning.enabled")
