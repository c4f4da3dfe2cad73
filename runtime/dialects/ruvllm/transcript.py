r"""A conversation as one text, since that is all that ruvLLM reads.

One message of a user, of plain text and without a name, is the query as it stands. Anything more is a transcript: each
turn under a line that says in brackets whose it is, turns apart by a blank line, in the order of the conversation,
every system message included.

    [System]
    Answer in one word.

    [User: Ada]
    What is the capital of France?

    [Assistant]
    [Calls lookup with id c1: {"country": "France"}]

    [Result of lookup with id c1]
    Paris

A line of a turn that looks like such a heading is indented by a space, so that nobody can put words into another's
mouth. The same conversation always gives the same text; there is no way back, and none is needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runtime.dialects.base import Target
from runtime.dialects.encoding import put_extra, tool_names
from runtime.dialects.status import refused
from runtime.outcome import Failure, FailureKind
from runtime.request import FilePart, Message, NativePart, Part, ReasoningPart, Role, TextPart, ToolCall

_SPEAKERS = {
    Role.SYSTEM: "System",
    Role.DEVELOPER: "System",
    Role.USER: "User",
    Role.ASSISTANT: "Assistant",
}
_HEADING = re.compile(
    r"(?:^|(?<=\r))(?=\[(?:System|User|Assistant|Calls|Result|Failure|Document)\b)", re.MULTILINE | re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Folded:
    """The query, and what of the messages is not in it, by name."""

    query: str
    dropped: tuple[str, ...] = ()


def fold_messages(messages: Sequence[Message], target: Target) -> Folded | Failure:
    """All messages as one query, or why one of them cannot be said in words."""
    folding = _Folding(target, tool_names(messages))
    for position, message in enumerate(messages):
        failure = folding.add(message, f"messages[{position}]")
        if failure is not None:
            return failure
    return Folded(_bare(messages) or "\n\n".join(folding.turns), tuple(folding.dropped))


def _bare(messages: Sequence[Message]) -> str:
    """The text of a single user's message of plain text; nothing where there is more to say."""
    match messages:
        case [Message(role=Role.USER, name=None, refusal=None, parts=parts)]:
            texts = [part.text for part in parts if isinstance(part, TextPart)]
            return "\n".join(texts) if len(texts) == len(parts) else ""
        case _:
            return ""


@dataclass(slots=True)
class _Folding:
    target: Target
    names: Mapping[str, str]
    turns: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def add(self, message: Message, where: str) -> Failure | None:
        lines: list[str] = []
        for number, part in enumerate(message.parts):
            said = self._part(part, f"{where}.content[{number}]", where)
            if isinstance(said, Failure):
                return said
            if said:
                lines.append(said)
        if message.refusal:
            lines.append(_plain(message.refusal))
        if message.cache is not None:
            self.dropped.append("cache")
        self.dropped.extend(f"{where}.{path}" for path in message.extra)
        if lines or message.role is Role.TOOL:
            self.turns.append("\n".join((self._heading(message), *lines)))
        return None

    def _heading(self, message: Message) -> str:
        if message.role is not Role.TOOL:
            speaker = _SPEAKERS[message.role]
            return f"[{speaker}: {_word(message.name)}]" if message.name else f"[{speaker}]"
        call = message.tool_call_id or ""
        name = message.name or self.names.get(call) or "a tool"
        answers = f" with id {_word(call)}" if call else ""
        return f"[{'Failure' if message.is_error else 'Result'} of {_word(name)}{answers}]"

    def _part(self, part: Part, param: str, where: str) -> str | Failure:
        match part:
            case TextPart():
                if part.citations:
                    self.dropped.append(f"{param}.citations")
                said = _plain(part.text)
            case ToolCall():
                said = f"[Calls {_word(part.name)} with id {_word(part.id)}: {_word(part.arguments)}]"
            case FilePart(text=str(text)):
                named = f": {_word(part.name)}" if part.name else ""
                said = f"[Document{named}]\n{_plain(text)}"
            case ReasoningPart():
                self.dropped.append(f"{where}.reasoning")
                return ""
            case NativePart():
                return self._cannot(param, f"no {part.kind}")
            case _:
                return self._cannot(param, "text only, no images, sounds or files")
        if isinstance(part, TextPart | ToolCall) and part.signature:
            self.dropped.append(f"{param}.signature")
        if part.cache is not None:
            self.dropped.append("cache")
        put_extra({}, part.extra, ours=False, dropped=self.dropped, prefix=f"{param}.")
        return said

    def _cannot(self, param: str, what: str) -> Failure:
        detail = f"{param}: ruvLLM takes {what}; leave it out, or ask another provider"
        return refused(self.target, FailureKind.UNSUPPORTED, detail, param=param)


def _plain(text: str) -> str:
    """Text in which no line passes for a heading."""
    return _HEADING.sub(" ", text)


def _word(text: str) -> str:
    """Text that stays on its line."""
    return text.replace("\r\n", " ").replace("\n", " ").replace("\r", " ")
