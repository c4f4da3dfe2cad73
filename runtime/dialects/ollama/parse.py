"""A body of Ollama's `/api/chat` as a `Request`: strict where we know a field, faithful where we do not.

Calls and results need not name each other here. Where a client gave no ids, a result answers the first call of its
tool that is still open; both get an id of our own, which `encode` leaves out again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runtime.dialects.encoding import invented_id, media_type_of, text_of_object
from runtime.dialects.fields import Wrong, array, kind_name, obj, opt_bool, opt_int, opt_number, opt_text, text, texts
from runtime.dialects.ollama.encode import OPTIONS
from runtime.dialects.ollama.messages import NAME
from runtime.dialects.paths import leftovers
from runtime.outcome import Failure, FailureKind
from runtime.request import (
    Effort,
    ImagePart,
    Json,
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
)

_KNOWN = ("model", "messages", "stream", "tools", "format", "options", "think")
_MESSAGE = ("role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id")
_ROLES = {role.value: role for role in (Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL)}
_EFFORTS: Mapping[Json, Effort] = {word: word for word in ("low", "medium", "high", "max")}


def parse_request(body: Json, *, model: str = "", stream: bool = False) -> Request | Failure:
    """The request in a parsed JSON body, or a failure whose `param` names the field at fault.

    The body itself says whether to stream: it does where it says nothing.
    """
    try:
        return _request(obj(body, "body"), model)
    except Wrong as wrong:
        return wrong.failure()


def _request(body: dict[str, Json], model: str) -> Request:
    if body.get("messages") is None:
        raise Wrong("messages", "messages is missing: send an array of messages.")
    extra: dict[str, Json] = {}
    _beside(body, _KNOWN, "", extra)
    streamed = opt_bool(body, "stream", "stream")
    return Request(
        messages=_messages(array(body["messages"], "messages")),
        model=opt_text(body, "model", "model") or model,
        sampling=_sampling(body.get("options"), extra),
        tools=tuple(_tool(one, f"tools[{at}]") for at, one in enumerate(_list(body, "tools", "tools"))),
        response_format=_response_format(body.get("format")),
        reasoning=_reasoning(body.get("think")),
        stream=True if streamed is None else streamed,
        extra=extra,
        dialect=NAME,
    )


def _messages(said: list[Json]) -> tuple[Message, ...]:
    found: list[Message] = []
    waiting: list[ToolCall] = []
    for position, one in enumerate(said):
        message = _message(one, position, waiting)
        found.append(message)
        if message.tool_calls:
            waiting = list(message.tool_calls)
    return tuple(found)


def _message(said: Json, position: int, waiting: list[ToolCall]) -> Message:
    where = f"messages[{position}]"
    fields = obj(said, where)
    role = _role(fields.get("role"), f"{where}.role")
    extra: dict[str, Json] = {}
    _beside(fields, _MESSAGE, "", extra)
    parts: list[Part] = []
    if thinking := opt_text(fields, "thinking", f"{where}.thinking"):
        parts.append(ReasoningPart(text=thinking))
    # The server puts images before the text.
    images = texts(fields, "images", f"{where}.images")
    parts.extend(ImagePart(data=data, media_type=media_type_of(data, None)) for data in images)
    if content := opt_text(fields, "content", f"{where}.content"):
        parts.append(TextPart(content))
    for at, one in enumerate(_list(fields, "tool_calls", f"{where}.tool_calls")):
        parts.append(_call(one, f"{where}.tool_calls[{at}]", invented_id(str(position), at)))
    name = opt_text(fields, "tool_name", f"{where}.tool_name")
    call_id = opt_text(fields, "tool_call_id", f"{where}.tool_call_id")
    if role is Role.TOOL:
        call_id = _answered(call_id, name, waiting) or invented_id(str(position), 0)
    return Message(role=role, parts=tuple(parts), name=name, tool_call_id=call_id, extra=extra)


def _answered(call_id: str | None, name: str | None, waiting: list[ToolCall]) -> str | None:
    """The id of the call that a result answers, which then waits no more."""
    for call in waiting:
        found = call.id == call_id if call_id else name in (None, call.name)
        if found:
            waiting.remove(call)
            return call.id
    return call_id


def _role(word: Json, param: str) -> Role:
    role = _ROLES.get(word.lower()) if isinstance(word, str) else None
    if role is not None:
        return role
    shown = f'"{word}"' if isinstance(word, str) else kind_name(word)
    raise Wrong(
        param,
        f"{param} must be one of {', '.join(_ROLES)}, but is {shown}.",
        # Templates of single models know more roles (control); those are theirs alone.
        FailureKind.UNSUPPORTED if isinstance(word, str) else FailureKind.BAD_REQUEST,
    )


def _call(said: Json, where: str, invented: str) -> ToolCall:
    fields = obj(said, where)
    function = obj(fields.get("function"), f"{where}.function")
    _only_functions(fields, where)
    extra: dict[str, Json] = {}
    _beside(fields, ("id", "type", "function"), "", extra)
    _beside(function, ("name", "arguments"), "function", extra)
    arguments = function.get("arguments")
    return ToolCall(
        id=opt_text(fields, "id", f"{where}.id") or invented,
        name=text(function.get("name"), f"{where}.function.name"),
        arguments="{}" if arguments is None else text_of_object(obj(arguments, f"{where}.function.arguments")),
        extra=extra,
    )


def _tool(said: Json, where: str) -> Tool:
    fields = obj(said, where)
    function = obj(fields.get("function"), f"{where}.function")
    _only_functions(fields, where)
    extra: dict[str, Json] = {}
    _beside(fields, ("type", "function"), "", extra)
    _beside(function, ("name", "description", "parameters"), "function", extra)
    parameters = function.get("parameters")
    return Tool(
        name=text(function.get("name"), f"{where}.function.name"),
        description=opt_text(function, "description", f"{where}.function.description"),
        parameters=None if parameters is None else obj(parameters, f"{where}.function.parameters"),
        extra=extra,
    )


def _only_functions(fields: Mapping[str, Json], where: str) -> None:
    if fields.get("type") not in (None, "function"):
        raise Wrong(f"{where}.type", f'{where}.type must be "function".')


def _sampling(said: Json, extra: dict[str, Json]) -> Sampling:
    if said is None:
        return Sampling()
    options = obj(said, "options")
    _beside(options, OPTIONS.values(), "options", extra)
    most = opt_int(options, "num_predict", "options.num_predict")
    if most is not None and most < 1:
        # Words of this server alone: -1 is without end, -2 to the end of the context.
        extra["options.num_predict"] = most
        most = None
    stop = options.get("stop")
    return Sampling(
        temperature=opt_number(options, "temperature", "options.temperature"),
        top_p=opt_number(options, "top_p", "options.top_p"),
        top_k=opt_int(options, "top_k", "options.top_k"),
        max_tokens=most,
        frequency_penalty=opt_number(options, "frequency_penalty", "options.frequency_penalty"),
        presence_penalty=opt_number(options, "presence_penalty", "options.presence_penalty"),
        stop=(stop,) if isinstance(stop, str) else texts(options, "stop", "options.stop"),
        seed=opt_int(options, "seed", "options.seed"),
    )


def _response_format(said: Json) -> ResponseFormat | None:
    match said:
        case None | "":
            return None
        case "json":
            return ResponseFormat(kind="json_object")
        case dict():
            return ResponseFormat(kind="json_schema", schema=said)
        case _:
            raise Wrong("format", 'format must be "json" or a JSON schema.')


def _reasoning(said: Json) -> Reasoning | None:
    match said:
        case None:
            return None
        case bool():
            return Reasoning(enabled=said)
        case str() if said in _EFFORTS:
            return Reasoning(effort=_EFFORTS[said])
        case _:
            raise Wrong("think", f'think must be true, false, or one of "{", ".join(_EFFORTS)}".')


def _list(fields: Mapping[str, Json], key: str, param: str) -> list[Json]:
    value = fields.get(key)
    return [] if value is None else array(value, param)


def _beside(fields: Mapping[str, Json], known: Iterable[str], prefix: str, extra: dict[str, Json]) -> None:
    """What no type holds; null says nothing."""
    found: dict[str, Json] = {}
    leftovers(fields, known, prefix, found)
    extra.update((path, value) for path, value in found.items() if value is not None)
