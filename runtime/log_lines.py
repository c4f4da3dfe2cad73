"""A log record as one line of JSON: when, how bad, which event, in which process, and the event's fields.

    {"at":"2026-11-23T11:42:56.012Z","level":"warning","event":"feed.lost","process":"edge","pid":71,"why":"…"}

Nothing of a prompt or an answer is in it, and no key: fields that could hold any are left out by their names, whatever
looks like a key is covered, and of an exception its type and its place are told. `content` tells all but keys.
"""

from __future__ import annotations

import logging
import re
import traceback
from datetime import UTC, datetime

import orjson

SAID = frozenset(
    (
        *("prompt", "prompts", "message", "messages", "content", "text", "input", "inputs", "output", "answer", "body"),
        *("query", "completion", "request", "response", "vector"),
    )
)
"""Fields that hold what people say. Those that name secrets are `SECRET`."""

SECRET = frozenset(("authorization", "api_key", "apikey", "secret", "token", "password", "x-api-key", "cookie"))

KEY = re.compile(
    r"(?i)\b(?:bearer\s+\S{8,}|(?:sk|pk|rg|gsk|xai|hf|ghp|gho)[-_][A-Za-z0-9_-]{8,}|AIza[A-Za-z0-9_-]{20,})"
)
"""What keys of providers and of ours look like."""

COVERED = "[key]"
LONGEST = 2_000
"""Of one text; a log is no place for a document."""

STANDARD = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"))
OURS = frozenset(("at", "level", "event", "process", "pid", "logger", "error"))


class Lines(logging.Formatter):
    """`process` is what this process is called."""

    def __init__(self, process: str, *, content: bool = False) -> None:
        super().__init__()
        self._process = process
        self._content = content

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, object] = {
            "at": at,
            "level": record.levelname.lower(),
            "event": _covered(record.getMessage()),
            "process": self._process,
            "pid": record.process,
            "logger": record.name,
        }
        for name, value in vars(record).items():
            if name in STANDARD or name.lower() in SECRET or (name.lower() in SAID and not self._content):
                continue
            line[f"field.{name}" if name in OURS else name] = self._value(value)
        if record.exc_info is not None and (error := record.exc_info[1]) is not None:
            line["error"] = self._error(error)
        return orjson.dumps(line, option=orjson.OPT_NON_STR_KEYS).decode()

    def _value(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            # JSON has no larger ones here.
            return str(value) if isinstance(value, int) and not -(2**63) <= value < 2**63 else value
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(one) for one in value]
        return _covered(str(value))

    def _error(self, error: BaseException) -> dict[str, object]:
        frames = traceback.extract_tb(error.__traceback__)
        told: dict[str, object] = {
            "type": type(error).__name__,
            "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        }
        # A library's message may quote what it was given.
        return {**told, "message": _covered(str(error))} if self._content else told


def _covered(text: str) -> str:
    text = KEY.sub(COVERED, text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
