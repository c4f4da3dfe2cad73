"""A body of Cohere's chat as a `Request`: strict where we know a field, faithful where we do not.

The documents beside the messages belong to the question: they become parts at the head of the last user's turn.
"""

from __future__ import annotations

from dataclasses import replace

from runtime.dialects.cohere.messages import JSON_DOCUMENT, NAME, PLAN, THINKING
from runtime.dialects.cohere.reading import attach
from runtime.dialects.encoding import split_data_url, text_of_object
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
from runtime.dialects.paths import leftovers
from runtime.outcome import Failure
from runtime.request import (
    FilePart,
    ImagePart,
    Json,
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
)

_KNOWN = frozenset(
    (
        *("model", "messages", "documents", "tools", "strict_tools", "tool_choice", "response_format", "thinking"),
        *("temperature", "p", "k", "max_tokens", "stop_sequences", "seed", "frequency_penalty", "presence_penalty"),
        "stream",
    )
)
_ROLES = {role.value: role for role in (Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL)}
_MESSAGE = {
    Role.SYSTEM: frozenset(("role", "content", "tool_calls")),
    Role.USER: frozenset(("role", "content", "tool_calls")),
    Role.ASSISTANT: frozenset(("role", "content", "tool_calls", PLAN, "citations")),
    Role.TOOL: frozenset(("role", "content", "tool_calls", "tool_call_id")),
}


def parse_request(body: Json, *, model: str = "", stream: bool = False) -> Request | Failure:
    """The request in a parsed JSON body, or a `BAD_REQUEST` whose `param` names the field at fault."""
    try:
        return _request(obj(body, "body"), model, stream=stream)
    except Wrong as wrong:
        return wrong.failure()


def _request(body: dict[str, Json], model: str, *, stream: bool) -> Request:
    extra: dict[str, Json] = {}
    if not body.keys() <= _KNOWN:
        leftovers(body, _KNOWN, "", extra)
    if "messages" not in body:
        raise Wrong("messages", "messages is missing: send an array of messages, as version 2 of the API has them.")
    said = array(body["messages"], "messages")
    if not said:
        raise Wrong("messages", "messages must hold at least one message.")
    messages = [_message(one, f"messages[{at}]") for at, one in enumerate(said)]
    if body.get("documents") is not None:
        documents = array(body["documents"], "documents")
        _beside(messages, [_document(one, f"documents[{at}]") for at, one in enumerate(documents)])
    stream = opt_bool(body, "stream", "stream") or stream
    return Request(
        messages=tuple(messages),
        model=opt_text(body, "model", "model") or model,
        sampling=_sampling(body),
        tools=_tools(body, extra),
        tool_choice=_tool_choice(body),
        response_format=_response_format(body),
        reasoning=_reasoning(body, extra),
        stream=stream,
        # Cohere's streams always end with the usage.
        stream_usage=stream,
        extra=extra,
        dialect=NAME,
    )


def _sampling(body: dict[str, Json]) -> Sampling:
    return Sampling(
        temperature=opt_number(body, "temperature", "temperature"),
        top_p=opt_number(body, "p", "p"),
        top_k=opt_int(body, "k", "k"),
        max_tokens=opt_int(body, "max_tokens", "max_tokens", least=0),
        frequency_penalty=opt_number(body, "frequency_penalty", "frequency_penalty"),
        presence_penalty=opt_number(body, "presence_penalty", "presence_penalty"),
        stop=texts(body, "stop_sequences", "stop_sequences"),
        seed=opt_int(body, "seed", "seed"),
    )


def _message(said: Json, param: str) -> Message:
    fields = obj(said, param)
    word = fields.get("role")
    role = _ROLES.get(word) if isinstance(word, str) else None
    if role is None:
        shown = f'"{word}"' if isinstance(word, str) else kind_name(word)
        raise Wrong(f"{param}.role", f"{param}.role must be one of {', '.join(_ROLES)}, but is {shown}.")
    extra: dict[str, Json] = {}
    if not fields.keys() <= _MESSAGE[role]:
        leftovers(fields, _MESSAGE[role], "", extra)
    calls = fields.get("tool_calls")
    calls = [] if calls is None else array(calls, f"{param}.tool_calls")
    if calls and role is not Role.ASSISTANT:
        raise Wrong(f"{param}.tool_calls", f"{param}.tool_calls: only the assistant calls tools.")
    parts = _content(fields, role, param, acts=bool(calls))
    if role is Role.ASSISTANT:
        if fields.get("citations"):
            parts, rest = attach(parts, array(fields["citations"], f"{param}.citations"))
            if rest:
                extra["citations"] = rest
        plan = opt_text(fields, PLAN, f"{param}.{PLAN}")
        if plan:
            parts.append(ReasoningPart(text=plan, extra={} if calls else {"type": PLAN}))
        parts += [_call(one, f"{param}.tool_calls[{at}]") for at, one in enumerate(calls)]
    tool_call_id = None
    if role is Role.TOOL:
        tool_call_id = opt_text(fields, "tool_call_id", f"{param}.tool_call_id")
        if not tool_call_id:
            detail = f"{param}.tool_call_id is missing: name the tool call that this answers."
            raise Wrong(f"{param}.tool_call_id", detail)
    return Message(role=role, parts=tuple(parts), tool_call_id=tool_call_id, extra=extra)


def _content(fields: dict[str, Json], role: Role, param: str, *, acts: bool) -> list[Part]:
    content = fields.get("content")
    if isinstance(content, str):
        return [TextPart(content)] if content else []
    if isinstance(content, list):
        return [_part(one, f"{param}.content[{at}]", acts=acts) for at, one in enumerate(content)]
    if content is not None:
        detail = f"{param}.content must be a string or an array of content parts, but is {kind_name(content)}."
        raise Wrong(f"{param}.content", detail)
    if role is not Role.ASSISTANT:
        raise Wrong(f"{param}.content", f"{param}.content is missing: send a string or an array of content parts.")
    return []


def _part(said: Json, param: str, *, acts: bool) -> Part:
    """One content part of a turn that calls tools (`acts`), or of one that does not."""
    fields = obj(said, param)
    word = text(fields.get("type"), f"{param}.type")
    extra: dict[str, Json] = {}
    match word:
        case "text":
            leftovers(fields, ("type", "text"), "", extra)
            return TextPart(text(fields.get("text"), f"{param}.text"), extra=extra)
        case "thinking":
            leftovers(fields, ("type", "thinking"), "", extra)
            if acts:
                # Without this mark, what is thought in such a turn is its plan.
                extra["type"] = THINKING
            return ReasoningPart(text=text(fields.get("thinking"), f"{param}.thinking"), extra=extra)
        case "image_url":
            return _image(fields, param)
        case "document":
            leftovers(fields, ("type", "document"), "", extra)
            return _document(obj(fields.get("document"), f"{param}.document"), f"{param}.document", extra)
        case _:
            # A kind of part that is newer than we are; whoever does not know it says so.
            return NativePart(dialect=NAME, kind=word, value=fields)


def _image(fields: dict[str, Json], param: str) -> ImagePart:
    extra: dict[str, Json] = {}
    leftovers(fields, ("type", "image_url"), "", extra)
    image = obj(fields.get("image_url"), f"{param}.image_url")
    leftovers(image, ("url", "detail"), "image_url", extra)
    url = text(image.get("url"), f"{param}.image_url.url")
    detail = opt_text(image, "detail", f"{param}.image_url.detail")
    inline = split_data_url(url)
    if inline and inline[0]:
        return ImagePart(data=inline[1], media_type=inline[0], detail=detail, extra=extra)
    return ImagePart(url=url, detail=detail, extra=extra)


def _document(said: Json, param: str, extra: dict[str, Json] | None = None) -> FilePart:
    """A document: bare text, or data and an id. Text, with or without a title, is text; any other data is JSON."""
    if isinstance(said, str):
        return FilePart(text=said)
    fields = obj(said, param)
    extra = {} if extra is None else extra
    leftovers(fields, ("data",), "document", extra)
    data = obj(fields.get("data"), f"{param}.data")
    match data:
        case {"text": str(words), "title": str(title)} if len(data) == 2:
            return FilePart(text=words, name=title, extra=extra)
        case {"text": str(words)} if len(data) == 1:
            return FilePart(text=words, extra=extra)
        case _:
            return FilePart(text=text_of_object(data), media_type=JSON_DOCUMENT, extra=extra)


def _beside(messages: list[Message], documents: list[FilePart]) -> None:
    """Put the documents into the last user's turn, or into one of their own."""
    if not documents:
        return
    for position in reversed(range(len(messages))):
        if messages[position].role is Role.USER:
            messages[position] = replace(messages[position], parts=(*documents, *messages[position].parts))
            return
    messages.append(Message(role=Role.USER, parts=tuple(documents)))


def _call(said: Json, where: str) -> ToolCall:
    fields = obj(said, where)
    extra: dict[str, Json] = {}
    leftovers(fields, ("id", "type", "function"), "", extra)
    if fields.get("type", "function") != "function":
        raise Wrong(f"{where}.type", f'{where}.type must be "function".')
    function = obj(fields.get("function"), f"{where}.function")
    leftovers(function, ("name", "arguments"), "function", extra)
    return ToolCall(
        id=text(fields.get("id"), f"{where}.id"),
        name=text(function.get("name"), f"{where}.function.name"),
        arguments=opt_text(function, "arguments", f"{where}.function.arguments") or "",
        extra=extra,
    )


def _tools(body: dict[str, Json], extra: dict[str, Json]) -> tuple[Tool | NativeTool, ...]:
    said = body.get("tools")
    said = [] if said is None else array(said, "tools")
    strict = opt_bool(body, "strict_tools", "strict_tools")
    tools = tuple(_tool(obj(one, f"tools[{at}]"), f"tools[{at}]", strict=strict) for at, one in enumerate(said))
    if strict is not None and not any(isinstance(tool, Tool) for tool in tools):
        extra["strict_tools"] = strict
    return tools


def _tool(fields: dict[str, Json], param: str, *, strict: bool | None) -> Tool | NativeTool:
    kind = fields.get("type", "function")
    if kind != "function":
        return NativeTool(dialect=NAME, kind=text(kind, f"{param}.type"), value=fields)
    extra: dict[str, Json] = {}
    leftovers(fields, ("type", "function"), "", extra)
    function = obj(fields.get("function"), f"{param}.function")
    leftovers(function, ("name", "description", "parameters"), "function", extra)
    return Tool(
        name=text(function.get("name"), f"{param}.function.name"),
        description=opt_text(function, "description", f"{param}.function.description"),
        parameters=opt_obj(function, "parameters", f"{param}.function.parameters"),
        strict=strict,
        extra=extra,
    )


def _tool_choice(body: dict[str, Json]) -> ToolChoice | None:
    match body.get("tool_choice"):
        case None:
            return None
        case "REQUIRED":
            return ToolChoice(mode="required")
        case "NONE":
            return ToolChoice(mode="none")
        case _:
            raise Wrong("tool_choice", "tool_choice must be REQUIRED or NONE, or left out: the model is free then.")


def _response_format(body: dict[str, Json]) -> ResponseFormat | None:
    fields = opt_obj(body, "response_format", "response_format")
    if fields is None:
        return None
    kind = fields.get("type")
    if kind not in ("text", "json_object"):
        raise Wrong("response_format.type", "response_format.type must be text or json_object.")
    extra: dict[str, Json] = {}
    leftovers(fields, ("type", "json_schema"), "", extra)
    schema = opt_obj(fields, "json_schema", "response_format.json_schema")
    if schema is None:
        return ResponseFormat(kind="text" if kind == "text" else "json_object", extra=extra)
    if kind == "text":
        raise Wrong("response_format.json_schema", "response_format.json_schema needs the type json_object.")
    return ResponseFormat(kind="json_schema", schema=schema, extra=extra)


def _reasoning(body: dict[str, Json], extra: dict[str, Json]) -> Reasoning | None:
    fields = opt_obj(body, "thinking", "thinking")
    if fields is None:
        return None
    leftovers(fields, ("type", "token_budget"), "thinking", extra)
    kind = fields.get("type")
    if kind not in (None, "enabled", "disabled"):
        raise Wrong("thinking.type", "thinking.type must be enabled or disabled.")
    return Reasoning(
        enabled=None if kind is None else kind == "enabled",
        budget_tokens=opt_int(fields, "token_budget", "thinking.token_budget", least=0),
    )
