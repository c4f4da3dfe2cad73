"""A `generateContent` body as a `Request`: strict where we know a field, faithful where we do not.

The model and whether to stream stand in the address. Field names may be in camel or snake case, and one object may
stand for a list (see `words`).
"""

from __future__ import annotations

from dataclasses import replace

from runtime.dialects.encoding import invented_id
from runtime.dialects.fields import Wrong, kind_name, obj, opt_int, opt_number, opt_obj, opt_text, text
from runtime.dialects.google.parts import NAME, part_of
from runtime.dialects.google.results import text_of_response
from runtime.dialects.google.schema import json_schema_of
from runtime.dialects.google.thinking import parse_thinking
from runtime.dialects.google.words import camel_deep, fields_of, leftover_fields, many, opt_fields
from runtime.outcome import Failure
from runtime.request import (
    Json,
    Message,
    NativeTool,
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

_TOP = frozenset(("model", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig"))
_CONFIG = frozenset(
    (
        *("temperature", "topP", "topK", "maxOutputTokens", "candidateCount", "stopSequences", "seed"),
        *("presencePenalty", "frequencyPenalty", "thinkingConfig"),
        *("responseMimeType", "responseSchema", "responseJsonSchema"),
    )
)
_CONTENT = frozenset(("role", "parts"))
_DECLARATION = frozenset(("name", "description", "parameters", "parametersJsonSchema"))
_RESULT = frozenset(("id", "name", "response", "parts"))
_ROLES = {"": Role.USER, "user": Role.USER, "function": Role.USER, "model": Role.ASSISTANT}


def parse_request(body: Json, *, model: str = "", stream: bool = False) -> Request | Failure:
    """The request in a parsed JSON body, or a `BAD_REQUEST` whose `param` names the field at fault."""
    try:
        return _request(fields_of(body, "body"), model=model, stream=stream)
    except Wrong as wrong:
        return wrong.failure()


def _request(body: dict[str, Json], *, model: str, stream: bool) -> Request:
    extra: dict[str, Json] = {}
    leftover_fields(body, _TOP, "", extra)
    config = opt_fields(body, "generationConfig", "generationConfig")
    leftover_fields(config, _CONFIG, "generationConfig.", extra)
    said = many(body.get("contents"))
    if not said:
        raise Wrong("contents", "contents is missing: send at least one content with a part.")
    reader = _Contents()
    instruction = body.get("systemInstruction")
    if instruction is not None:
        reader.instruct(instruction)
    for at, one in enumerate(said):
        reader.read(one, at)
    return Request(
        messages=tuple(reader.messages),
        model=(model or opt_text(body, "model", "model") or "").removeprefix("models/"),
        sampling=_sampling(config),
        choices=opt_int(config, "candidateCount", "generationConfig.candidateCount", least=0) or 1,
        tools=_tools(body.get("tools")),
        tool_choice=_tool_choice(body, extra),
        response_format=_response_format(config, extra),
        reasoning=parse_thinking(config, extra),
        stream=stream,
        # Google reports usage in every stream.
        stream_usage=stream,
        extra=extra,
        dialect=NAME,
    )


def _sampling(config: dict[str, Json]) -> Sampling:
    where = "generationConfig"
    return Sampling(
        temperature=opt_number(config, "temperature", f"{where}.temperature", least=0),
        top_p=opt_number(config, "topP", f"{where}.topP", least=0),
        top_k=opt_int(config, "topK", f"{where}.topK"),
        max_tokens=opt_int(config, "maxOutputTokens", f"{where}.maxOutputTokens", least=1),
        frequency_penalty=opt_number(config, "frequencyPenalty", f"{where}.frequencyPenalty"),
        presence_penalty=opt_number(config, "presencePenalty", f"{where}.presencePenalty"),
        stop=tuple(
            text(one, f"{where}.stopSequences[{at}]") for at, one in enumerate(many(config.get("stopSequences")))
        ),
        seed=opt_int(config, "seed", f"{where}.seed"),
    )


class _Contents:
    """Reads the turns in order. A result without an id answers the first call of its name that is still open."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._open: list[tuple[str, str]] = []
        self._invented = 0

    def instruct(self, said: Json) -> None:
        """The system instruction. Its role means nothing to Google, so it is not kept."""
        where = "systemInstruction"
        fields = fields_of(said, where)
        extra: dict[str, Json] = {}
        leftover_fields(fields, _CONTENT, "", extra)
        parts = tuple(
            part_of(one, f"{where}.parts[{at}]", lambda _: "") for at, one in enumerate(many(fields.get("parts")))
        )
        self.messages.append(Message(role=Role.SYSTEM, parts=parts, extra=extra))

    def read(self, said: Json, at: int) -> None:
        where = f"contents[{at}]"
        fields = fields_of(said, where)
        role = _role(fields.get("role"), f"{where}.role")
        extra: dict[str, Json] = {}
        leftover_fields(fields, _CONTENT, "", extra)
        first = len(self.messages)
        run: list[Part] = []

        def end_of_run() -> None:
            if run:
                self.messages.append(Message(role=role, parts=tuple(run)))
                run.clear()

        for number, one in enumerate(many(fields.get("parts"))):
            param = f"{where}.parts[{number}]"
            part = fields_of(one, param)
            if "functionResponse" in part:
                end_of_run()
                self.messages.append(self._result(part, param, at))
            else:
                found = part_of(part, param, lambda _: self._invent(at))
                if isinstance(found, ToolCall):
                    self._open.append((found.id, found.name))
                run.append(found)
        end_of_run()
        if len(self.messages) == first:
            self.messages.append(Message(role=role, extra=extra))
        elif extra:
            begun = self.messages[first]
            self.messages[first] = replace(begun, extra={**begun.extra, **extra})

    def _invent(self, at: int) -> str:
        self._invented += 1
        return invented_id(str(at), self._invented - 1)

    def _result(self, part: dict[str, Json], param: str, at: int) -> Message:
        where = f"{param}.functionResponse"
        said = fields_of(part["functionResponse"], where)
        name = text(said.get("name"), f"{where}.name")
        response = opt_obj(said, "response", f"{where}.response") or {}
        words, failed = text_of_response(response, f"{where}.response")
        extra: dict[str, Json] = {}
        if part.get("thought") is False:
            del part["thought"]
        leftover_fields(part, frozenset(("functionResponse",)), "part.", extra)
        leftover_fields(said, _RESULT, "part.functionResponse.", extra)
        media = [
            part_of(one, f"{where}.parts[{number}]", lambda _: "") for number, one in enumerate(many(said.get("parts")))
        ]
        return Message(
            role=Role.TOOL,
            parts=(TextPart(words), *media),
            name=name,
            tool_call_id=self._answered(opt_text(said, "id", f"{where}.id"), name, at),
            is_error=failed,
            extra=extra,
        )

    def _answered(self, given: str | None, name: str, at: int) -> str:
        """The id of the call that this answers, which is closed with it."""
        for number, (call_id, call_name) in enumerate(self._open):
            if call_id == given if given else call_name == name:
                del self._open[number]
                return call_id
        return given or self._invent(at)


def _role(said: Json, param: str) -> Role:
    role = _ROLES.get(said if isinstance(said, str) else "" if said is None else "?")
    if role is None:
        shown = f'"{said}"' if isinstance(said, str) else kind_name(said)
        raise Wrong(param, f"{param} must be user or model, but is {shown}.")
    return role


def _tools(said: Json) -> tuple[Tool | NativeTool, ...]:
    tools: list[Tool | NativeTool] = []
    for at, one in enumerate(many(said)):
        where = f"tools[{at}]"
        for kind, value in fields_of(one, where).items():
            if kind == "functionDeclarations":
                tools += [
                    _tool(declaration, f"{where}.{kind}[{number}]") for number, declaration in enumerate(many(value))
                ]
            else:
                tools.append(NativeTool(dialect=NAME, kind=kind, value={kind: camel_deep(value)}))
    return tuple(tools)


def _tool(said: Json, where: str) -> Tool:
    fields = fields_of(said, where)
    extra: dict[str, Json] = {}
    leftover_fields(fields, _DECLARATION, "", extra)
    if "parameters" in fields and "parametersJsonSchema" in fields:
        raise Wrong(where, f"{where} holds both parameters and parametersJsonSchema: send one.")
    parameters = fields.get("parametersJsonSchema")
    if "parameters" in fields:
        parameters = json_schema_of(obj(fields["parameters"], f"{where}.parameters"))
    return Tool(
        name=text(fields.get("name"), f"{where}.name"),
        description=opt_text(fields, "description", f"{where}.description"),
        parameters=parameters,
        extra=extra,
    )


def _tool_choice(body: dict[str, Json], extra: dict[str, Json]) -> ToolChoice | None:
    config = opt_fields(body, "toolConfig", "toolConfig")
    leftover_fields(config, frozenset(("functionCallingConfig",)), "toolConfig.", extra)
    where = "toolConfig.functionCallingConfig"
    said = opt_fields(config, "functionCallingConfig", where)
    leftover_fields(said, frozenset(("mode", "allowedFunctionNames")), f"{where}.", extra)
    word = (opt_text(said, "mode", f"{where}.mode") or "").upper()
    names = tuple(
        text(one, f"{where}.allowedFunctionNames[{at}]")
        for at, one in enumerate(many(said.get("allowedFunctionNames")))
    )
    match word:
        case "" | "MODE_UNSPECIFIED":
            return ToolChoice(mode="auto", allowed=names) if names else None
        case "AUTO":
            return ToolChoice(mode="auto", allowed=names)
        case "VALIDATED":
            # As auto, but calls are held to their schema, for which only Google has a word.
            extra[f"{where}.mode"] = word
            return ToolChoice(mode="auto", allowed=names)
        case "ANY" if len(names) == 1:
            return ToolChoice(mode="function", function=names[0])
        case "ANY":
            return ToolChoice(mode="required", allowed=names)
        case "NONE":
            return ToolChoice(mode="none", allowed=names)
        case _:
            raise Wrong(f"{where}.mode", f'{where}.mode must be AUTO, ANY, NONE or VALIDATED, but is "{word}".')


def _response_format(config: dict[str, Json], extra: dict[str, Json]) -> ResponseFormat | None:
    where = "generationConfig"
    mime = opt_text(config, "responseMimeType", f"{where}.responseMimeType") or ""
    if "responseSchema" in config and "responseJsonSchema" in config:
        raise Wrong(f"{where}.responseSchema", f"{where} holds both responseSchema and responseJsonSchema: send one.")
    schema = config.get("responseJsonSchema")
    if "responseSchema" in config:
        schema = json_schema_of(obj(config["responseSchema"], f"{where}.responseSchema"))
    match mime:
        case "" | "application/json":
            if schema is not None:
                return ResponseFormat(kind="json_schema", schema=schema)
            return ResponseFormat(kind="json_object") if mime else None
        case "text/plain" if schema is None:
            return ResponseFormat(kind="text")
        case _:
            # A type that only Google has, such as text/x.enum: it goes back as it came.
            for key in ("responseMimeType", "responseSchema", "responseJsonSchema"):
                if key in config:
                    extra[f"{where}.{key}"] = config[key]
            return None
