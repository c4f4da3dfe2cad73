"""A `Request` as a `generateContent` or `streamGenerateContent` call.

The inverse is `parse.parse_request`. What v1 cannot carry is refused where it is words, tools or files, and named
where it is a setting (`families.STABLE`).
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from runtime.dialects.base import HttpCall, Target
from runtime.dialects.encoding import post, put_extra
from runtime.dialects.fields import Wrong
from runtime.dialects.google.contents import Writer, unsupported
from runtime.dialects.google.families import Version, family_of, version_of
from runtime.dialects.google.parts import NAME
from runtime.dialects.google.thinking import thinking_of
from runtime.dialects.status import refused
from runtime.outcome import Failure
from runtime.request import Json, NativeTool, Request, ResponseFormat, Sampling, Tool, ToolChoice

OURS = frozenset({"model", "contents"})
"""Fields of the body that a provider's options may not overrule: decoding and billing rest on them."""

SAMPLING = (
    ("temperature", "temperature"),
    ("top_p", "topP"),
    ("top_k", "topK"),
    ("max_tokens", "maxOutputTokens"),
    ("presence_penalty", "presencePenalty"),
    ("frequency_penalty", "frequencyPenalty"),
    ("seed", "seed"),
)

_PARENTS = ("generationConfig", "generationConfig.thinkingConfig", "toolConfig", "toolConfig.functionCallingConfig")
"""Objects that a field of the caller's own may stand in although no field of ours does."""

_CALLING = "toolConfig.functionCallingConfig"


def headers_of(target: Target) -> dict[str, str]:
    """The key goes into a header: addresses end up in logs."""
    return {"x-goog-api-key": target.api_key} if target.api_key else {}


def model_path(model: str) -> str:
    """Where a model lives.

    >>> model_path("gemini-2.5-flash"), model_path("tunedModels/mine")
    ('models/gemini-2.5-flash', 'tunedModels/mine')
    """
    return quote(model if "/" in model else f"models/{model}", safe="/")


def encode_chat(request: Request, target: Target) -> HttpCall | Failure:
    """The call, or why this request cannot be said to this version and model."""
    dropped: list[str] = []
    try:
        body = _body(request, target, dropped)
    except Wrong as wrong:
        return refused(target, wrong.kind, wrong.detail, param=wrong.param)
    method = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
    return post(
        target,
        f"{model_path(target.model)}:{method}",
        body,
        headers_of(target),
        dropped,
        accept="text/event-stream" if request.stream else "application/json",
    )


def _body(request: Request, target: Target, dropped: list[str]) -> dict[str, Json]:
    version, family, ours = version_of(target), family_of(target.model), request.dialect == NAME
    writer = Writer(version=version, family=family, ours=ours, dropped=dropped)
    instruction, contents = writer.write(request.messages)
    if not contents:
        raise unsupported("messages", "Gemini needs a user's turn beside its instruction: add one")
    body: dict[str, Json] = {"contents": contents}
    if instruction is not None:
        body["systemInstruction"] = instruction
    config = _sampling(request.sampling)
    if request.choices != 1:
        config["candidateCount"] = request.choices
    if request.response_format is not None:
        config |= _response_format(request.response_format, version, dropped)
    if request.reasoning is not None:
        if version.full:
            longest = request.sampling.max_tokens or target.max_output_tokens
            thinking = thinking_of(request.reasoning, family, ours=ours, longest=longest, dropped=dropped)
            if thinking:
                config["thinkingConfig"] = thinking
        else:
            dropped.append("reasoning")
    if config:
        body["generationConfig"] = config
    if request.tools:
        body["tools"] = _tools(request.tools, version, ours=ours, dropped=dropped)
    if request.tool_choice is not None:
        _tool_choice(body, request, version, ours=ours, dropped=dropped)
    _unsaid(request, dropped)
    _extra(body, request.extra, version, ours=ours, dropped=dropped)
    _options(body, request.provider_options.get(target.provider), dropped)
    return body


def _sampling(sampling: Sampling) -> dict[str, Json]:
    said: dict[str, Json] = {}
    for name, theirs in SAMPLING:
        value = getattr(sampling, name)
        if value is not None:
            said[theirs] = value
    if sampling.stop:
        said["stopSequences"] = list(sampling.stop)
    return said


def _unsaid(request: Request, dropped: list[str]) -> None:
    if request.parallel_tool_calls is not None:
        dropped.append("parallel_tool_calls")
    if request.user is not None:
        dropped.append("user")
    if request.metadata:
        dropped.append("metadata")
    if request.cache is not None:
        dropped.append("cache")


def _response_format(wanted: ResponseFormat, version: Version, dropped: list[str]) -> dict[str, Json]:
    unsaid = [field for field in ("name", "description", "strict") if getattr(wanted, field) is not None]
    dropped += [f"response_format.{field}" for field in (*unsaid, *wanted.extra)]
    schema = wanted.schema
    if not version.full:
        if wanted.kind == "json_schema":
            raise unsupported(
                "response_format", "v1 of this API takes no schema: set base_url to the address that ends in v1beta"
            )
        if wanted.kind == "json_object":
            dropped.append("response_format")
        return {}
    if wanted.kind == "text":
        return {"responseMimeType": "text/plain"}
    said: dict[str, Json] = {"responseMimeType": "application/json"}
    if schema is not None:
        said["responseJsonSchema"] = schema
    return said


def _tools(
    tools: tuple[Tool | NativeTool, ...], version: Version, *, ours: bool, dropped: list[str]
) -> list[dict[str, Json]]:
    """All functions in one object, where the first of them stood; each of Google's own tools in one of its own."""
    said: list[dict[str, Json]] = []
    declarations: list[Json] = []
    for at, tool in enumerate(tools):
        where = f"tools[{at}]"
        if not version.full:
            raise unsupported(where, "v1 of this API takes no tools: set base_url to the address that ends in v1beta")
        if isinstance(tool, NativeTool):
            if tool.dialect != NAME:
                raise unsupported(where, f"Gemini has no tool such as {tool.dialect}'s {tool.kind}: leave it out")
            said.append(dict(tool.value))
            continue
        if not declarations:
            said.append({"functionDeclarations": declarations})
        declarations.append(_declaration(tool, where, ours=ours, dropped=dropped))
    return said


def _declaration(tool: Tool, where: str, *, ours: bool, dropped: list[str]) -> dict[str, Json]:
    said: dict[str, Json] = {"name": tool.name}
    if tool.description is not None:
        said["description"] = tool.description
    if tool.parameters is not None:
        said["parametersJsonSchema"] = tool.parameters
    if tool.strict is not None:
        dropped.append(f"{where}.strict")
    if tool.cache is not None:
        dropped.append("cache")
    put_extra(said, tool.extra, ours=ours, dropped=dropped, prefix=f"{where}.")
    return said


def _tool_choice(body: dict[str, Json], request: Request, version: Version, *, ours: bool, dropped: list[str]) -> None:
    choice = request.tool_choice
    if choice is None or not version.full:
        dropped.append("tool_choice")
        return
    said = _calling(choice)
    if ours:
        if f"{_CALLING}.mode" in request.extra:
            del said["mode"]
    elif choice.mode == "auto" and choice.allowed:
        # AUTO takes no names; VALIDATED is AUTO that does.
        said["mode"] = "VALIDATED"
    body["toolConfig"] = {"functionCallingConfig": said}


def _calling(choice: ToolChoice) -> dict[str, Json]:
    match choice.mode:
        case "function":
            return {"mode": "ANY", "allowedFunctionNames": [choice.function]}
        case "auto":
            mode = "AUTO"
        case "none":
            mode = "NONE"
        case "required":
            mode = "ANY"
    return {"mode": mode, "allowedFunctionNames": list(choice.allowed)} if choice.allowed else {"mode": mode}


def _extra(
    body: dict[str, Json], extra: Mapping[str, Json], version: Version, *, ours: bool, dropped: list[str]
) -> None:
    for path, value in extra.items():
        parent, _, name = path.rpartition(".")
        fits = ours and _fits(parent, name, version)
        if fits and parent in _PARENTS:
            inner = body
            for step in parent.split("."):
                inner = inner.setdefault(step, {})
        put_extra(body, {path: value}, ours=fits, dropped=dropped)


def _fits(parent: str, name: str, version: Version) -> bool:
    """True where this version knows such a field."""
    if version.fields is None or version.config is None:
        return True
    return name in version.fields if not parent else parent == "generationConfig" and name in version.config


def _options(body: dict[str, Json], options: Mapping[str, Json] | None, dropped: list[str]) -> None:
    """`provider_options` as given; what stands in an object of ours is added to it."""
    for name, value in (options or {}).items():
        if name in OURS:
            dropped.append(f"provider_options.{name}")
        elif isinstance(value, Mapping) and isinstance(body.get(name), dict):
            body[name] = {**body[name], **value}
        else:
            body[name] = value
