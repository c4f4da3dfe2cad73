"""A `Request` as the body of Ollama's `/api/chat`.

The inverse is `ollama.parse.parse_request`: parsing what is encoded here gives the request back, but for what
`dropped` names, and for what means the same without being said (a tool choice of auto or none).
"""

from __future__ import annotations

from collections.abc import Mapping

from runtime.dialects.base import HttpCall, Target
from runtime.dialects.encoding import effort_of, get, post, put_extra, put_options, texts_of, tool_names
from runtime.dialects.ollama.messages import NAME, Wording, encode_message
from runtime.dialects.status import refused
from runtime.outcome import Failure, FailureKind
from runtime.request import (
    Effort,
    EmbedRequest,
    Json,
    NativeTool,
    Reasoning,
    Request,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
)

OURS = frozenset({"model", "messages", "stream"})
"""Fields of the body that a provider's options may not overrule: decoding and billing rest on them."""

OPTIONS: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_tokens": "num_predict",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "stop": "stop",
    "seed": "seed",
}
"""Our words for sampling, and the server's words in `options`."""

THINK: Mapping[Effort, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}
"""Efforts as the server's own OpenAI endpoint reads them."""

_DEFAULTS = ("keep_alive", "truncate", "shift")
_NO_PARAMETERS: Json = {"type": "object", "properties": {}}


def encode_chat(request: Request, target: Target) -> HttpCall | Failure:
    """The chat call, or why this request cannot be said in Ollama's words."""
    wording = Wording(target, ours=request.dialect == NAME, names=tool_names(request.messages))
    messages: list[Json] = []
    for position, message in enumerate(request.messages):
        encoded = encode_message(message, position, wording)
        if isinstance(encoded, Failure):
            return encoded
        messages.append(encoded)
    body: dict[str, Json] = {"model": target.model, "messages": messages, "stream": request.stream}
    refusal = _tools(body, request, wording)
    if refusal is not None:
        return refusal
    _sampling(body, request.sampling)
    if request.response_format is not None:
        _response_format(body, request.response_format, wording)
    if request.reasoning is not None:
        _reasoning(body, request.reasoning, request.sampling.max_tokens or target.max_output_tokens, wording)
    if request.choices != 1:
        wording.dropped.append("choices")
    wording.lose("parallel_tool_calls", request.parallel_tool_calls)
    wording.lose("user", request.user)
    wording.lose("metadata", request.metadata or None)
    wording.unmarked(request.cache)
    _extra(body, request.extra, wording.dropped, ours=wording.ours)
    _options(body, request.provider_options.get(target.provider), target, wording.dropped)
    accept = "application/x-ndjson" if request.stream else "application/json"
    return post(target, "api/chat", body, headers_of(target), wording.dropped, accept=accept)


def encode_embed(request: EmbedRequest, target: Target) -> HttpCall | Failure:
    """The embeddings call."""
    texts = texts_of(request, target)
    if isinstance(texts, Failure):
        return texts
    body: dict[str, Json] = {"model": target.model, "input": texts}
    dropped: list[str] = []
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.purpose is not None:
        dropped.append("purpose")
    if request.user is not None:
        dropped.append("user")
    _extra(body, request.extra, dropped, ours=request.dialect == NAME)
    _options(body, None, target, dropped)
    return post(target, "api/embed", body, headers_of(target), dropped)


def get_models(target: Target) -> HttpCall:
    """The list of what is installed: it costs nothing and loads nothing."""
    return get(target, "api/tags", headers_of(target))


def headers_of(target: Target) -> dict[str, str]:
    """A local server asks for no key; Ollama's cloud does."""
    return {"authorization": f"Bearer {target.api_key}"} if target.api_key else {}


def _extra(body: dict[str, Json], extra: Mapping[str, Json], dropped: list[str], *, ours: bool) -> None:
    if ours and any(path.startswith("options.") for path in extra):
        body.setdefault("options", {})
    put_extra(body, extra, ours=ours, dropped=dropped)


def _options(body: dict[str, Json], given: Mapping[str, Json] | None, target: Target, dropped: list[str]) -> None:
    """What the request was given for this provider goes over the body, what the provider's settings hold under it."""
    settings = target.options
    for name in _DEFAULTS:
        if settings.get(name) is not None:
            body.setdefault(name, settings[name])
    under, over = settings.get("options"), (given or {}).get("options")
    if isinstance(under, Mapping) or isinstance(over, Mapping):
        model: dict[str, Json] = dict(under) if isinstance(under, Mapping) else {}
        model.update(body.get("options") or {})
        body["options"] = model
        if isinstance(over, Mapping):
            model.update(over)
            given = {name: value for name, value in (given or {}).items() if name != "options"}
    put_options(body, given, protected=OURS, dropped=dropped)


def _sampling(body: dict[str, Json], sampling: Sampling) -> None:
    options: dict[str, Json] = {}
    for ours, theirs in OPTIONS.items():
        value = getattr(sampling, ours)
        if value is not None and value != ():
            options[theirs] = list(value) if isinstance(value, tuple) else value
    if options:
        body["options"] = options


def _tools(body: dict[str, Json], request: Request, wording: Wording) -> Failure | None:
    choice = request.tool_choice or ToolChoice(mode="auto")
    tools: list[Json] = []
    for position, tool in enumerate(request.tools):
        if isinstance(tool, Tool):
            if _offered(tool, choice):
                tools.append(_tool(tool, f"tools[{position}]", wording))
        elif tool.dialect == NAME:
            tools.append(dict(tool.value))
        else:
            return _foreign(tool, f"tools[{position}]", wording)
    if choice.mode == "function" and not tools:
        detail = f'tool_choice names "{choice.function}", which is none of the tools: offer it, or choose another'
        return refused(wording.target, FailureKind.BAD_REQUEST, detail, param="tool_choice")
    if tools:
        body["tools"] = tools
    if choice.mode in ("required", "function"):
        # A call cannot be forced here. At least nothing else is offered than what was to be called.
        wording.dropped.append("tool_choice")
    return None


def _offered(tool: Tool, choice: ToolChoice) -> bool:
    """To forbid a call is not to offer the tool."""
    match choice.mode:
        case "none":
            return False
        case "function":
            return tool.name == choice.function
        case "auto" | "required":
            return not choice.allowed or tool.name in choice.allowed


def _foreign(tool: NativeTool, param: str, wording: Wording) -> Failure:
    return wording.cannot(param, f"no {tool.kind}, which another provider runs itself; offer a function instead")


def _tool(tool: Tool, where: str, wording: Wording) -> dict[str, Json]:
    function: dict[str, Json] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = _NO_PARAMETERS if tool.parameters is None else tool.parameters
    body: dict[str, Json] = {"type": "function", "function": function}
    wording.lose(f"{where}.strict", tool.strict)
    wording.unmarked(tool.cache)
    wording.keep(body, tool.extra, f"{where}.")
    return body


def _response_format(body: dict[str, Json], wanted: ResponseFormat, wording: Wording) -> None:
    """A schema is always kept to here: there is no way to be less strict."""
    if wanted.kind != "text":
        body["format"] = "json" if wanted.schema is None else wanted.schema
    for name in ("name", "description", "strict"):
        wording.lose(f"response_format.{name}", getattr(wanted, name))
    for path in wanted.extra:
        wording.dropped.append(f"response_format.{path}")


def _reasoning(body: dict[str, Json], wanted: Reasoning, longest: int | None, wording: Wording) -> None:
    effort = wanted.effort
    if effort is None and wanted.budget_tokens is not None:
        effort = effort_of(wanted.budget_tokens, longest) if wanted.budget_tokens > 0 else "none"
    if wanted.enabled is False:
        effort = "none"
    if effort is not None:
        body["think"] = THINK[effort]
    elif wanted.enabled:
        body["think"] = True
    # Thoughts are always shown.
    wording.lose("reasoning.show", wanted.show)
