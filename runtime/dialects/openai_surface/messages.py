"""The messages of a chat completions body."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.dialects.caching import take_cache
from runtime.dialects.encoding import invented_id, split_data_url
from runtime.dialects.fields import Wrong, array, kind_name, obj, opt_obj, opt_text, text
from runtime.dialects.openai.reading import NAMED, thought_of
from runtime.dialects.paths import leftovers
from runtime.request import (
    AudioPart,
    CacheHint,
    FilePart,
    ImagePart,
    Json,
    Message,
    NativePart,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCall,
    VideoPart,
)
from runtime.values import maker

new_text_part = maker(TextPart)

new_message = maker(Message)

_MESSAGE = frozenset(
    (
        *("role", "content", "name", "tool_call_id", "tool_calls", "refusal", "cache_control"),
        *("reasoning", "reasoning_content", "reasoning_details"),
    )
)
_ROLES = {role.value: role for role in Role}
_CALL = ("id", "type", "function", "custom", "extra_content", "cache_control")


def parse_messages(said: list[Json]) -> tuple[Message, ...]:
    """All messages, in order. Raises `Wrong`."""
    messages: list[Message] = []
    for at, one in enumerate(said):
        if (plain := _plain(one)) is not None:
            messages.append(plain)
            continue
        param = f"messages[{at}]"
        fields = obj(one, param)
        if fields.get("role") == "function":
            fields = _as_result(fields, param, messages)
        elif fields.get("function_call") is not None:
            fields = _as_call(fields, param)
        messages.append(_message(fields, param))
    return tuple(messages)


def _plain(said: Json) -> Message | None:
    """What nearly all messages are, a role and a text; None for anything else."""
    if not isinstance(said, dict) or len(said) != 2:
        return None
    word, content = said.get("role"), said.get("content")
    if not isinstance(word, str) or not isinstance(content, str) or not content or word == Role.TOOL:
        return None
    role = _ROLES.get(word)
    return None if role is None else new_message(role=role, parts=(new_text_part(content),))


def _as_call(fields: dict[str, Json], param: str) -> dict[str, Json]:
    """An assistant's `function_call` as the tool call that it is called today."""
    rest = {name: value for name, value in fields.items() if name != "function_call"}
    call = {"id": invented_id(param, 0), "type": "function", "function": fields["function_call"]}
    return {**rest, "tool_calls": [call]}


def _as_result(fields: dict[str, Json], param: str, before: list[Message]) -> dict[str, Json]:
    """A message of role `function` as the result of the last call of that name."""
    name = text(fields.get("name"), f"{param}.name")
    calls = [call for message in before for call in message.tool_calls if call.name == name]
    if not calls:
        raise Wrong(f"{param}.name", f'{param}.name "{name}" answers no function_call before it.')
    rest = {key: value for key, value in fields.items() if key != "name"}
    return {**rest, "role": "tool", "tool_call_id": calls[-1].id}


def _message(fields: dict[str, Json], param: str) -> Message:
    word = fields.get("role")
    role = _ROLES.get(word) if isinstance(word, str) else None
    if role is None:
        shown = f'"{word}"' if isinstance(word, str) else kind_name(word)
        raise Wrong(f"{param}.role", f"{param}.role must be one of {', '.join(_ROLES)}, but is {shown}.")
    extra: dict[str, Json] = {}
    if not fields.keys() <= _MESSAGE:
        leftovers(fields, _MESSAGE, "", extra)
    parts: list[Part] = _thoughts(fields, param) if role is Role.ASSISTANT else []
    refusal = _content(fields, role, param, parts)
    if fields.get("tool_calls") is not None:
        calls = array(fields["tool_calls"], f"{param}.tool_calls")
        parts.extend(_call(one, f"{param}.tool_calls[{at}]") for at, one in enumerate(calls))
    tool_call_id = opt_text(fields, "tool_call_id", f"{param}.tool_call_id")
    if role is Role.TOOL and not tool_call_id:
        raise Wrong(f"{param}.tool_call_id", f"{param}.tool_call_id is missing: name the tool call that this answers.")
    return Message(
        role=role,
        parts=tuple(parts),
        name=opt_text(fields, "name", f"{param}.name"),
        tool_call_id=tool_call_id,
        refusal=refusal,
        cache=take_cache(fields, extra),
        extra=extra,
    )


def _content(fields: Mapping[str, Json], role: Role, param: str, parts: list[Part]) -> str | None:
    """Add the content to `parts`; the words of a refusal come back."""
    refusal = opt_text(fields, "refusal", f"{param}.refusal")
    content = fields.get("content")
    if isinstance(content, str):
        if content:
            parts.append(TextPart(content))
    elif isinstance(content, list):
        for at, one in enumerate(content):
            part = _part(one, f"{param}.content[{at}]")
            if isinstance(part, str):
                refusal = (refusal or "") + part
            else:
                parts.append(part)
    elif content is not None:
        raise Wrong(
            f"{param}.content",
            f"{param}.content must be a string or an array of content parts, but is {kind_name(content)}.",
        )
    elif role is not Role.ASSISTANT:
        raise Wrong(f"{param}.content", f"{param}.content is missing: send a string or an array of content parts.")
    return refusal


def _thoughts(fields: Mapping[str, Json], param: str) -> list[Part]:
    """Earlier thoughts: OpenRouter's details, else plain text under either of its two names."""
    details = fields.get("reasoning_details")
    if isinstance(details, list) and details:
        where = f"{param}.reasoning_details"
        return [thought_of(obj(one, f"{where}[{at}]")) for at, one in enumerate(details)]
    said = {name: opt_text(fields, name, f"{param}.{name}") for name in ("reasoning_content", "reasoning")}
    names = [name for name, thought in said.items() if thought]
    if not names:
        return []
    # Hosts differ in which of the two they read, and clients that know this send both: what was said goes back.
    return [ReasoningPart(text=said[names[0]] or "", extra={} if names == ["reasoning_content"] else {NAMED: names})]


def _part(said: Json, param: str) -> Part | str:
    """One content part; the text of a refusal comes back bare."""
    fields = obj(said, param)
    word = text(fields.get("type"), f"{param}.type")
    extra: dict[str, Json] = {}
    cache = take_cache(fields, extra) if "cache_control" in fields else None
    if word == "text":
        if len(fields) > 2:
            leftovers(fields, ("type", "text", "cache_control"), "", extra)
        return TextPart(text(fields.get("text"), f"{param}.text"), cache=cache, extra=extra)
    leftovers(fields, ("type", word, "cache_control"), "", extra)
    match word:
        case "refusal":
            return text(fields.get("refusal"), f"{param}.refusal")
        case "image_url":
            image = obj(fields.get(word), f"{param}.{word}")
            leftovers(image, ("url", "detail"), word, extra)
            detail = opt_text(image, "detail", f"{param}.{word}.detail")
            url = text(image.get("url"), f"{param}.{word}.url")
            if inline := split_data_url(url):
                return ImagePart(data=inline[1], media_type=inline[0], detail=detail, cache=cache, extra=extra)
            return ImagePart(url=url, detail=detail, cache=cache, extra=extra)
        case "input_audio":
            audio = obj(fields.get(word), f"{param}.{word}")
            leftovers(audio, ("data", "format"), word, extra)
            return AudioPart(
                data=text(audio.get("data"), f"{param}.{word}.data"),
                format=text(audio.get("format"), f"{param}.{word}.format"),
                cache=cache,
                extra=extra,
            )
        case "video_url":
            video = obj(fields.get(word), f"{param}.{word}")
            leftovers(video, ("url",), word, extra)
            url = text(video.get("url"), f"{param}.{word}.url")
            if inline := split_data_url(url):
                return VideoPart(data=inline[1], media_type=inline[0], cache=cache, extra=extra)
            return VideoPart(url=url, cache=cache, extra=extra)
        case "file":
            return _file(obj(fields.get(word), f"{param}.{word}"), f"{param}.{word}", cache, extra)
        case _:
            # Hosts have kinds of parts of their own; whoever does not know this one says so.
            return NativePart(dialect="openai", kind=word, value=fields)


def _file(file: dict[str, Json], param: str, cache: CacheHint | None, extra: dict[str, Json]) -> FilePart:
    leftovers(file, ("file_data", "file_id", "filename"), "file", extra)
    said = opt_text(file, "file_data", f"{param}.file_data")
    inline = split_data_url(said) if said else None
    remote = said is not None and said.startswith(("http://", "https://"))
    return FilePart(
        url=said if remote else None,
        data=inline[1] if inline else None if remote else said,
        media_type=inline[0] if inline else None,
        file_id=opt_text(file, "file_id", f"{param}.file_id"),
        name=opt_text(file, "filename", f"{param}.filename"),
        cache=cache,
        extra=extra,
    )


def _call(said: Json, where: str) -> ToolCall:
    fields = obj(said, where)
    extra: dict[str, Json] = {}
    leftovers(fields, _CALL, "", extra)
    kind = fields.get("type", "function")
    if kind == "custom":
        custom = obj(fields.get("custom"), f"{where}.custom")
        leftovers(custom, ("name", "input"), "custom", extra)
        extra["type"] = "custom"
        name, arguments = custom.get("name"), text(custom.get("input"), f"{where}.custom.input")
    elif kind == "function":
        function = obj(fields.get("function"), f"{where}.function")
        leftovers(function, ("name", "arguments"), "function", extra)
        name, arguments = function.get("name"), text(function.get("arguments"), f"{where}.function.arguments")
    else:
        raise Wrong(f"{where}.type", f'{where}.type must be "function" or "custom".')
    return ToolCall(
        id=text(fields.get("id"), f"{where}.id"),
        name=text(name, f"{where}.{kind}.name"),
        arguments=arguments,
        signature=_signature(opt_obj(fields, "extra_content", f"{where}.extra_content"), extra),
        cache=take_cache(fields, extra),
        extra=extra,
    )


def _signature(said: dict[str, Json] | None, extra: dict[str, Json]) -> str:
    """Google's mark on a tool call, where its own OpenAI endpoint puts it."""
    match said:
        case None:
            return ""
        case {"google": {"thought_signature": str(signature)} as inner} if len(said) == len(inner) == 1:
            return signature
        case _:
            extra["extra_content"] = said
            return ""
