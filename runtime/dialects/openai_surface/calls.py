"""Tool calls and thoughts as an OpenAI client reads them, with what it must send back."""

from __future__ import annotations

from runtime.dialects.openai.parts import detail_of
from runtime.outcome import Choice, Delta, ToolCallDelta
from runtime.request import Json, ReasoningPart, ToolCall


def call_of(call: ToolCall) -> dict[str, Json]:
    """A whole tool call."""
    body: dict[str, Json]
    if call.extra.get("type") == "custom":
        body = {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    else:
        body = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    return body | _mark(call.signature)


def fragment_of(call: ToolCallDelta) -> dict[str, Json]:
    """A piece of a tool call."""
    body: dict[str, Json] = {"index": call.position}
    name = {"name": call.name} if call.name else {}
    if call.extra.get("type") == "custom":
        body |= {"id": call.id, "type": "custom", "custom": {**name, "input": call.arguments}}
    else:
        if call.id:
            body |= {"id": call.id, "type": "function"}
        body["function"] = {**name, "arguments": call.arguments}
    return body | _mark(call.signature)


def _mark(signature: str) -> dict[str, Json]:
    """Google's mark on a call, where its own OpenAI endpoint puts it; without it Gemini refuses the next turn."""
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def details_of(choice: Choice) -> list[dict[str, Json]]:
    """The thoughts as OpenRouter's `reasoning_details`, where there is more to them than their text."""
    thoughts = [part for part in choice.parts if isinstance(part, ReasoningPart)]
    if not any(thought.signature or thought.redacted or thought.extra for thought in thoughts):
        return []
    return [detail_of(thought) for thought in thoughts]


class Thoughts:
    """The same for one stream, piece by piece. Pieces of one thought share their index."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[int, dict[str, Json]] = {}

    def details_of(self, delta: Delta) -> list[dict[str, Json]]:
        """The details in this piece."""
        found = [detail_of(part) for part in delta.parts if isinstance(part, ReasoningPart)]
        signed_text = delta.text and not delta.reasoning
        if signed_text or not (delta.reasoning or delta.signature or delta.part_extra):
            return found
        if delta.part_extra:
            self._open[delta.choice] = dict(delta.part_extra)
        extra = self._open.get(delta.choice)
        if extra is None and not delta.signature:
            return found
        piece = ReasoningPart(text=delta.reasoning, signature=delta.signature, extra=extra or {})
        return [detail_of(piece), *found]
