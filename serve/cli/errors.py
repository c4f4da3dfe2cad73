"""How a command ends when it cannot do what it was told."""

from __future__ import annotations

BAD_INPUT = 2
FAILED = 1


class Ended(Exception):  # a decision, not an error
    """Ends the command. The message says what is wrong and what to do; one line, where it is about one thing."""

    def __init__(self, message: str, code: int = BAD_INPUT) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
