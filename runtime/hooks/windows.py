"""Texts of a stream that are looked at through a window: some of each is held back until more of it has come.

Delta ─► the window of its text (choice, kind) ─► what may go on now
another text begins, a finish reason, the end   ─► what the windows before it still hold goes first
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from runtime.outcome import Delta, ToolCallDelta
from runtime.values import replace


class Window(Protocol):
    """Looks at one text as it comes."""

    def feed(self, text: str) -> str:
        """What of all that has come may go on now."""
        ...

    def rest(self) -> str:
        """What was held back. The text is over."""
        ...


Key = tuple[int, str, int]
"""Of which choice, which kind of text, and of calls the position."""

WORDS = ("reasoning", "text", "refusal")
CALL = "call"


class Windows:
    """Of one stream. `make` makes a window; it is told whether what it will be fed is JSON."""

    def __init__(self, make: Callable[[bool], Window]) -> None:
        self._make = make
        self._open: dict[Key, Window] = {}
        # Texts that begin a part of their own, of which nothing has gone on yet.
        self._fresh: set[Key] = set()

    def passed(self, delta: Delta) -> tuple[Delta, ...]:
        """What goes on because of this piece."""
        choice = delta.choice
        said = [kind for kind in WORDS if getattr(delta, kind)]
        before: list[Delta] = []
        # A text is over when another one begins, or when something stands behind it.
        begins = delta.new_part and bool(said)
        for key in [key for key in self._open if key[0] == choice and key[1] != CALL]:
            if begins or (key[1] not in said and _is_more(delta)):
                before += self._flushed(key)
        ends = delta.finish_reason is not None or bool(delta.parts or delta.audio or _is_mark(delta))
        changes: dict[str, Any] = {}
        for at, kind in enumerate(said):
            going = self._window(choice, kind, 0, json=False).feed(getattr(delta, kind))
            if ends or at + 1 < len(said) or delta.tool_calls:
                going += self._closed((choice, kind, 0))
            changes[kind] = going
        calls = [self._call(choice, one) for one in delta.tool_calls]
        if delta.finish_reason is not None:
            for key in [key for key in self._open if key[0] == choice and key[1] == CALL]:
                before += self._flushed(key)
        if not changes and not calls:
            return (*before, delta)
        begun = delta.new_part
        for at, kind in enumerate(said):
            key = choice, kind, 0
            if begins and at == 0 and not changes[kind]:
                self._fresh.add(key)
                begun = False
            elif changes[kind] and key in self._fresh:
                self._fresh.discard(key)
                begun = True
        made = replace(delta, **changes, new_part=begun, tool_calls=tuple(calls))
        if said and not any(changes.values()) and not _has_more(made):
            return tuple(before)
        return (*before, made)

    def rest(self) -> tuple[Delta, ...]:
        """All that is held back. The stream is over."""
        return tuple(delta for key in list(self._open) for delta in self._flushed(key))

    def _window(self, choice: int, kind: str, position: int, *, json: bool) -> Window:
        key = choice, kind, position
        found = self._open.get(key)
        if found is None:
            found = self._open[key] = self._make(json)
        return found

    def _call(self, choice: int, said: ToolCallDelta) -> ToolCallDelta:
        if not said.arguments:
            return said
        going = self._window(choice, CALL, said.position, json=True).feed(said.arguments)
        return replace(said, arguments=going)

    def _closed(self, key: Key) -> str:
        window = self._open.pop(key, None)
        return "" if window is None else window.rest()

    def _flushed(self, key: Key) -> list[Delta]:
        rest = self._closed(key)
        if not rest:
            return []
        choice, kind, position = key
        fresh = key in self._fresh
        self._fresh.discard(key)
        match kind:
            case "reasoning":
                return [Delta(choice=choice, new_part=fresh, reasoning=rest)]
            case "refusal":
                return [Delta(choice=choice, refusal=rest)]
            case "call":
                return [Delta(choice=choice, tool_calls=(ToolCallDelta(position=position, arguments=rest),))]
            case _:
                return [Delta(choice=choice, new_part=fresh, text=rest)]


def _is_mark(delta: Delta) -> bool:
    """Whether it says something of the text before it."""
    return bool(delta.signature or delta.citations or delta.part_extra)


def _is_more(delta: Delta) -> bool:
    """Whether something stands in it before which all text must have gone."""
    return delta.has_content or delta.finish_reason is not None or _is_mark(delta)


def _has_more(delta: Delta) -> bool:
    return bool(
        delta.tool_calls
        or delta.parts
        or delta.audio
        or delta.finish_reason is not None
        or delta.logprobs is not None
        or delta.extra
        or _is_mark(delta)
    )
