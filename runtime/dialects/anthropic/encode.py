"""A `Request` as the body of the Messages API. The inverse is `parse.parse_request`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from runtime.dialects.anthropic.blocks import NAME
from runtime.dialects.anthropic.ids import Ids
from runtime.dialects.anthropic.parse import MCP_SERVER
from runtime.dialects.anthropic.parts import TOOL_NAME, Block, Wording, cannot, mark
from runtime.dialects.anthropic.quirks import quirks_of
from runtime.dialects.anthropic.schema import compiled
from runtime.dialects.anthropic.thinking import longest_answer, think
from runtime.dialects.anthropic.turns import Conversation
from runtime.dialects.base import HttpCall, Target
from runtime.dialects.encoding import get, post, put_options
from runtime.dialects.fields import Wrong
from runtime.dialects.status import refused
from runtime.outcome import Failure
from runtime.request import Json, NativeTool, Request, ResponseFormat, Sampling, Tool

VERSION = "2023-06-01"

OURS = frozenset({"model", "messages", "stream"})
"""Fields of the body that a provider's options may not overrule: decoding and billing rest on them."""

_PARENTS = ("metadata", "output_config")
"""Objects that may hold nothing but what no type of ours knows."""

_CHOICES = {"auto": "auto", "none": "none", "required": "any", "function": "tool"}


def encode_chat(request: Request, target: Target) -> HttpCall | Failure:
    """The call, or why this request cannot be said in Anthropic's words."""
    ours = request.dialect == NAME
    wording = Wording(target, quirks_of(target), request.dialect, Ids(as_given=ours))
    try:
        body = _body(request, wording)
    except Wrong as wrong:
        return refused(target, wrong.kind, wrong.detail, param=wrong.param or None)
    for path in request.extra if ours else ():
        parent = path.partition(".")[0]
        if parent in _PARENTS and parent != path:
            body.setdefault(parent, {})
    wording.keep(body, request.extra)
    options = request.provider_options.get(target.provider)
    put_options(body, options, protected=OURS, dropped=wording.dropped)
    betas = body.pop("betas", None)
    if betas is not None and not (isinstance(betas, list) and all(isinstance(one, str) for one in betas)):
        wording.dropped.append("betas")
        betas = None
    target, headers = _headers(target, betas or ())
    accept = "text/event-stream" if request.stream else "application/json"
    return post(target, "messages", body, headers, wording.dropped, accept=accept)


def get_models(target: Target, query: str) -> HttpCall:
    """A call without a body that costs nothing."""
    target, headers = _headers(target)
    return get(target, f"models?{query}", headers)


def _headers(target: Target, betas: Sequence[str] = ()) -> tuple[Target, dict[str, str]]:
    """Key, version and betas. The target comes back without its own beta header, which is joined with the others."""
    headers: dict[str, str] = {}
    if target.api_key:
        if target.options.get("auth") == "bearer":
            headers["authorization"] = f"Bearer {target.api_key}"
        else:
            headers["x-api-key"] = target.api_key
    version = target.options.get("version")
    headers["anthropic-version"] = version if isinstance(version, str) else VERSION
    users = {name: value for name, value in target.headers.items() if name.lower() == "anthropic-beta"}
    option = target.options.get("beta")
    said = [*users.values(), *(option if isinstance(option, list | tuple) else (option,)), *betas]
    joined = dict.fromkeys(beta.strip() for one in said if isinstance(one, str) for beta in one.split(","))
    if joined:
        headers["anthropic-beta"] = ",".join(beta for beta in joined if beta)
        target = replace(target, headers={name: one for name, one in target.headers.items() if name not in users})
    return target, headers


def _body(request: Request, wording: Wording) -> Block:
    conversation = Conversation(wording)
    conversation.add_all(request.messages)
    if not wording.ours and not conversation.asks:
        raise cannot("messages", "no system prompt alone; add a message of the user")
    dropped = wording.dropped
    longest = longest_answer(request.reasoning, request.sampling.max_tokens, wording)
    body: Block = {"model": wording.target.model, "max_tokens": longest, "messages": conversation.messages}
    if conversation.system is not None:
        body["system"] = conversation.system
    _tools(body, request, wording)
    if request.response_format is not None:
        _response_format(body, request.response_format, wording)
    if request.reasoning is not None:
        forced = body.get("tool_choice", {}).get("type") in ("any", "tool")
        broken_off = not wording.ours and (forced or conversation.unthought_calls)
        think(body, request.reasoning, broken_off=broken_off, wording=wording)
    _sampling(body, request.sampling, wording)
    if request.choices != 1:
        dropped.append("choices")
    if request.user is not None:
        body["metadata"] = {"user_id": request.user}
    if request.metadata:
        dropped.append("metadata")
    mark(body, request.cache)
    if request.stream:
        body["stream"] = True
    return body


def _sampling(body: Block, sampling: Sampling, wording: Wording) -> None:
    """What model and thinking allow of it."""
    quirks = wording.quirks
    thinks = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    takes: set[str] = set()
    if quirks.sampling:
        heat, share = sampling.temperature, sampling.top_p
        # With thinking on, the API refuses to have its draws changed but for a trifle.
        if heat is not None and (heat == 1 if thinks else 0 <= heat <= 1):
            takes.add("temperature")
        if share is not None and (share >= 0.95 or not thinks) and (quirks.together or "temperature" not in takes):
            takes.add("top_p")
        if not thinks:
            takes.add("top_k")
    for name in ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed"):
        value = getattr(sampling, name)
        if value is not None and name in takes:
            body[name] = value
        elif value is not None:
            wording.dropped.append(name)
    # The API refuses stop words of white space alone.
    stop = [word for word in sampling.stop if word.strip()]
    if stop:
        body["stop_sequences"] = stop
    if len(stop) < len(sampling.stop):
        wording.dropped.append("stop")


def _tools(body: Block, request: Request, wording: Wording) -> None:
    """The tools on offer, and which of them may or must be called."""
    choice, parallel = request.tool_choice, request.parallel_tool_calls
    for position, tool in enumerate(request.tools):
        field, said = _offer(tool, f"tools[{position}]", wording)
        # This API knows no list of what is allowed, and to offer only that is what the list means.
        if not (choice and choice.allowed) or field != "tools" or said.get("name") in choice.allowed:
            body.setdefault(field, []).append(said)
    offered = wording.ours or "tools" in body or "mcp_servers" in body
    if choice is not None:
        if offered and (wording.quirks.forced_tools or choice.mode in ("auto", "none")):
            named = {"name": choice.function or ""} if choice.mode == "function" else {}
            body["tool_choice"] = {"type": _CHOICES[choice.mode], **named}
        else:
            wording.dropped.append("tool_choice")
    if parallel is not None:
        if offered and (choice is None or choice.mode != "none"):
            body.setdefault("tool_choice", {"type": "auto"})["disable_parallel_tool_use"] = not parallel
        else:
            wording.dropped.append("parallel_tool_calls")


def _offer(tool: Tool | NativeTool, where: str, wording: Wording) -> tuple[str, Block]:
    """The field of the body in which the tool stands, and the tool."""
    if isinstance(tool, Tool):
        return "tools", _tool(tool, where, wording)
    if tool.dialect != NAME:
        raise cannot(where, f"no {tool.kind}, which another provider runs itself; offer a function instead")
    return "mcp_servers" if tool.kind == MCP_SERVER else "tools", dict(tool.value)


def _tool(tool: Tool, where: str, wording: Wording) -> Block:
    if not wording.ours and not TOOL_NAME.fullmatch(tool.name):
        raise cannot(f"{where}.name", "letters, digits, _ and - in the name of a tool, at most 128")
    strict, schema = tool.strict, {"type": "object"} if tool.parameters is None else tool.parameters
    if not wording.ours:
        if isinstance(schema, dict) and "type" not in schema:
            schema = {"type": "object", **schema}
        if strict:
            strict, schema = _strict(schema, where, wording)
        elif not wording.quirks.structured:
            strict = None
    block: Block = {"name": tool.name, "input_schema": schema}
    if tool.description is not None:
        block["description"] = tool.description
    if strict is not None:
        block["strict"] = strict
    mark(block, tool.cache)
    wording.keep(block, tool.extra, f"{where}.")
    return block


def _strict(schema: Json, where: str, wording: Wording) -> tuple[bool | None, Json]:
    """Strict with a schema that can be compiled; else the schema as it is, not strict, and that is named."""
    if wording.quirks.structured:
        lost: list[str] = []
        try:
            closed = compiled(schema, f"{where}.parameters", lost)
        except Wrong:
            pass
        else:
            wording.dropped.extend(lost)
            return True, closed
    wording.dropped.append(f"{where}.strict")
    return None, schema


def _response_format(body: Block, wanted: ResponseFormat, wording: Wording) -> None:
    """`output_config.format`. A schema's name is only a label, and the API keeps to every schema strictly."""
    if wanted.kind == "text" or wanted.schema is None:
        # Text is what the API answers by itself; for any JSON at all it has no word.
        if wanted.kind != "text":
            wording.dropped.append("response_format")
        wording.dropped.extend(f"response_format.{path}" for path in wanted.extra)
        return
    if not wording.ours and not wording.quirks.structured:
        raise cannot("response_format", "no JSON schema on this model; use a newer one, or a tool with that schema")
    if wanted.description is not None:
        wording.dropped.append("response_format.description")
    schema = wanted.schema
    if not wording.ours:
        schema = compiled(schema, "response_format.schema", wording.dropped)
    form: Block = {"type": "json_schema", "schema": schema}
    wording.keep(form, wanted.extra, "response_format.")
    body.setdefault("output_config", {})["format"] = form
