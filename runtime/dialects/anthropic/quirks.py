"""What each family of Claude takes, as data: thinking in two forms, effort, sampling, system messages anywhere.

A row of `FAMILIES` holds from its version on, until a newer row. A name that is no Claude's is another host's model:
those take the oldest form of thinking and know no newer words. Every flag can be overruled in a provider's `options`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from runtime.dialects.base import Target
from runtime.request import Effort

_UP_TO_HIGH: tuple[Effort, ...] = ("low", "medium", "high")
_WITHOUT_XHIGH: tuple[Effort, ...] = (*_UP_TO_HIGH, "max")
_ALL: tuple[Effort, ...] = (*_UP_TO_HIGH, "xhigh", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """What one model takes.

    adaptive         thinks as much as it sees fit: `{"type": "adaptive"}`
    budget           thinks within a budget: `{"type": "enabled", "budget_tokens": …}`
    off              the type that switches thinking off; empty where it always thinks
    efforts          the words that `output_config.effort` takes
    sampling         takes temperature, top_p and top_k
    together         takes temperature beside top_p
    forced_tools     can be made to call a tool
    system_anywhere  takes system messages between the turns
    structured       keeps to a JSON schema, in its answer and in the arguments of strict tools
    """

    adaptive: bool = False
    budget: bool = False
    off: str = "disabled"
    efforts: tuple[Effort, ...] = ()
    sampling: bool = True
    together: bool = False
    forced_tools: bool = True
    system_anywhere: bool = False
    structured: bool = True


ANY_HOST = Quirks(budget=True, together=True)
"""Other hosts of this API, with models of their own."""

NEW_CLAUDE = Quirks(adaptive=True, budget=True, efforts=_ALL, together=True, system_anywhere=True)
"""A Claude that no row knows: it gets what it is sent, and answers for itself."""

_PLAIN = Quirks(together=True, structured=False)
_THINKING = replace(_PLAIN, budget=True)
_4_5 = Quirks(budget=True)
_4_6 = Quirks(adaptive=True, budget=True, efforts=_WITHOUT_XHIGH)
_4_7 = Quirks(adaptive=True, efforts=_ALL, sampling=False)
_4_8 = replace(_4_7, system_anywhere=True)
_ALWAYS = replace(_4_8, off="")
_UNFORCED = replace(_ALWAYS, forced_tools=False)

Version = tuple[int, int]

FAMILIES: Mapping[str, tuple[tuple[Version, Quirks], ...]] = {
    "opus": (
        ((5, 5), _UNFORCED),
        ((4, 8), _4_8),
        ((4, 7), _4_7),
        ((4, 6), _4_6),
        ((4, 5), replace(_4_5, efforts=_UP_TO_HIGH)),
        ((4, 1), _4_5),
        ((4, 0), _THINKING),
        ((0, 0), _PLAIN),
    ),
    "sonnet": (
        ((5, 5), replace(_4_8, off="between_tools")),
        ((5, 0), _4_7),
        ((4, 6), _4_6),
        ((4, 5), _4_5),
        ((3, 7), _THINKING),
        ((0, 0), _PLAIN),
    ),
    "haiku": (((5, 0), _4_8), ((4, 5), _4_5), ((0, 0), _PLAIN)),
    "fable": (((5, 1), _UNFORCED), ((0, 0), _ALWAYS)),
    "mythos": (((5, 1), _UNFORCED), ((5, 0), _ALWAYS), ((0, 0), replace(_4_7, off=""))),
}
"""By family, newest row first: the API's own list of models and Anthropic's pages on thinking, effort and migration."""

_OLDEST = ("claude-2", "claude-v2", "claude-instant")

_NAME = re.compile(
    r"claude-(?:(\d{1,2})(?:[-.](\d{1,2}))?-)?(opus|sonnet|haiku|fable|mythos)(?:-(\d{1,2})(?:[-.](\d{1,2}))?)?(?!\d)"
)

_OPTIONS = frozenset(one.name for one in fields(Quirks))


def quirks_of(target: Target) -> Quirks:
    """What this target's model takes. `Target.options` overrule the tables."""
    found = _known(target.model)
    told: dict[str, Any] = {
        name: value
        for name, value in target.options.items()
        if name in _OPTIONS and type(value) is type(getattr(found, name))
    }
    return replace(found, **told) if told else found


@lru_cache(maxsize=1024)
def _known(model: str) -> Quirks:
    """The row of a model, also behind a host's prefix (`us.anthropic.claude-…`) and before a date."""
    name = _NAME.search(model)
    if name is None:
        if any(word in model for word in _OLDEST):
            return _PLAIN
        return NEW_CLAUDE if "claude" in model else ANY_HOST
    # The number stood before the family until version 4, and stands after it since.
    major, minor = (name[1], name[2]) if name[1] else (name[4], name[5])
    if major is None and name[3] in ("opus", "sonnet", "haiku"):
        return NEW_CLAUDE
    version = (int(major or 0), int(minor or 0))
    return next(quirks for since, quirks in FAMILIES[name[3]] if since <= version)
