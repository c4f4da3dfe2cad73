"""The arguments of one tool call, as their text comes in pieces."""

from __future__ import annotations

import re

import orjson

from runtime.dialects.anthropic.answer import INVALID_JSON

_MARKS = re.compile(r'["\\{}\[\]]')


class Arguments:
    """What of them may be sent, piece by piece.

    Text that begins as an object goes on as it comes. Any other is held to the end and kept inside an object: clients
    parse it as it grows, and want an object.
    """

    __slots__ = ("_begun", "_depth", "_escaped", "_held", "_quoted", "_unread")

    def __init__(self) -> None:
        self._begun = False
        self._held = ""
        self._unread: list[str] = []
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def add(self, piece: str) -> str:
        """What is to be sent now."""
        if self._begun:
            self._unread.append(piece)
            return piece
        self._held += piece
        if not self._held.lstrip().startswith("{"):
            return ""
        self._begun = True
        piece, self._held = self._held, ""
        self._unread.append(piece)
        return piece

    def rest(self) -> str:
        """What is to be sent at the end of the call."""
        held, self._held = self._held, ""
        return orjson.dumps({INVALID_JSON: held}).decode() if held.strip() else ""

    def whole(self) -> bool:
        """Whether the object has been closed: nothing can follow that means anything.

        Each character is looked at once, and only where someone asks.
        """
        for piece in self._unread:
            self._read(piece)
        self._unread.clear()
        return self._begun and self._depth == 0

    def _read(self, piece: str) -> None:
        at = 0
        if self._escaped:
            at, self._escaped = 1, False
        while found := _MARKS.search(piece, at):
            at = found.end()
            mark = found[0]
            if self._quoted:
                if mark == '"':
                    self._quoted = False
                elif mark == "\\":
                    at += 1
                    self._escaped = at > len(piece)
            elif mark == '"':
                self._quoted = True
            elif mark in "{[":
                self._depth += 1
            elif mark in "}]":
                self._depth -= 1
