"""Changes requests and answers: puts the house's instructions before every prompt, and a line behind every answer.

hooks:
  - use: house_rules:HouseRules
    with: {rules: "Answer in British English.", footer: "Please check what matters."}
    routes: [support]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from runtime.hooks import After, Before, Streamed
from runtime.outcome import Completion, Delta, StreamEnd, StreamEvent
from runtime.request import Message, Request, Role, TextPart


class HouseRules:
    def __init__(self, *, rules: str, footer: str = "") -> None:
        self._rules = Message(role=Role.SYSTEM, parts=(TextPart(rules),))
        self._footer = f"\n\n{footer}" if footer else ""

    def pre(self, asked: Before) -> Request:
        return replace(asked.request, messages=(self._rules, *asked.request.messages))

    def post(self, given: After) -> Completion | None:
        if not self._footer or not given.completion.text:
            return None
        first, *others = given.completion.choices
        signed = replace(first, parts=(*first.parts, TextPart(self._footer)))
        return replace(given.completion, choices=(signed, *others))

    def stream_event(self, seen: Streamed) -> Sequence[StreamEvent] | None:
        """The same for those who see the answer as it comes. What `post` returns, a stream's end tells."""
        if isinstance(seen.event, StreamEnd) and isinstance(seen.event.outcome, Completion) and self._footer:
            return (Delta(new_part=True, text=self._footer), seen.event)
        return None
