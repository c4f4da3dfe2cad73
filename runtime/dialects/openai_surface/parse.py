"""A chat completions body as a `Request`: strict where we know a field, faithful where we do not.

A field that we do not know is kept beside what it stands in, under its path (see `dialects.paths`), and goes on to a
provider of this dialect. Written by hand: a typical body takes a few microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping

from runtime.dialects.caching import take_cache
from runtime.dialects.extension import extension_of
from runtime.dialects.fields import (
    Wrong,
    array,
    obj,
    opt_bool,
    opt_int,
    opt_number,
    opt_obj,
    opt_text,
    text,
    texts,
)
from runtime.dialects.openai_surface.legacy import with_tools
from runtime.dialects.openai_surface.messages import parse_messages
from runtime.dialects.paths import leftovers
from runtime.outcome import Failure
from runtime.request import (
    Effort,
    Json,
    NativeTool,
    Reasoning,
    Request,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
)
from runtime.values import maker

new_sampling = maker(Sampling)

new_request = maker(Request)

MOST_CHOICES = 128

_KNOWN = frozenset(
    (
        *("model", "messages", "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens"),
        *("frequency_penalty", "presence_penalty", "stop", "seed", "n", "tools", "tool_choice", "parallel_tool_calls"),
        *("response_format", "stream", "stream_options", "user", "metadata", "raygate"),
        *("reasoning", "reasoning_effort", "cache_control"),
    )
)
_TOOL = ("type", "function", "cache_control")
_EFFORTS: Mapping[Json, Effort] = {word: word for word in ("none", "minimal", "low", "medium", "high", "xhigh", "max")}


def parse_chat(body: Json) -> Request | Failure:
    """The request in a parsed JSON body, or a `BAD_REQUEST` whose `param` names the field at fault."""
    try:
        return _request(obj(body, "body"))
    except Wrong as wrong:
        return wrong.failure()


def parse_request(body: Json, *, model: str = "", stream: bool = False) -> Request | Failure:
    """The same as a `dialects.base.Parse`: here the body itself names model and stream."""
    return parse_chat(body)


def _request(body: dict[str, Json]) -> Request:
    legacy = body.get("functions") is not None or body.get("function_call") is not None
    if legacy:
        body = with_tools(body)
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
    choice = _tool_choice(body.get("tool_choice"))
    _keep_of_choice(body.get("tool_choice"), extra)
    extension = extension_of(body)
    choices = opt_int(body, "n", "n", least=1)
    if choices is not None and choices > MOST_CHOICES:
        raise Wrong("n", f"n must be at most {MOST_CHOICES}, but is {choices}.")
    return new_request(
        messages=parse_messages(said),
        model=opt_text(body, "model", "model") or "",
        sampling=_sampling(body),
        choices=choices or 1,
        tools=_tools(body),
        tool_choice=choice,
        parallel_tool_calls=opt_bool(body, "parallel_tool_calls", "parallel_tool_calls"),
        response_format=_response_format(body),
        reasoning=_reasoning(body, extra),
        cache=take_cache(body, extra),
        stream=stream,
        stream_usage=stream and (include_usage or False),
        user=opt_text(body, "user", "user"),
        metadata=opt_obj(body, "metadata", "metadata") or {},
        **extension,
        extra=extra,
        dialect="openai",
        legacy_functions=legacy,
    )


def _sampling(body: dict[str, Json]) -> Sampling:
    most = opt_int(body, "max_tokens", "max_tokens", least=1)
    newer = opt_int(body, "max_completion_tokens", "max_completion_tokens", least=1)
    if most is not None and newer is not None and most != newer:
        raise Wrong("max_tokens", "max_tokens and max_completion_tokens differ: send only max_completion_tokens.")
    stop = body.get("stop")
    return new_sampling(
        temperature=opt_number(body, "temperature", "temperature", least=0, most=2),
        top_p=opt_number(body, "top_p", "top_p", least=0, most=1),
        top_k=opt_int(body, "top_k", "top_k"),
        max_tokens=newer if newer is not None else most,
        frequency_penalty=opt_number(body, "frequency_penalty", "frequency_penalty"),
        presence_penalty=opt_number(body, "presence_penalty", "presence_penalty"),
        stop=(stop,) if isinstance(stop, str) else texts(body, "stop", "stop"),
        seed=opt_int(body, "seed", "seed"),
    )


def _tools(body: dict[str, Json]) -> tuple[Tool | NativeTool, ...]:
    said = body.get("tools")
    if said is None:
        return ()
    return tuple(_tool(obj(one, f"tools[{at}]"), f"tools[{at}]") for at, one in enumerate(array(said, "tools")))


def _tool(tool: dict[str, Json], where: str) -> Tool | NativeTool:
    kind = tool.get("type", "function")
    if kind != "function":
        # Custom tools, and those that OpenRouter runs itself.
        return NativeTool(dialect="openai", kind=text(kind, f"{where}.type"), value=tool)
    extra: dict[str, Json] = {}
    function = obj(tool.get("function"), f"{where}.function")
    leftovers(tool, _TOOL, "", extra)
    leftovers(function, ("name", "description", "parameters", "strict"), "function", extra)
    return Tool(
        name=text(function.get("name"), f"{where}.function.name"),
        description=opt_text(function, "description", f"{where}.function.description"),
        parameters=opt_obj(function, "parameters", f"{where}.function.parameters"),
        strict=opt_bool(function, "strict", f"{where}.function.strict"),
        cache=take_cache(tool, extra),
        extra=extra,
    )


def _keep_of_choice(said: Json, extra: dict[str, Json]) -> None:
    """What stands in a tool choice beyond the words that we know."""
    if isinstance(said, dict):
        kind = said["type"]
        leftovers(said, ("type", kind), "tool_choice", extra)
        leftovers(said[kind], ("name", "mode", "tools"), f"tool_choice.{kind}", extra)


def _tool_choice(said: Json) -> ToolChoice | None:
    match said:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(mode=said)
        case {"type": "function", "function": {"name": str(name)}} | {"type": "custom", "custom": {"name": str(name)}}:
            return ToolChoice(mode="function", function=name)
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required" as mode, "tools": list(tools)}}:
            names = [_tool_choice(one) for one in tools]
            if all(name is not None and name.function for name in names):
                return ToolChoice(mode=mode, allowed=tuple(name.function for name in names if name and name.function))
        case _:
            pass
    raise Wrong(
        "tool_choice",
        'tool_choice must be "auto", "none", "required" or {"type": "function", "function": {"name": …}}.',
    )


def _reasoning(body: dict[str, Json], extra: dict[str, Json]) -> Reasoning | None:
    """OpenAI's `reasoning_effort`, or OpenRouter's object `reasoning`."""
    effort = opt_text(body, "reasoning_effort", "reasoning_effort")
    said = opt_obj(body, "reasoning", "reasoning")
    if effort is not None and (said is not None or effort not in _EFFORTS):
        extra["reasoning_effort"] = effort
        effort = None
    if said is None:
        return None if effort is None else Reasoning(effort=_EFFORTS[effort])
    leftovers(said, ("enabled", "effort", "max_tokens", "exclude"), "reasoning", extra)
    word = opt_text(said, "effort", "reasoning.effort")
    if word is not None and word not in _EFFORTS:
        raise Wrong("reasoning.effort", f"reasoning.effort must be one of {', '.join(map(str, _EFFORTS))}.")
    exclude = opt_bool(said, "exclude", "reasoning.exclude")
    return Reasoning(
        enabled=opt_bool(said, "enabled", "reasoning.enabled"),
        effort=None if word is None else _EFFORTS[word],
        budget_tokens=opt_int(said, "max_tokens", "reasoning.max_tokens", least=0),
        show=None if exclude is None else not exclude,
    )


def _response_format(body: dict[str, Json]) -> ResponseFormat | None:
    said = opt_obj(body, "response_format", "response_format")
    if said is None:
        return None
    extra: dict[str, Json] = {}
    match said.get("type"):
        case "text" | "json_object" as kind:
            leftovers(said, ("type", "schema"), "", extra)
            return ResponseFormat(kind=kind, schema=opt_obj(said, "schema", "response_format.schema"), extra=extra)
        case "json_schema":
            where = "response_format.json_schema"
            inner = obj(said.get("json_schema"), where)
            leftovers(said, ("type", "json_schema"), "", extra)
            leftovers(inner, ("name", "description", "schema", "strict"), "json_schema", extra)
            return ResponseFormat(
                kind="json_schema",
                name=text(inner.get("name"), f"{where}.name"),
                description=opt_text(inner, "description", f"{where}.description"),
                schema=opt_obj(inner, "schema", f"{where}.schema"),
                strict=opt_bool(inner, "strict", f"{where}.strict"),
                extra=extra,
            )
        case _:
            raise Wrong("response_format.type", "response_format.type must be text, json_object or json_schema.")
