"""A body of the Messages API as a `Request`: strict where we know a field, faithful where we do not.

    system ─────────────────────────► a first message, role SYSTEM
    user turn with tool results ────► a TOOL message each, USER messages for what stands around them, in order
    {"role": "system"} in between ──► a SYSTEM message where it stands
    mcp_servers ────────────────────► native tools of kind "mcp_server"

What no type of ours holds is kept beside what it stands in, and goes on to a provider of this dialect.
"""

from __future__ import annotations

from collections.abc import Mapping

from runtime.dialects.anthropic.blocks import NAME, part_of, parts_of, rest
from runtime.dialects.anthropic.wishes import parse_output, parse_reasoning, parse_tool_choice
from runtime.dialects.caching import take_cache
from runtime.dialects.fields import (
    Wrong,
    array,
    kind_name,
    obj,
    opt_bool,
    opt_int,
    opt_number,
    opt_obj,
    opt_text,
    text,
    texts,
)
from runtime.outcome import Failure
from runtime.request import Json, Message, NativeTool, Part, Request, Role, Sampling, Tool

MCP_SERVER = "mcp_server"
"""The kind of the native tools that are sent as `mcp_servers`."""

MESSAGE_EXTRA = "message."
"""Begins the paths of what stood beside a turn's content, where that turn's first message is a tool result."""

_KNOWN = frozenset(
    (
        *("model", "messages", "system", "max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "stream"),
        *("tools", "mcp_servers", "tool_choice", "thinking", "output_config", "output_format", "metadata"),
        "cache_control",
    )
)
_TOOL = frozenset(("type", "name", "description", "input_schema", "strict", "cache_control"))
_RESULT = frozenset(("type", "tool_use_id", "content", "is_error", "cache_control"))
_ROLES: Mapping[Json, Role] = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}


def parse_request(body: Json, *, model: str = "", stream: bool = False) -> Request | Failure:
    """The request in a parsed JSON body, or a `BAD_REQUEST` whose `param` names the field at fault.

    `model` and `stream` serve hosts that say them in the address; the body's own words go first.
    """
    try:
        return _request(_bounded(obj(body, "body")), model, stream=stream)
    except Wrong as wrong:
        return wrong.failure()


def parse_count(body: Json) -> Request | Failure:
    """The request whose tokens are to be counted: the same body, without `max_tokens`."""
    try:
        return _request(obj(body, "body"), "", stream=False)
    except Wrong as wrong:
        return wrong.failure()


def _bounded(body: dict[str, Json]) -> dict[str, Json]:
    if body.get("max_tokens") is None:
        raise Wrong("max_tokens", "max_tokens is missing: say how many tokens the answer may have at most.")
    return body


def _request(body: dict[str, Json], model: str, *, stream: bool) -> Request:
    extra: dict[str, Json] = {}
    rest(body, _KNOWN, extra)
    if body.get("messages") is None:
        raise Wrong("messages", "messages is missing: send an array of messages.")
    said = array(body["messages"], "messages")
    if not said:
        raise Wrong("messages", "messages must hold at least one message.")
    messages = _system(body.get("system"))
    for at, one in enumerate(said):
        messages.extend(_turn(one, f"messages[{at}]"))
    choice, parallel = parse_tool_choice(opt_obj(body, "tool_choice", "tool_choice"), extra)
    effort, response_format = parse_output(body, extra)
    user = _user(opt_obj(body, "metadata", "metadata") or {}, extra)
    streams = opt_bool(body, "stream", "stream")
    streams = stream if streams is None else streams
    return Request(
        messages=tuple(messages),
        model=opt_text(body, "model", "model") or model,
        sampling=Sampling(
            temperature=opt_number(body, "temperature", "temperature"),
            top_p=opt_number(body, "top_p", "top_p"),
            top_k=opt_int(body, "top_k", "top_k"),
            max_tokens=opt_int(body, "max_tokens", "max_tokens", least=0),
            stop=texts(body, "stop_sequences", "stop_sequences"),
        ),
        tools=_tools(body),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        response_format=response_format,
        reasoning=parse_reasoning(opt_obj(body, "thinking", "thinking"), effort, extra),
        cache=take_cache(body, extra),
        stream=streams,
        # A stream of this API always tells its usage.
        stream_usage=streams,
        user=user,
        extra=extra,
        dialect=NAME,
    )


def _system(said: Json) -> list[Message]:
    if said is None or said == "":
        return []
    parts = parts_of(said, "system")
    return [Message(role=Role.SYSTEM, parts=parts)] if parts else []


def _turn(said: Json, param: str) -> list[Message]:
    """The messages of one turn: each result of a tool is one of its own."""
    fields = obj(said, param)
    word = fields.get("role")
    role = _ROLES.get(word) if isinstance(word, str) else None
    if role is None:
        shown = f'"{word}"' if isinstance(word, str) else kind_name(word)
        raise Wrong(f"{param}.role", f"{param}.role must be user, assistant or system, but is {shown}.")
    extra: dict[str, Json] = {}
    rest(fields, ("role", "content"), extra)
    content = fields.get("content")
    where = f"{param}.content"
    if content is None and role is not Role.SYSTEM:
        raise Wrong(where, f"{where} is missing: send a string or an array of content blocks.")
    if not isinstance(content, list) or not any(_is_result(one) for one in content):
        return [Message(role=role, parts=parts_of(content, where), extra=extra)]
    if role is not Role.USER:
        raise Wrong(where, f"{where} holds a tool_result: results of tools belong into a user message.")
    return _split(content, where, extra)


def _is_result(block: Json) -> bool:
    return isinstance(block, dict) and block.get("type") == "tool_result"


def _split(content: list[Json], where: str, extra: dict[str, Json]) -> list[Message]:
    messages: list[Message] = []
    parts: list[Part] = []

    def close() -> None:
        if parts:
            messages.append(Message(role=Role.USER, parts=tuple(parts), extra=extra if not messages else {}))
            parts.clear()

    for at, block in enumerate(content):
        if _is_result(block):
            close()
            beside = {f"{MESSAGE_EXTRA}{name}": value for name, value in extra.items()} if not messages else {}
            messages.append(_result(block, f"{where}[{at}]", beside))
        else:
            parts.append(part_of(block, f"{where}[{at}]"))
    close()
    return messages


def _result(fields: dict[str, Json], param: str, extra: dict[str, Json]) -> Message:
    rest(fields, _RESULT, extra)
    return Message(
        role=Role.TOOL,
        parts=parts_of(fields.get("content"), f"{param}.content"),
        tool_call_id=text(fields.get("tool_use_id"), f"{param}.tool_use_id"),
        is_error=opt_bool(fields, "is_error", f"{param}.is_error"),
        cache=take_cache(fields, extra),
        extra=extra,
    )


def _tools(body: dict[str, Json]) -> tuple[Tool | NativeTool, ...]:
    said = body.get("tools")
    tools = [_tool(one, f"tools[{at}]") for at, one in enumerate(array(said, "tools"))] if said is not None else []
    said = body.get("mcp_servers")
    for at, one in enumerate(array(said, "mcp_servers")) if said is not None else ():
        tools.append(NativeTool(dialect=NAME, kind=MCP_SERVER, value=obj(one, f"mcp_servers[{at}]")))
    return tuple(tools)


def _tool(said: Json, where: str) -> Tool | NativeTool:
    fields = obj(said, where)
    kind = opt_text(fields, "type", f"{where}.type") or "custom"
    if kind != "custom":
        return NativeTool(dialect=NAME, kind=kind, value=fields)
    extra: dict[str, Json] = {}
    rest(fields, _TOOL, extra)
    return Tool(
        name=text(fields.get("name"), f"{where}.name"),
        description=opt_text(fields, "description", f"{where}.description"),
        parameters=opt_obj(fields, "input_schema", f"{where}.input_schema"),
        strict=opt_bool(fields, "strict", f"{where}.strict"),
        cache=take_cache(fields, extra),
        extra=extra,
    )


def _user(metadata: dict[str, Json], extra: dict[str, Json]) -> str | None:
    rest(metadata, ("user_id",), extra, "metadata")
    return opt_text(metadata, "user_id", "metadata.user_id")
