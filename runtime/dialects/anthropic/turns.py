"""The messages of a request as turns of this API.

    SYSTEM, DEVELOPER first ────► the field `system`
    USER and TOOL in a row ─────► one user turn; the API wants all results of an answer in one, results first
    ASSISTANT in a row ─────────► one assistant turn
    SYSTEM later ───────────────► {"role": "system"} for models that take it, else the field `system`, in order

A request of this dialect keeps its own order. In one of another dialect a later system message goes behind the user's
words beside which it stands, where the API allows it: it holds for the next answer either way. The field `system` is
for models that have no such place, and for a message that stands between two answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from runtime.dialects.anthropic.parse import MESSAGE_EXTRA
from runtime.dialects.anthropic.parts import UNCACHED, Block, Wording, block_of, cannot, mark
from runtime.dialects.fields import Wrong
from runtime.request import Json, Message, NativePart, Role, TextPart


@dataclass(slots=True)
class Turn:
    """One turn in the making. `results` go before `blocks`; `fields` stand beside the content."""

    role: str
    results: list[Block] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    fields: Block = field(default_factory=dict)

    def body(self) -> Block:
        content = [*self.results, *self.blocks]
        if not content and self.role == "system":
            # It may only change the effort from here on.
            return {"role": self.role, **self.fields}
        return {"role": self.role, "content": content, **self.fields}


class Conversation:
    """Feed it the messages in order."""

    def __init__(self, wording: Wording) -> None:
        self._wording = wording
        self._system: list[Block] = []
        self._turns: list[Turn] = []
        self._later: list[Block] = []

    def add_all(self, messages: Iterable[Message]) -> None:
        """Raises `Wrong` where a message cannot be said."""
        for position, message in enumerate(messages):
            match message.role:
                case Role.SYSTEM | Role.DEVELOPER:
                    self._add_system(message, position)
                case Role.USER:
                    self._add(message, position, "user")
                case Role.TOOL:
                    self._add_result(message, position)
                case Role.ASSISTANT:
                    self._settle_later()
                    self._add(message, position, "assistant")
        self._settle_later()

    @property
    def system(self) -> Json:
        """The field `system`: None, a string where that is all, else blocks."""
        return _shortest(self._system) or None

    @property
    def messages(self) -> list[Block]:
        return [turn.body() for turn in self._turns]

    @property
    def asks(self) -> bool:
        """Whether there is any turn of the user."""
        return any(turn.role == "user" for turn in self._turns)

    @property
    def unthought_calls(self) -> bool:
        """True where the conversation stands inside tool calls that were made without a thought before them."""
        last = next((turn for turn in reversed(self._turns) if turn.role == "assistant"), None)
        return (
            last is not None
            and any(block.get("type") == "tool_use" for block in last.blocks)
            and last.blocks[0].get("type") not in UNCACHED
        )

    def _add_system(self, message: Message, position: int) -> None:
        wording = self._wording
        where = f"messages[{position}]"
        plain = True
        for number, part in enumerate(message.parts):
            if isinstance(part, NativePart):
                plain = False
            elif not isinstance(part, TextPart):
                raise cannot(f"{where}.content[{number}]", "text alone in a system message")
        blocks = self._blocks(message, position)
        in_place = wording.quirks.system_anywhere and bool(self._turns)
        if (wording.ours and in_place) or not plain:
            if not wording.quirks.system_anywhere and self._turns:
                raise cannot(where, "no changes of tools in between on this model")
            turn = Turn("system", blocks=blocks)
            wording.keep(turn.fields, message.extra, f"{where}.")
            self._turns.append(turn)
            return
        wording.dropped.extend(f"{where}.{path}" for path in message.extra)
        (self._later if in_place else self._system).extend(blocks)

    def _settle_later(self) -> None:
        """A gap between two answers is over: its system messages go behind the user's turn, if it has one."""
        if not self._later:
            return
        if self._turns[-1].role == "user":
            self._turns.append(Turn("system", blocks=self._later))
        else:
            self._system.extend(self._later)
        self._later = []

    def _add(self, message: Message, position: int, role: str) -> None:
        wording = self._wording
        blocks = self._blocks(message, position)
        if not blocks and not wording.ours:
            # Nothing was said, and the API refuses an empty turn.
            wording.dropped.extend(f"messages[{position}].{path}" for path in message.extra)
            return
        fields: Block = {}
        wording.keep(fields, message.extra, f"messages[{position}].")
        self._turn(role, fields).blocks.extend(blocks)

    def _add_result(self, message: Message, position: int) -> None:
        wording = self._wording
        where = f"messages[{position}]"
        if message.tool_call_id is None:
            raise Wrong(
                f"{where}.tool_call_id", f"{where}.tool_call_id is missing: name the tool call that this answers."
            )
        block: Block = {"type": "tool_result", "tool_use_id": wording.ids.of_result(message.tool_call_id)}
        content = self._contents(message, position)
        if content:
            block["content"] = _shortest(content)
        if message.is_error is not None:
            block["is_error"] = message.is_error
        mark(block, message.cache)
        beside = {path: value for path, value in message.extra.items() if path.startswith(MESSAGE_EXTRA)}
        wording.keep(block, {path: message.extra[path] for path in message.extra.keys() - beside.keys()}, f"{where}.")
        fields: Block = {}
        wording.keep(fields, {path.removeprefix(MESSAGE_EXTRA): value for path, value in beside.items()}, f"{where}.")
        turn = self._turn("user", fields)
        (turn.blocks if wording.ours else turn.results).append(block)

    def _turn(self, role: str, fields: Block) -> Turn:
        """The turn that goes on, or a new one. What stands beside a content belongs to a turn of its own."""
        if not self._turns or self._turns[-1].role != role or fields:
            self._turns.append(Turn(role, fields=fields))
        return self._turns[-1]

    def _blocks(self, message: Message, position: int) -> list[Block]:
        blocks = self._contents(message, position)
        if message.name is not None:
            self._wording.dropped.append(f"messages[{position}].name")
        if message.refusal:
            # A refusal is what the model said; this API has no other place for it.
            blocks.append({"type": "text", "text": message.refusal})
        if message.cache is not None:
            last = next((block for block in reversed(blocks) if block.get("type") not in UNCACHED), None)
            if last is None:
                self._wording.dropped.append("cache")
            else:
                mark(last, message.cache)
        return blocks

    def _contents(self, message: Message, position: int) -> list[Block]:
        said = (
            block_of(part, f"messages[{position}].content[{number}]", position, self._wording)
            for number, part in enumerate(message.parts)
        )
        return [block for block in said if block is not None]


def _shortest(blocks: list[Block]) -> Json:
    """One block of plain text as a string; a block of another kind may have a text too, and stays a block."""
    plain = len(blocks) == 1 and blocks[0].keys() == {"type", "text"} and blocks[0]["type"] == "text"
    return blocks[0]["text"] if plain else blocks
