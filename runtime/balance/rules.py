"""Rules of the settings: which targets a request of some kind goes to first. The first that matches decides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.balance.entry import Asked, Entry
from runtime.models import Feature

MOST_TEXT = 4_000
"""Characters of a request that patterns are matched against. They are ours, but what they read comes from callers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Matches if all that it names holds: `pattern` is found in what the user said last, and so on.

    `targets` are `provider/model`, models or providers, in order; whoever none of them names comes after.
    """

    targets: tuple[str, ...]
    pattern: re.Pattern[str] | None = None
    min_tokens: int | None = None
    max_tokens: int | None = None
    needs_tools: bool = False
    needs_vision: bool = False

    def matches(self, asked: Asked) -> bool:
        """Whether this rule is about such a request."""
        if self.pattern is not None and not self.pattern.search(asked.text[:MOST_TEXT]):
            return False
        if self.min_tokens is not None and asked.input_tokens < self.min_tokens:
            return False
        if self.max_tokens is not None and asked.input_tokens > self.max_tokens:
            return False
        needed = {Feature.TOOLS: self.needs_tools, Feature.VISION: self.needs_vision}
        return all(feature in asked.needs for feature, wanted in needed.items() if wanted)

    def place(self, entry: Entry) -> int | None:
        """The position of the first target that names this entry; None if none does."""
        of = entry.candidate
        names = (str(of), of.model, of.provider)
        return next((at for at, target in enumerate(self.targets) if target in names), None)


def matching(rules: Sequence[Rule], asked: Asked, entries: Sequence[Entry]) -> tuple[int, Rule] | None:
    """The first rule that matches and names anybody who is left, with its position."""
    for at, rule in enumerate(rules):
        if rule.matches(asked) and any(rule.place(entry) is not None for entry in entries):
            return at, rule
    return None
