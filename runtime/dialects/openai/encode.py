"""A `Request` as the body of OpenAI's chat completions.

The inverse is `openai_surface.parse_chat`: parsing what is encoded here gives the request back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from runtime.dialects.base import HttpCall, Target
from runtime.dialects.openai.quirks import Quirks, quirks_of
from runtime.dialects.paths import place
from runtime.dialects.status import refused
from runtime.outcome import Failure, FailureKind
from runtime.request import (
    EmbedRequest,
    ImagePart,
    Json,
    Message,
    Part,
    Request,
    ResponseFormat,
    Role,
    TextPart,
    Tool,
    ToolChoice,
)

NAME = "openai"

OURS = frozenset({"model", "messages", "stream", "stream_options"})
"""Fields of the body that a provider's options may not overrule: decoding and billing rest on them."""

_MAGIC = (("iVBORw0", "image/png"), ("/9j/", "image/jpeg"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp"))


def encode_chat(request: Request, target: Target) -> HttpCall | Failure:
    """The chat call, or why this request cannot be said in OpenAI's words."""
    quirks = quirks_of(target)
    ours = request.dialect == NAME
    dropped: list[str] = []
    body: dict[str, Json] = {"model": target.model, "messages": []}
    for position, message in enumerate(request.messages):
        encoded = _message(message, position, target, quirks, ours=ours, dropped=dropped)
        if isinstance(encoded, Failure):
            return encoded
        body["messages"].append(encoded)
    _sampling(body, request, quirks, dropped)
    if request.choices != 1:
        body["n"] = request.choices
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if request.tool_choice is not None:
        body["tool_choice"] = _tool_choice(request.tool_choice)
    if request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.response_format is not None:
        body["response_format"] = _response_format(request.response_format)
    if request.user is not None:
        body["user"] = request.user
    if request.metadata:
        body["metadata"] = dict(request.metadata)
    if request.stream:
        body["stream"] = True
        if quirks.stream_options:
            # Asked for whether the client wants it or not: without it, nobody knows what the stream cost.
            body["stream_options"] = {"include_usage": True}
    if request.extra:
        _extra(body, request.extra, ours=ours, prefix="", dropped=dropped)
    _options(body, request.provider_options.get(target.provider), dropped)
    return _post(target, "chat/completions", body, dropped, stream=request.stream)


def encode_embed(request: EmbedRequest, target: Target) -> HttpCall | Failure:
    """The embeddings call."""
    body: dict[str, Json] = {"model": target.model, "input": list(request.inputs), "encoding_format": "float"}
    dropped: list[str] = []
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.user is not None:
        body["user"] = request.user
    if request.extra:
        _extra(body, request.extra, ours=request.dialect == NAME, prefix="", dropped=dropped)
    return _post(target, "embeddings", body, dropped)


def get(target: Target, path: str) -> HttpCall:
    """A call without a body."""
    return HttpCall(method="GET", url=url(target, path), headers=_headers(target, accept="application/json"))


def url(target: Target, path: str) -> str:
    return f"{target.base_url.rstrip('/')}/{path}"


def _post(
    target: Target, path: str, body: dict[str, Json], dropped: list[str], *, stream: bool = False
) -> HttpCall | Failure:
    try:
        data = orjson.dumps(body, default=_plain)
    except TypeError as error:
        return refused(target, FailureKind.BAD_REQUEST, f"the request holds a value that JSON cannot carry: {error}")
    headers = _headers(target, accept="text/event-stream" if stream else "application/json")
    headers["content-type"] = "application/json"
    return HttpCall(method="POST", url=url(target, path), headers=headers, body=data, dropped=tuple(dropped))


def _headers(target: Target, *, accept: str) -> dict[str, str]:
    headers = {"accept": accept}
    if target.api_key:
        headers["authorization"] = f"Bearer {target.api_key}"
    for name in ("OpenAI-Organization", "OpenAI-Project"):
        said = target.options.get(name)
        if isinstance(said, str) and said:
            headers[name.lower()] = said
    for name, value in target.headers.items():
        headers[name.lower()] = value
    return headers


def _plain(value: Any) -> Json:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _extra(body: dict[str, Json], extra: Mapping[str, Json], *, ours: bool, prefix: str, dropped: list[str]) -> None:
    for path, value in extra.items():
        if not (ours and place(body, path, value)):
            dropped.append(f"{prefix}{path}")


def _options(body: dict[str, Json], options: Mapping[str, Json] | None, dropped: list[str]) -> None:
    for name, value in (options or {}).items():
        if name in OURS:
            dropped.append(f"provider_options.{name}")
        else:
            body[name] = value


def _sampling(body: dict[str, Json], request: Request, quirks: Quirks, dropped: list[str]) -> None:
    sampling = request.sampling
    for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed"):
        value = getattr(sampling, name)
        if value is None:
            continue
        if name in quirks.fixed:
            dropped.append(name)
        else:
            body[name] = value
    if sampling.top_k is not None:
        if quirks.top_k:
            body["top_k"] = sampling.top_k
        else:
            dropped.append("top_k")
    if sampling.max_tokens is not None:
        body[quirks.max_tokens_field] = sampling.max_tokens
    if sampling.stop:
        body["stop"] = list(sampling.stop)


def _message(
    message: Message, position: int, target: Target, quirks: Quirks, *, ours: bool, dropped: list[str]
) -> dict[str, Json] | Failure:
    role = message.role
    if role is Role.DEVELOPER and not quirks.developer_role:
        role = Role.SYSTEM
    body: dict[str, Json] = {"role": role.value}
    parts = message.parts
    if not parts:
        # Null is allowed only beside something else that was said.
        body["content"] = None if message.tool_calls or message.refusal is not None else ""
    elif len(parts) == 1 and isinstance(parts[0], TextPart) and not message.extra:
        body["content"] = parts[0].text
    else:
        content = []
        for number, part in enumerate(parts):
            encoded = _part(part, f"messages[{position}].content[{number}]", target)
            if isinstance(encoded, Failure):
                return encoded
            content.append(encoded)
        body["content"] = content
    if message.name is not None:
        body["name"] = message.name
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.refusal is not None:
        body["refusal"] = message.refusal
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.extra:
        _extra(body, message.extra, ours=ours, prefix=f"messages[{position}].", dropped=dropped)
        content = body["content"]
        # Many hosts take a list only from users, so plain text goes back to being a string.
        if isinstance(content, list) and len(content) == 1 and content[0].keys() == {"type", "text"}:
            body["content"] = content[0]["text"]
    return body


def _part(part: Part, param: str, target: Target) -> dict[str, Json] | Failure:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    if isinstance(part, ImagePart):
        address = part.url
        if part.data is not None:
            media_type = part.media_type or next((kind for magic, kind in _MAGIC if part.data.startswith(magic)), None)
            if media_type is None:
                return refused(
                    target,
                    FailureKind.BAD_REQUEST,
                    f"{param} does not say what image it is: set media_type",
                    param=param,
                )
            address = f"data:{media_type};base64,{part.data}"
        if address is None:
            return refused(target, FailureKind.BAD_REQUEST, f"{param} has neither url nor data: set one", param=param)
        image = {"url": address}
        if part.detail is not None:
            image["detail"] = part.detail
        return {"type": "image_url", "image_url": image}
    if part.data is None:
        return refused(
            target,
            FailureKind.UNSUPPORTED,
            f"{param}: this dialect takes audio only inline; send its data in base64 instead of an address",
            param=param,
        )
    return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format or "wav"}}


def _tool(tool: Tool) -> dict[str, Json]:
    function: dict[str, Json] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice) -> Json:
    if choice.mode == "function":
        return {"type": "function", "function": {"name": choice.function}}
    return choice.mode


def _response_format(wanted: ResponseFormat) -> dict[str, Json]:
    if wanted.kind != "json_schema":
        # llama.cpp takes a schema here too.
        return {"type": wanted.kind} if wanted.schema is None else {"type": wanted.kind, "schema": wanted.schema}
    inner: dict[str, Json] = {"name": wanted.name or "answer"}
    for key in ("description", "schema", "strict"):
        value = getattr(wanted, key)
        if value is not None:
            inner[key] = value
    return {"type": "json_schema", "json_schema": inner}
