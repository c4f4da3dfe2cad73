"""`functions`, OpenAI's word before `tools`: one call at a time, without an id.

It is said in today's words on the way in, and in its own on the way out; no provider is asked in it.
"""

from __future__ import annotations

from runtime.dialects.fields import Wrong, array, obj
from runtime.request import Json


def with_tools(body: dict[str, Json]) -> dict[str, Json]:
    """The same body with `tools` and `tool_choice`. Raises `Wrong` where it says both."""
    for legacy, newer in (("functions", "tools"), ("function_call", "tool_choice")):
        if body.get(legacy) is not None and body.get(newer) is not None:
            raise Wrong(legacy, f"{legacy} and {newer} say the same: send {newer} alone.")
    rest = {name: value for name, value in body.items() if name not in ("functions", "function_call")}
    functions = body.get("functions")
    if functions is not None:
        said = array(functions, "functions")
        rest["tools"] = [{"type": "function", "function": obj(one, f"functions[{at}]")} for at, one in enumerate(said)]
        # There is room for one call in the answer.
        rest["parallel_tool_calls"] = False
    match body.get("function_call"):
        case None:
            pass
        case "auto" | "none" as mode:
            rest["tool_choice"] = mode
        case {"name": str(name)}:
            rest["tool_choice"] = {"type": "function", "function": {"name": name}}
        case _:
            raise Wrong("function_call", 'function_call must be "auto", "none" or {"name": …}.')
    return rest


def as_function_call(message: dict[str, Json]) -> None:
    """Say the tool call of a message, or of a chunk's delta, as `function_call`, in place."""
    calls = message.pop("tool_calls", None)
    if calls:
        function = calls[0].get("function", {})
        message["function_call"] = {key: function[key] for key in ("name", "arguments") if key in function}
