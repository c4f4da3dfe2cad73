"""The `input` of a Responses body as messages.

    message, reasoning, function_call, …    what an assistant said in one go is one message, its parts in order
    function_call_output                    a message of its own

What names an item or says how far it came (`id`, `status`) is ours to give, and means nothing on the way in.
"""

from __future__ import annotations

from runtime.dialects.fields import Wrong, array, kind_name, obj, opt_text, text
from runtime.dialects.paths import leftovers
from runtime.dialects.responses_surface.parts import UNSAID, cannot, part_of, signature_of, thought_of
from runtime.request import ImagePart, Json, Message, Part, Role, TextPart, ToolCall, user

_ROLES = {role.value: role for role in (Role.USER, Role.SYSTEM, Role.DEVELOPER, Role.ASSISTANT)}
_ALWAYS = ("type", "id", "status")


def messages_of(said: Json, unsaid: dict[str, Json]) -> list[Message]:
    """All messages, in order; `unsaid` collects what no message holds. Raises `Wrong`."""
    if isinstance(said, str):
        return [user(said)]
    if said is None:
        raise Wrong("input", "input is missing: send a string or an array of items.")
    turns = _Turns(unsaid)
    for at, one in enumerate(array(said, "input")):
        turns.add(obj(one, f"input[{at}]"), f"input[{at}]")
    turns.close()
    if not turns.messages:
        raise Wrong("input", "input must hold at least one item.")
    return turns.messages


class _Turns:
    def __init__(self, unsaid: dict[str, Json]) -> None:
        self.messages: list[Message] = []
        self._unsaid = unsaid
        self._parts: list[Part] = []
        self._refusal: str | None = None
        self._called: set[str] = set()

    def close(self) -> None:
        """What the assistant said so far is one turn."""
        if self._parts or self._refusal is not None:
            turn = Message(role=Role.ASSISTANT, parts=tuple(self._parts), refusal=self._refusal)
            self.messages.append(turn)
        self._parts, self._refusal = [], None

    def add(self, fields: dict[str, Json], param: str) -> None:
        kind = "message" if "type" not in fields and "role" in fields else text(fields.get("type"), f"{param}.type")
        match kind:
            case "message":
                self._message(fields, param)
            case "reasoning":
                self._know(fields, param, "summary", "content", "encrypted_content")
                if thought := thought_of(fields, param):
                    self._parts.append(thought)
            case "function_call":
                self._know(fields, param, "call_id", "name", "arguments", "extra_content")
                self._call(fields, param, "arguments")
            case "custom_tool_call":
                self._know(fields, param, "call_id", "name", "input")
                self._call(fields, param, "input")
            case "function_call_output" | "custom_tool_call_output":
                self._output(fields, param)
            case "image_generation_call":
                # A picture that a model drew earlier; how it was ordered is no part of it.
                drawn = fields.get("result")
                if drawn is not None:
                    kind = opt_text(fields, "output_format", f"{param}.output_format") or "png"
                    data = text(drawn, f"{param}.result")
                    self._parts.append(ImagePart(data=data, media_type=f"image/{kind}"))
            case "item_reference":
                raise cannot(
                    param,
                    f"{param} refers to an item by its id, but nothing is stored here: send the whole item instead "
                    "(clients do so with store: false).",
                )
            case _:
                raise cannot(
                    f"{param}.type",
                    f'{param} is a "{kind}", which only OpenAI itself can run or read: leave it out, '
                    "or say what it holds in a message.",
                )

    def _know(self, fields: dict[str, Json], param: str, *known: str) -> None:
        leftovers(fields, (*_ALWAYS, *known), f"{UNSAID}{param}", self._unsaid)

    def _message(self, fields: dict[str, Json], param: str) -> None:
        self._know(fields, param, "role", "content")
        word = fields.get("role")
        role = _ROLES.get(word) if isinstance(word, str) else None
        if role is None:
            shown = f'"{word}"' if isinstance(word, str) else kind_name(word)
            raise Wrong(f"{param}.role", f"{param}.role must be one of {', '.join(_ROLES)}, but is {shown}.")
        parts, refusal = self._content(fields.get("content"), f"{param}.content")
        if role is Role.ASSISTANT:
            self._parts.extend(parts)
            self._refusal = self._refusal if refusal is None else (self._refusal or "") + refusal
            return
        if refusal is not None:
            raise Wrong(f"{param}.content", f"{param}.content holds a refusal, which is the assistant's to say.")
        self.close()
        self.messages.append(Message(role=role, parts=tuple(parts)))

    def _content(self, said: Json, param: str) -> tuple[list[Part], str | None]:
        if isinstance(said, str):
            return ([TextPart(said)] if said else []), None
        if not isinstance(said, list):
            raise Wrong(param, f"{param} must be a string or an array of content parts, but is {kind_name(said)}.")
        parts: list[Part] = []
        refusal: str | None = None
        for at, one in enumerate(said):
            part = part_of(one, f"{param}[{at}]", self._unsaid)
            if isinstance(part, str):
                refusal = (refusal or "") + part
            else:
                parts.append(part)
        return parts, refusal

    def _call(self, fields: dict[str, Json], param: str, key: str) -> None:
        call = ToolCall(
            id=text(fields.get("call_id"), f"{param}.call_id"),
            name=text(fields.get("name"), f"{param}.name"),
            arguments=text(fields.get(key), f"{param}.{key}"),
            signature=signature_of(fields),
            extra={"type": "custom"} if key == "input" else {},
        )
        self._called.add(call.id)
        self._parts.append(call)

    def _output(self, fields: dict[str, Json], param: str) -> None:
        self._know(fields, param, "call_id", "output", "name")
        call_id = text(fields.get("call_id"), f"{param}.call_id")
        if call_id not in self._called:
            raise Wrong(
                f"{param}.call_id",
                f'{param}.call_id "{call_id}" answers no call before it: nothing is stored here, so send the '
                "function_call item, too.",
            )
        parts, refusal = self._content(fields.get("output"), f"{param}.output")
        if refusal is not None:
            raise Wrong(f"{param}.output", f"{param}.output holds a refusal, which is the assistant's to say.")
        self.close()
        name = opt_text(fields, "name", f"{param}.name")
        self.messages.append(Message(role=Role.TOOL, parts=tuple(parts), tool_call_id=call_id, name=name))
