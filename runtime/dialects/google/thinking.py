"""`thinkingConfig` and our `Reasoning`, both ways.

    thinkingBudget 0 · -1 · n       enabled False · enabled True · budget_tokens n
    thinkingLevel LOW               effort low
    includeThoughts                 show

On the way out the family of the model decides (`families`): older ones take a budget, newer ones a level. What
cannot be said exactly is said as nearly as the model allows, and named.
"""

from __future__ import annotations

from typing import get_args

from runtime.dialects.encoding import effort_of
from runtime.dialects.fields import Wrong, opt_bool, opt_int, opt_text
from runtime.dialects.google.families import EFFORT_BUDGETS, Family
from runtime.dialects.google.words import leftover_fields, opt_fields
from runtime.request import Effort, Json, Reasoning

_ORDER: tuple[Effort, ...] = get_args(Effort)
_WHERE = "generationConfig.thinkingConfig"
_KNOWN = frozenset(("includeThoughts", "thinkingBudget", "thinkingLevel"))


def parse_thinking(config: dict[str, Json], extra: dict[str, Json]) -> Reasoning | None:
    """What `generationConfig` says of thinking; None where nothing."""
    said = opt_fields(config, "thinkingConfig", _WHERE)
    leftover_fields(said, _KNOWN, f"{_WHERE}.", extra)
    budget = opt_int(said, "thinkingBudget", f"{_WHERE}.thinkingBudget", least=-1)
    word = (opt_text(said, "thinkingLevel", f"{_WHERE}.thinkingLevel") or "").lower()
    effort: Effort | None = None
    if word and word != "thinking_level_unspecified":
        effort = next((one for one in _ORDER if one == word), None)
        if effort is None:
            raise Wrong(
                f"{_WHERE}.thinkingLevel",
                f'{_WHERE}.thinkingLevel must be MINIMAL, LOW, MEDIUM or HIGH, but is "{word}".',
            )
    found = Reasoning(
        enabled={0: False, -1: True}.get(budget) if budget is not None else None,
        effort=effort,
        budget_tokens=budget if budget is not None and budget > 0 else None,
        show=opt_bool(said, "includeThoughts", f"{_WHERE}.includeThoughts"),
    )
    return None if found == Reasoning() else found


def thinking_of(
    wanted: Reasoning, family: Family, *, ours: bool, longest: int | None, dropped: list[str]
) -> dict[str, Json]:
    """The `thinkingConfig` for this family; empty where there is nothing to say.

    `ours`: the caller spoke this dialect, so that a budget or a level is meant as it stands. `longest` is the longest
    answer in tokens, where known.
    """
    stop = wanted.enabled is False or wanted.effort == "none"
    if family.thinking == "none":
        if not stop:
            dropped.append("reasoning")
        return {}
    said: dict[str, Json] = {}
    if wanted.show is not None:
        said["includeThoughts"] = wanted.show
    if family.thinking == "any":
        said |= _as_it_stands(wanted)
    elif stop:
        said |= _stopped(family, ours=ours, dropped=dropped)
    elif family.thinking == "budget":
        said |= _budget(wanted, family, dropped)
    else:
        said |= _level(wanted, family, ours=ours, longest=longest, dropped=dropped)
    return said


def _as_it_stands(wanted: Reasoning) -> dict[str, Json]:
    said: dict[str, Json] = {}
    if wanted.effort is not None and wanted.effort != "none":
        said["thinkingLevel"] = wanted.effort.upper()
    elif wanted.effort == "none" or wanted.enabled is False:
        said["thinkingBudget"] = 0
    elif wanted.enabled and wanted.budget_tokens is None:
        said["thinkingBudget"] = -1
    if wanted.budget_tokens is not None:
        said["thinkingBudget"] = wanted.budget_tokens
    return said


def _stopped(family: Family, *, ours: bool, dropped: list[str]) -> dict[str, Json]:
    if family.stoppable:
        return {"thinkingBudget": 0}
    if family.thinking == "budget":
        dropped.append("reasoning")
        return {"thinkingBudget": family.least}
    if ours and "minimal" in family.levels:
        # Taken by the flash models for the sake of older callers, as the least that they can do.
        return {"thinkingBudget": 0}
    dropped.append("reasoning")
    return {"thinkingLevel": family.levels[0].upper()}


def _budget(wanted: Reasoning, family: Family, dropped: list[str]) -> dict[str, Json]:
    budget = wanted.budget_tokens
    if budget is None and wanted.effort is not None:
        budget = max(family.least, min(family.most, EFFORT_BUDGETS[wanted.effort]))
    if budget is None:
        return {"thinkingBudget": -1} if wanted.enabled else {}
    fitting = max(family.least, min(family.most, budget))
    if fitting != budget or (wanted.budget_tokens is not None and wanted.effort is not None):
        dropped.append("reasoning")
    return {"thinkingBudget": fitting}


def _level(
    wanted: Reasoning, family: Family, *, ours: bool, longest: int | None, dropped: list[str]
) -> dict[str, Json]:
    effort = wanted.effort
    if effort is not None and wanted.budget_tokens is not None:
        # Google refuses the two together.
        dropped.append("reasoning")
    elif ours and wanted.budget_tokens is not None:
        return {"thinkingBudget": wanted.budget_tokens}
    elif ours and effort is None:
        return {"thinkingBudget": -1} if wanted.enabled else {}
    if effort is None and wanted.budget_tokens is not None:
        effort = effort_of(wanted.budget_tokens, longest)
    if effort is None:
        if not wanted.enabled:
            return {}
        effort = "medium"
    at = _ORDER.index(effort)
    # The next higher level where a model lacks the one that is asked for, as Google's own OpenAI endpoint does.
    level = next((one for one in family.levels if _ORDER.index(one) >= at), family.levels[-1])
    if level != wanted.effort and wanted.effort is not None and "reasoning" not in dropped:
        dropped.append("reasoning")
    return {"thinkingLevel": level.upper()}
