"""A Responses body as a `Request`: strict where we know a field, faithful where chat completions have the same word.

Nothing is stored here: whatever refers to something stored is refused, and says what to send instead. The request is
one of the dialect `openai`, so a provider of chat completions gets `service_tier`, `verbosity` and the like as they
are. What it has no word for is named under `responses.…`, a path that leads nowhere in its bodies.
"""

from __future__ import annotations

from collections.abc import Mapping

from runtime.dialects.encoding import MARK
from runtime.dialects.extension import extension_of
from runtime.dialects.fields import Wrong, array, obj, opt_bool, opt_int, opt_number, opt_obj, opt_text, text, texts
from runtime.dialects.paths import leftovers
from runtime.dialects.responses_surface.items import messages_of
from runtime.dialects.responses_surface.parts import UNSAID, cannot
from runtime.outcome import Failure
from runtime.request import (
    Effort,
    Json,
    Message,
    NativeTool,
    Reasoning,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolChoice,
)

INSTRUCTIONS = f"{MARK}instructions"
"""In the `extra` of a request: the client said its first message as `instructions`."""

_SAME = ("service_tier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "logit_bias")
_KNOWN = frozenset(
    (
        *("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning"),
        *("max_output_tokens", "temperature", "top_p", "top_k", "stop", "seed", "frequency_penalty"),
        *("presence_penalty", "metadata", "user", "safety_identifier", "store", "stream", "stream_options", "include"),
        *("truncation", "top_logprobs", "previous_response_id", "conversation", "background", "prompt"),
        *("max_tool_calls", "raygate", *_SAME),
    )
)
_HISTORY = "nothing is stored here; send the whole conversation in input"
_STORED = {
    "previous_response_id": f"previous_response_id cannot be used: {_HISTORY}.",
    "conversation": f"conversation cannot be used: {_HISTORY}.",
    "prompt": "prompt refers to a template stored at OpenAI: send its text as instructions and input.",
}
_EFFORTS: Mapping[Json, Effort] = {word: word for word in ("none", "minimal", "low", "medium", "high", "xhigh", "max")}
_FUNCTION = ("type", "name", "description", "parameters", "strict")


def parse_request(body: Json, *, model: str = "", stream: bool = False) -> Request | Failure:
    """The request in a parsed JSON body, or a `Failure` whose `param` names the field at fault."""
    try:
        return _request(obj(body, "body"))
    except Wrong as wrong:
        return wrong.failure()


def _request(body: dict[str, Json]) -> Request:
    _refuse_stored(body)
    unsaid: dict[str, Json] = {}
    leftovers(body, _KNOWN, UNSAID.rstrip("."), unsaid)
    messages = messages_of(body.get("input"), unsaid)
    extra = {name: body[name] for name in _SAME if body.get(name) is not None}
    instructions = opt_text(body, "instructions", "instructions")
    if instructions is not None:
        said = (TextPart(instructions),) if instructions else ()
        messages.insert(0, Message(role=Role.SYSTEM, parts=said))
        extra[INSTRUCTIONS] = True
    stream = opt_bool(body, "stream", "stream") or False
    identifier = opt_text(body, "safety_identifier", "safety_identifier")
    user = opt_text(body, "user", "user")
    if identifier is not None and user is not None:
        extra["safety_identifier"] = identifier
    _trifles(body, extra, unsaid)
    response_format = _text(body, extra, unsaid)
    reasoning = _reasoning(body, extra, unsaid)
    extension = extension_of(body)
    return Request(
        messages=tuple(messages),
        model=opt_text(body, "model", "model") or "",
        sampling=_sampling(body),
        tools=_tools(body, unsaid),
        tool_choice=_tool_choice(body.get("tool_choice")),
        parallel_tool_calls=opt_bool(body, "parallel_tool_calls", "parallel_tool_calls"),
        response_format=response_format,
        reasoning=reasoning,
        stream=stream,
        # The last event of a stream always says what it cost.
        stream_usage=stream,
        user=identifier if user is None else user,
        metadata=opt_obj(body, "metadata", "metadata") or {},
        **extension,
        extra={**extra, **unsaid},
        dialect="openai",
    )


def _refuse_stored(body: dict[str, Json]) -> None:
    for name, detail in _STORED.items():
        if body.get(name) is not None:
            raise cannot(name, detail)
    if opt_bool(body, "background", "background"):
        raise cannot("background", "background answers must be stored, and nothing is stored here: leave it out.")
    # OpenAI stores by default; that we do not is said in the answer.
    opt_bool(body, "store", "store")


def _trifles(body: dict[str, Json], extra: dict[str, Json], unsaid: dict[str, Json]) -> None:
    """Fields that say how the answer looks or what may be left out of the question."""
    match opt_text(body, "truncation", "truncation"):
        case None | "disabled":
            pass
        case "auto":
            unsaid[f"{UNSAID}truncation"] = "auto"
        case _:
            raise Wrong("truncation", "truncation must be auto or disabled.")
    # It bounds the tools that OpenAI itself runs: there are none.
    opt_int(body, "max_tool_calls", "max_tool_calls", least=0)
    for at, word in enumerate(texts(body, "include", "include")):
        if word == "message.output_text.logprobs":
            extra["logprobs"] = True
        elif word != "reasoning.encrypted_content":
            unsaid[f"{UNSAID}include[{at}]"] = word
    top = opt_int(body, "top_logprobs", "top_logprobs", least=0)
    if top is not None:
        extra |= {"logprobs": True, "top_logprobs": top}
    options = opt_obj(body, "stream_options", "stream_options") or {}
    # Streams carry no padding against traffic analysis.
    if opt_bool(options, "include_obfuscation", "stream_options.include_obfuscation"):
        unsaid[f"{UNSAID}stream_options.include_obfuscation"] = True
    leftovers(options, ("include_obfuscation",), f"{UNSAID}stream_options", unsaid)


def _sampling(body: dict[str, Json]) -> Sampling:
    """The API's own fields, and those that hosts of open models take beside them."""
    stop = body.get("stop")
    return Sampling(
        temperature=opt_number(body, "temperature", "temperature", least=0, most=2),
        top_p=opt_number(body, "top_p", "top_p", least=0, most=1),
        top_k=opt_int(body, "top_k", "top_k"),
        max_tokens=opt_int(body, "max_output_tokens", "max_output_tokens", least=1),
        frequency_penalty=opt_number(body, "frequency_penalty", "frequency_penalty"),
        presence_penalty=opt_number(body, "presence_penalty", "presence_penalty"),
        stop=(stop,) if isinstance(stop, str) else texts(body, "stop", "stop"),
        seed=opt_int(body, "seed", "seed"),
    )


def _text(body: dict[str, Json], extra: dict[str, Json], unsaid: dict[str, Json]) -> ResponseFormat | None:
    said = opt_obj(body, "text", "text") or {}
    leftovers(said, ("format", "verbosity"), f"{UNSAID}text", unsaid)
    verbosity = opt_text(said, "verbosity", "text.verbosity")
    if verbosity is not None:
        extra["verbosity"] = verbosity
    form = opt_obj(said, "format", "text.format")
    if form is None:
        return None
    match form.get("type"):
        case "text" | "json_object" as kind:
            leftovers(form, ("type",), f"{UNSAID}text.format", unsaid)
            return ResponseFormat(kind=kind)
        case "json_schema":
            leftovers(form, (*_FUNCTION, "schema"), f"{UNSAID}text.format", unsaid)
            return ResponseFormat(
                kind="json_schema",
                name=text(form.get("name"), "text.format.name"),
                description=opt_text(form, "description", "text.format.description"),
                schema=obj(form.get("schema"), "text.format.schema"),
                strict=opt_bool(form, "strict", "text.format.strict"),
            )
        case _:
            raise Wrong("text.format.type", "text.format.type must be text, json_object or json_schema.")


def _reasoning(body: dict[str, Json], extra: dict[str, Json], unsaid: dict[str, Json]) -> Reasoning | None:
    said = opt_obj(body, "reasoning", "reasoning")
    if said is None:
        return None
    leftovers(said, ("effort", "summary", "generate_summary"), f"{UNSAID}reasoning", unsaid)
    word = opt_text(said, "effort", "reasoning.effort")
    if word is not None and word not in _EFFORTS:
        raise Wrong("reasoning.effort", f"reasoning.effort must be one of {', '.join(map(str, _EFFORTS))}.")
    older = opt_text(said, "generate_summary", "reasoning.generate_summary")
    summary = opt_text(said, "summary", "reasoning.summary") or older
    if summary not in (None, "auto"):
        # How long the summary should be: OpenRouter takes it, others are told that it is lost.
        extra["reasoning.summary"] = summary
    effort = None if word is None else _EFFORTS[word]
    return Reasoning(effort=effort, show=True if summary else None) if effort or summary else None


def _tools(body: dict[str, Json], unsaid: dict[str, Json]) -> tuple[Tool | NativeTool, ...]:
    said = body.get("tools")
    if said is None:
        return ()
    return tuple(_tool(obj(one, f"tools[{at}]"), f"tools[{at}]", unsaid) for at, one in enumerate(array(said, "tools")))


def _tool(tool: dict[str, Json], where: str, unsaid: dict[str, Json]) -> Tool | NativeTool:
    match text(tool.get("type"), f"{where}.type"):
        case "function":
            leftovers(tool, _FUNCTION, f"{UNSAID}{where}", unsaid)
            return Tool(
                name=text(tool.get("name"), f"{where}.name"),
                description=opt_text(tool, "description", f"{where}.description"),
                parameters=opt_obj(tool, "parameters", f"{where}.parameters"),
                strict=opt_bool(tool, "strict", f"{where}.strict"),
            )
        case "custom":
            leftovers(tool, ("type", "name", "description", "format"), f"{UNSAID}{where}", unsaid)
            return _custom(tool, where)
        case kind:
            raise cannot(
                f"{where}.type",
                f'{where} is "{kind}", which OpenAI itself runs and Raygate cannot: offer a function instead.',
            )


def _custom(tool: dict[str, Json], where: str) -> NativeTool:
    """A tool whose input is plain text, in the words of chat completions."""
    custom: dict[str, Json] = {"name": text(tool.get("name"), f"{where}.name")}
    description = opt_text(tool, "description", f"{where}.description")
    if description is not None:
        custom["description"] = description
    form = opt_obj(tool, "format", f"{where}.format")
    if form is not None and form.get("type") == "grammar":
        form = {"type": "grammar", "grammar": {name: form[name] for name in form.keys() - {"type"}}}
    if form is not None:
        custom["format"] = form
    return NativeTool(dialect="openai", kind="custom", value={"type": "custom", "custom": custom})


def _tool_choice(said: Json) -> ToolChoice | None:
    match said:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(mode=said)
        case {"type": "function" | "custom", "name": str(name)}:
            return ToolChoice(mode="function", function=name)
        case {"type": "allowed_tools", "mode": "auto" | "required" as mode, "tools": list(tools)}:
            return ToolChoice(mode=mode, allowed=tuple(_allowed(one, at) for at, one in enumerate(tools)))
        case {"type": str(kind)} if kind not in ("function", "custom", "allowed_tools"):
            raise cannot("tool_choice", f'tool_choice asks for "{kind}", which OpenAI itself runs and Raygate cannot.')
        case _:
            raise Wrong(
                "tool_choice",
                'tool_choice must be "auto", "none", "required", {"type": "function", "name": …} or '
                '{"type": "allowed_tools", "mode": …, "tools": […]}.',
            )


def _allowed(said: Json, at: int) -> str:
    where = f"tool_choice.tools[{at}]"
    match said:
        case {"type": "function" | "custom", "name": str(name)}:
            return name
        case _:
            raise Wrong(where, f'{where} must be {{"type": "function", "name": …}}.')
