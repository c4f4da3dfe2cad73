"""What a client's body wishes of the answer: thinking, its form, and which tools it may call."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.dialects.anthropic.blocks import rest
from runtime.dialects.fields import Wrong, obj, opt_bool, opt_int, opt_obj, opt_text, text
from runtime.request import Effort, Json, Reasoning, ResponseFormat, ToolChoice

_EFFORTS: Mapping[Json, Effort] = {word: word for word in ("low", "medium", "high", "xhigh", "max")}
_SHOWN: Mapping[Json, bool] = {"summarized": True, "omitted": False}
_CHOICE = ("type", "name", "disable_parallel_tool_use")


def parse_tool_choice(said: dict[str, Json] | None, extra: dict[str, Json]) -> tuple[ToolChoice | None, bool | None]:
    """The choice, and whether calls may be parallel. Raises `Wrong`."""
    if said is None:
        return None, None
    rest(said, _CHOICE, extra, "tool_choice")
    match said.get("type"):
        case "auto":
            choice = ToolChoice(mode="auto")
        case "any":
            choice = ToolChoice(mode="required")
        case "none":
            choice = ToolChoice(mode="none")
        case "tool":
            choice = ToolChoice(mode="function", function=text(said.get("name"), "tool_choice.name"))
        case _:
            raise Wrong("tool_choice.type", "tool_choice.type must be auto, any, tool or none.")
    where = "tool_choice.disable_parallel_tool_use"
    alone = opt_bool(said, "disable_parallel_tool_use", where)
    return choice, None if alone is None else not alone


def parse_output(body: dict[str, Json], extra: dict[str, Json]) -> tuple[Effort | None, ResponseFormat | None]:
    """Effort and form of the answer. `output_format` is the old place of `output_config.format`. Raises `Wrong`."""
    config = opt_obj(body, "output_config", "output_config") or {}
    rest(config, ("effort", "format"), extra, "output_config")
    word = opt_text(config, "effort", "output_config.effort")
    effort = _EFFORTS.get(word)
    if word is not None and effort is None:
        extra["output_config.effort"] = word
    where = "output_config.format" if config.get("format") is not None else "output_format"
    form = opt_obj(config, "format", where) if where != "output_format" else opt_obj(body, "output_format", where)
    if where != "output_format" and body.get("output_format") is not None:
        extra["output_format"] = body["output_format"]
    if form is None:
        return effort, None
    if form.get("type") != "json_schema":
        extra["output_config.format"] = form
        return effort, None
    beside: dict[str, Json] = {}
    rest(form, ("type", "schema"), beside)
    return effort, ResponseFormat(kind="json_schema", schema=obj(form.get("schema"), f"{where}.schema"), extra=beside)


def parse_reasoning(said: dict[str, Json] | None, effort: Effort | None, extra: dict[str, Json]) -> Reasoning | None:
    """Thinking and effort. A type that we do not know stays in `extra`, whole. Raises `Wrong`."""
    if said is None:
        return None if effort is None else Reasoning(effort=effort)
    kind = text(said.get("type"), "thinking.type")
    if kind not in ("enabled", "disabled", "adaptive"):
        extra["thinking"] = said
        return None if effort is None else Reasoning(effort=effort)
    known = {"type"}
    budget = show = None
    if kind == "enabled":
        known.add("budget_tokens")
        budget = opt_int(said, "budget_tokens", "thinking.budget_tokens", least=0)
        if budget is None:
            raise Wrong(
                "thinking.budget_tokens", "thinking.budget_tokens is missing: say how many tokens, at least 1024."
            )
    display = said.get("display")
    if kind != "disabled" and isinstance(display, str) and display in _SHOWN:
        known.add("display")
        show = _SHOWN[display]
    rest(said, known, extra, "thinking")
    return Reasoning(enabled=kind != "disabled", effort=effort, budget_tokens=budget, show=show)
