"""How much the model may think, in the form that it takes.

    families      asked for by effort            by budget                 off
    older         enabled, budget of the effort  enabled, that budget      disabled
    4.6           adaptive, effort               enabled, that budget      disabled
    newer         adaptive, effort               adaptive, nearest effort  disabled; some always think

What a request of this dialect says goes on as it was said, unless its model is known to refuse it. An effort alone
switches no thinking on there; in other dialects it does.
"""

from __future__ import annotations

from typing import Literal

from runtime.dialects.anthropic.parts import Block, Wording
from runtime.dialects.encoding import LEAST_BUDGET, budget_of, effort_of
from runtime.request import Effort, Reasoning

DEFAULT_MAX_TOKENS = 4_096
"""The longest answer where neither request nor catalogue name one: the API wants a number."""

_LEVELS: tuple[Effort, ...] = ("minimal", "low", "medium", "high", "xhigh", "max")


def longest_answer(wanted: Reasoning | None, asked: int | None, wording: Wording) -> int:
    """`max_tokens`: as asked, else the model's own limit, else a default with room for the thoughts asked for."""
    limit = wording.target.max_output_tokens
    if asked is not None:
        # More than the model has is the same bound in another dialect, and an error here.
        return asked if wording.ours or limit is None else min(asked, limit)
    if limit is not None:
        return limit
    return DEFAULT_MAX_TOKENS + ((wanted.budget_tokens or 0) if wanted else 0)


def think(body: Block, wanted: Reasoning, *, broken_off: bool, wording: Wording) -> None:
    """Set `thinking` and `output_config.effort`; name what cannot be said.

    `broken_off` is True where a budget for thoughts would be refused: a tool must be called, or the calls of a
    conversation of another dialect have lost theirs.
    """
    effort: Effort | None = None if wanted.effort == "none" else wanted.effort
    thinking: Block = {}
    match _state(wanted, ours=wording.ours):
        case "on":
            found = _on(wanted, effort, body["max_tokens"], broken_off=broken_off, wording=wording)
            if found is None:
                wording.dropped.append("reasoning")
                return
            thinking, effort = found
        case "off":
            thinking = _off(wording)
            effort = effort if wording.ours else None
        case "unsaid":
            pass
    _show(thinking, wanted, wording)
    if thinking:
        body["thinking"] = thinking
    if effort is not None:
        _effort(body, effort, wording)


def _state(wanted: Reasoning, *, ours: bool) -> Literal["on", "off", "unsaid"]:
    if wanted.enabled is False or wanted.effort == "none" or (wanted.budget_tokens == 0 and not wanted.enabled):
        return "off"
    if wanted.enabled or wanted.budget_tokens is not None or (wanted.effort is not None and not ours):
        return "on"
    return "unsaid"


def _off(wording: Wording) -> Block:
    quirks = wording.quirks
    if quirks.adaptive and quirks.off != "disabled":
        # It always thinks, at least between its calls of tools.
        wording.dropped.append("reasoning")
    thinks = quirks.adaptive or quirks.budget
    return {"type": quirks.off} if quirks.off and (thinks or wording.ours) else {}


def _on(
    wanted: Reasoning, effort: Effort | None, longest: int, *, broken_off: bool, wording: Wording
) -> tuple[Block, Effort | None] | None:
    """How thinking is asked for, and the effort that is still to be said; None where it cannot be."""
    quirks, ours, budget = wording.quirks, wording.ours, wanted.budget_tokens
    if quirks.budget and (budget is not None or not quirks.adaptive):
        if budget is None or not ours:
            if longest <= LEAST_BUDGET or broken_off:
                return None
            if budget is None:
                budget = budget_of(effort or ("high" if ours else "medium"), longest)
                # Where efforts have no words, the budget has said it.
                effort = effort if quirks.efforts else None
            budget = min(max(budget, LEAST_BUDGET), longest - 1)
        return {"type": "enabled", "budget_tokens": budget}, effort
    if not quirks.adaptive:
        return None
    if effort is None and budget is not None:
        effort = _nearest(effort_of(budget, wording.target.max_output_tokens or longest), quirks.efforts)
    return {"type": "adaptive"}, effort


def _show(thinking: Block, wanted: Reasoning, wording: Wording) -> None:
    if wanted.show is None or thinking.get("type") in ("disabled", "between_tools"):
        return
    if not thinking:
        if not (wording.quirks.adaptive and not wording.quirks.off):
            # To show thoughts cannot be said without asking for them.
            wording.dropped.append("reasoning.show")
            return
        thinking["type"] = "adaptive"
    thinking["display"] = "summarized" if wanted.show else "omitted"


def _effort(body: Block, effort: Effort, wording: Wording) -> None:
    known = wording.quirks.efforts
    if not known:
        if "thinking" not in body or wording.ours:
            wording.dropped.append("reasoning.effort")
        return
    body.setdefault("output_config", {})["effort"] = effort if wording.ours else _nearest(effort, known)


def _nearest(effort: Effort, known: tuple[Effort, ...]) -> Effort:
    """The effort itself, else the nearest below it that is known, else the least."""
    below = _LEVELS[: _LEVELS.index(effort) + 1]
    return next((level for level in reversed(below) if level in known), known[0] if known else effort)
