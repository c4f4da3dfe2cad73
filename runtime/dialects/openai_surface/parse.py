"""A chat completions body as a `Request`: strict where we know a field, faithful where we do not.

A field that we do not know is kept under its path (see `dialects.paths`) and goes on to a provider of this
dialect. Written by hand: a typical body takes a few microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from runtime.dialects.openai_surface.fields import (
    Wrong,
    array,
    kind_name,
    obj,
    opt_bool,
    opt_int,
    opt_nanousd,
    opt_number,
    opt_obj,
    opt_text,
    text,
    texts,
)
from runtime.dialects.paths import leftovers
from runtime.outcome import Failure, FailureKind
from runtime.request import (
    AudioPart,
    CostLimits,
    ImagePart,
    Json,
    Message,
    Part,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)

MOST_CHOICES = 128

_KNOWN = frozenset(
    (
        *("model", "messages", "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens"),
        *("frequency_penalty", "presence_penalty", "stop", "seed", "n", "tools", "tool_choice", "parallel_tool_calls"),
        *("response_format", "stream", "stream_options", "user", "metadata", "raygate"),
    )
)
_MESSAGE = frozenset(("role", "content", "name", "tool_call_id", "tool_calls", "refusal"))
_OURS = frozenset(("max_cost_usd", "preferred_models", "preferred_providers", "deadline_s", "provider_options"))
_ROLES = {role.value: role for role in Role}
_DATA_URL = re.compile(r"data:([^,]*);base64,", re.IGNORECASE)


def parse_chat(body: Json) -> Request | Failure:
    """The request in a parsed JSON body, or a `BAD_REQUEST` whose `param` names the field at fault."""
    try:
        return _request(obj(body, "body"))
    except Wrong as wrong:
        return wrong.failure()


def _request(body: dict[str, Json]) -> Request:
    for legacy, instead in (("functions", "tools"), ("function_call", "tool_choice")):
        if body.get(legacy) is not None:
            raise Wrong(legacy, f"{legacy} is no longer taken: send {instead} instead.")
    extra: dict[str, Json] = {}
    if not body.keys() <= _KNOWN:
        leftovers(body, _KNOWN, "", extra)
    if "messages" not in body:
        raise Wrong("messages", "messages is missing: send an array of messages.")
    said = array(body["messages"], "messages")
    if not said:
        raise Wrong("messages", "messages must hold at least one message.")
    stream = opt_bool(body, "stream", "stream") or False
    stream_options = opt_obj(body, "stream_options", "stream_options") or {}
    include_usage = opt_bool(stream_options, "include_usage", "stream_options.include_usage")
    if stream_options:
        leftovers(stream_options, ("include_usage",), "stream_options", extra)
    cost, deadline_s, provider_options = _extension(opt_obj(body, "raygate", "raygate") or {})
    choices = opt_int(body, "n", "n", least=1)
    if choices is not None and choices > MOST_CHOICES:
        raise Wrong("n", f"n must be at most {MOST_CHOICES}, but is {choices}.")
    return Request(
        messages=tuple(_message(one, f"messages[{at}]") for at, one in enumerate(said)),
        model=opt_text(body, "model", "model") or "",
        sampling=_sampling(body),
        choices=choices or 1,
        tools=_tools(body, extra),
        tool_choice=_tool_choice(body.get("tool_choice")),
        parallel_tool_calls=opt_bool(body, "parallel_tool_calls", "parallel_tool_calls"),
        response_format=_response_format(body, extra),
        stream=stream,
        stream_usage=stream and (include_usage or False),
        user=opt_text(body, "user", "user"),
        metadata=opt_obj(body, "metadata", "metadata") or {},
        cost=cost,
        deadline_s=deadline_s,
        provider_options=provider_options,
        extra=extra,
        dialect="openai",
    )


Extension = tuple[CostLimits, float | None, Mapping[str, Mapping[str, Json]]]


def _extension(said: dict[str, Json]) -> Extension:
    """The `raygate` object. It is ours, so a word that we do not know in it is a mistake."""
    if not said:
        return CostLimits(), None, {}
    for key in said.keys() - _OURS:
        raise Wrong(f"raygate.{key}", f"raygate.{key} is unknown: raygate takes {', '.join(sorted(_OURS))}.")
    deadline_s = opt_number(said, "deadline_s", "raygate.deadline_s")
    if deadline_s is not None and deadline_s <= 0:
        raise Wrong("raygate.deadline_s", f"raygate.deadline_s must be more than 0 seconds, but is {deadline_s:g}.")
    options = opt_obj(said, "provider_options", "raygate.provider_options") or {}
    return (
        CostLimits(
            max_cost_nanousd=opt_nanousd(said, "max_cost_usd", "raygate.max_cost_usd"),
            preferred_models=texts(said, "preferred_models", "raygate.preferred_models"),
            preferred_providers=texts(said, "preferred_providers", "raygate.preferred_providers"),
        ),
        deadline_s,
        {name: obj(value, f"raygate.provider_options.{name}") for name, value in options.items()},
    )


def _sampling(body: dict[str, Json]) -> Sampling:
    most = opt_int(body, "max_tokens", "max_tokens", least=1)
    newer = opt_int(body, "max_completion_tokens", "max_completion_tokens", least=1)
    if most is not None and newer is not None and most != newer:
        raise Wrong("max_tokens", "max_tokens and max_completion_tokens differ: send only max_completion_tokens.")
    stop = body.get("stop")
    return Sampling(
        temperature=opt_number(body, "temperature", "temperature", least=0, most=2),
        top_p=opt_number(body, "top_p", "top_p", least=0, most=1),
        top_k=opt_int(body, "top_k", "top_k"),
        max_tokens=newer if newer is not None else most,
        frequency_penalty=opt_number(body, "frequency_penalty", "frequency_penalty"),
        presence_penalty=opt_number(body, "presence_penalty", "presence_penalty"),
        stop=(stop,) if isinstance(stop, str) else texts(body, "stop", "stop"),
        seed=opt_int(body, "seed", "seed"),
    )


def _message(said: Json, param: str) -> Message:
    fields = obj(said, param)
    word = fields.get("role")
    role = _ROLES.get(word) if isinstance(word, str) else None
    if role is None:
        if word == "function":
            raise Wrong(f"{param}.role", f'{param}.role "function" is no longer taken: send a "tool" message instead.')
        shown = f'"{word}"' if isinstance(word, str) else kind_name(word)
        raise Wrong(f"{param}.role", f"{param}.role must be one of {', '.join(_ROLES)}, but is {shown}.")
    extra: dict[str, Json] = {}
    if not fields.keys() <= _MESSAGE:
        leftovers(fields, _MESSAGE, "", extra)
    content = fields.get("content")
    refusal = opt_text(fields, "refusal", f"{param}.refusal")
    parts: tuple[Part, ...] = ()
    if isinstance(content, str):
        if content:
            parts = (TextPart(content),)
    elif content is not None:
        if not isinstance(content, list):
            raise Wrong(
                f"{param}.content",
                f"{param}.content must be a string or an array of content parts, but is {kind_name(content)}.",
            )
        found: list[Part] = []
        for at, one in enumerate(content):
            part = _part(one, f"{param}.content[{at}]", f"content[{len(found)}]", extra)
            if isinstance(part, str):
                refusal = (refusal or "") + part
            else:
                found.append(part)
        parts = tuple(found)
    elif role is not Role.ASSISTANT:
        raise Wrong(f"{param}.content", f"{param}.content is missing: send a string or an array of content parts.")
    tool_call_id = opt_text(fields, "tool_call_id", f"{param}.tool_call_id")
    if role is Role.TOOL and not tool_call_id:
        raise Wrong(f"{param}.tool_call_id", f"{param}.tool_call_id is missing: name the tool call that this answers.")
    return Message(
        role=role,
        parts=parts,
        name=opt_text(fields, "name", f"{param}.name"),
        tool_call_id=tool_call_id,
        tool_calls=_tool_calls(fields, param, extra),
        refusal=refusal,
        extra=extra,
    )


def _part(said: Json, param: str, path: str, extra: dict[str, Json]) -> Part | str:
    """One content part; the text of a refusal comes back bare."""
    fields = obj(said, param)
    word = fields.get("type")
    match word:
        case "text":
            if len(fields) > 2:
                leftovers(fields, ("type", "text"), path, extra)
            return TextPart(text(fields.get("text"), f"{param}.text"))
        case "refusal":
            return text(fields.get("refusal"), f"{param}.refusal")
        case "image_url":
            image = obj(fields.get("image_url"), f"{param}.image_url")
            leftovers(fields, ("type", "image_url"), path, extra)
            leftovers(image, ("url", "detail"), f"{path}.image_url", extra)
            return _image(
                text(image.get("url"), f"{param}.image_url.url"), opt_text(image, "detail", f"{param}.image_url.detail")
            )
        case "input_audio":
            audio = obj(fields.get("input_audio"), f"{param}.input_audio")
            leftovers(fields, ("type", "input_audio"), path, extra)
            leftovers(audio, ("data", "format"), f"{path}.input_audio", extra)
            return AudioPart(
                data=text(audio.get("data"), f"{param}.input_audio.data"),
                format=text(audio.get("format"), f"{param}.input_audio.format"),
            )
        case _:
            shown = f'"{word}"' if isinstance(word, str) else kind_name(word)
            raise Wrong(
                f"{param}.type",
                f"{param}.type must be text, image_url or input_audio, but is {shown}.",
                # A kind of part that OpenAI has and we have not; the caller's body is not wrong.
                FailureKind.UNSUPPORTED if word in ("file", "video_url") else FailureKind.BAD_REQUEST,
            )


def _image(url: str, detail: str | None) -> ImagePart:
    inline = _DATA_URL.match(url)
    if inline is None:
        return ImagePart(url=url, detail=detail)
    return ImagePart(data=url[inline.end() :], media_type=inline.group(1) or None, detail=detail)


def _tool_calls(fields: dict[str, Json], param: str, extra: dict[str, Json]) -> tuple[ToolCall, ...]:
    said = fields.get("tool_calls")
    if said is None:
        return ()
    calls = []
    for at, one in enumerate(array(said, f"{param}.tool_calls")):
        where = f"{param}.tool_calls[{at}]"
        call = obj(one, where)
        _only_functions(call, where)
        function = obj(call.get("function"), f"{where}.function")
        leftovers(call, ("id", "type", "function"), f"tool_calls[{at}]", extra)
        leftovers(function, ("name", "arguments"), f"tool_calls[{at}].function", extra)
        calls.append(
            ToolCall(
                id=text(call.get("id"), f"{where}.id"),
                name=text(function.get("name"), f"{where}.function.name"),
                arguments=text(function.get("arguments"), f"{where}.function.arguments"),
            )
        )
    return tuple(calls)


def _tools(body: dict[str, Json], extra: dict[str, Json]) -> tuple[Tool, ...]:
    said = body.get("tools")
    if said is None:
        return ()
    tools = []
    for at, one in enumerate(array(said, "tools")):
        where = f"tools[{at}]"
        tool = obj(one, where)
        _only_functions(tool, where)
        function = obj(tool.get("function"), f"{where}.function")
        leftovers(tool, ("type", "function"), where, extra)
        leftovers(function, ("name", "description", "parameters", "strict"), f"{where}.function", extra)
        tools.append(
            Tool(
                name=text(function.get("name"), f"{where}.function.name"),
                description=opt_text(function, "description", f"{where}.function.description"),
                parameters=opt_obj(function, "parameters", f"{where}.function.parameters"),
                strict=opt_bool(function, "strict", f"{where}.function.strict"),
            )
        )
    return tuple(tools)


def _only_functions(fields: dict[str, Json], where: str) -> None:
    word = fields.get("type", "function")
    if word != "function":
        shown = f'"{word}"' if isinstance(word, str) else kind_name(word)
        raise Wrong(f"{where}.type", f'{where}.type must be "function", but is {shown}.', FailureKind.UNSUPPORTED)


def _tool_choice(said: Json) -> ToolChoice | None:
    match said:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(mode=said)
        case {"type": "function", "function": {"name": str(name)}}:
            return ToolChoice(mode="function", function=name)
        case _:
            raise Wrong(
                "tool_choice",
                'tool_choice must be "auto", "none", "required" or {"type": "function", "function": {"name": …}}.',
            )


def _response_format(body: dict[str, Json], extra: dict[str, Json]) -> ResponseFormat | None:
    said = opt_obj(body, "response_format", "response_format")
    if said is None:
        return None
    match said.get("type"):
        case "text" | "json_object" as kind:
            leftovers(said, ("type", "schema"), "response_format", extra)
            return ResponseFormat(kind=kind, schema=opt_obj(said, "schema", "response_format.schema"))
        case "json_schema":
            where = "response_format.json_schema"
            inner = obj(said.get("json_schema"), where)
            leftovers(said, ("type", "json_schema"), "response_format", extra)
            leftovers(inner, ("name", "description", "schema", "strict"), where, extra)
            return ResponseFormat(
                kind="json_schema",
                name=text(inner.get("name"), f"{where}.name"),
                description=opt_text(inner, "description", f"{where}.description"),
                schema=opt_obj(inner, "schema", f"{where}.schema"),
                strict=opt_bool(inner, "strict", f"{where}.strict"),
            )
        case _:
            raise Wrong("response_format.type", "response_format.type must be text, json_object or json_schema.")
