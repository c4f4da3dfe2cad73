"""A script from plain data, as settings hold it. Every error names the step and the key.

script:
  loop: false                                     # a bare list of steps will do, too
  steps:
    - fault: {status: 429, retry_after_s: 0.5}    # or: refuse, reset, hang, malformed
    - {text: Hello there, chunk_delay_s: 0.02, fault: {truncate: 1}}
    - {fault: {error: {after: 2, type: overloaded_error}}, text: one two three}
    - {text: Hello, usage: {input_tokens: 3, output_tokens: 1}}
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from runtime.dialects.scripted.script import (
    ErrorEvent,
    Hang,
    Malformed,
    Refuse,
    Reset,
    Script,
    Stall,
    Status,
    Step,
    Trouble,
    Truncate,
)
from runtime.outcome import FinishReason, Usage
from runtime.request import Json, ToolCall

_PLAIN: Mapping[str, Trouble] = {"refuse": Refuse(), "reset": Reset(), "hang": Hang(), "malformed": Malformed()}
_COUNTED: Mapping[str, Callable[[int], Trouble]] = {"truncate": Truncate, "stall": Stall, "malformed": Malformed}
_STEP = tuple(field.name for field in dataclasses.fields(Step))
_USAGE = tuple(field.name for field in dataclasses.fields(Usage) if field.name != "server_tool_calls")
_DELAYS = ("delay_s", "first_chunk_delay_s", "chunk_delay_s")


class BadScript(ValueError):
    """The script is not as it should be; the message says where and what to write instead."""


def parse_script(said: Json) -> Script:
    """The script in plain data: nothing, a list of steps, or `{"steps": […], "loop": …}`. Raises `BadScript`."""
    if said is None:
        return Script()
    if isinstance(said, list | tuple):
        said = {"steps": said}
    fields = _obj(said, "script")
    _only(fields, ("steps", "loop"), "script")
    loop = fields.get("loop", True)
    if not isinstance(loop, bool):
        raise BadScript(f"script.loop must be true or false, but is {loop!r}")
    steps = _list(fields.get("steps"), "script.steps")
    return Script(tuple(_step(one, f"script.steps[{at}]") for at, one in enumerate(steps)), loop)


def _step(said: Json, where: str) -> Step:
    if isinstance(said, str):
        return Step(text=said)
    fields = _obj(said, where)
    _only(fields, _STEP, where)
    finish = fields.get("finish_reason")
    if finish is not None and finish not in set(FinishReason):
        raise BadScript(f"{where}.finish_reason must be one of {', '.join(FinishReason)}, but is {finish!r}")
    return Step(
        text=_text(fields, "text", where) or "",
        chunks=tuple(_str(one, f"{where}.chunks") for one in _list(fields.get("chunks"), f"{where}.chunks")),
        tool_calls=tuple(
            _tool_call(one, at, f"{where}.tool_calls[{at}]")
            for at, one in enumerate(_list(fields.get("tool_calls"), f"{where}.tool_calls"))
        ),
        reasoning=_text(fields, "reasoning", where) or "",
        usage=_usage(fields["usage"], f"{where}.usage") if fields.get("usage") is not None else None,
        finish_reason=FinishReason(finish) if finish is not None else None,
        fault=_fault(fields["fault"], f"{where}.fault") if fields.get("fault") is not None else None,
        **{name: _seconds(fields, name, where) or 0.0 for name in _DELAYS},
    )


def _fault(said: Json, where: str) -> Trouble:
    if isinstance(said, str) and said in _PLAIN:
        return _PLAIN[said]
    if isinstance(said, dict):
        if "status" in said:
            return _status(said, where)
        if len(said) == 1:
            ((name, value),) = said.items()
            if name in _COUNTED:
                return _COUNTED[name](_count(value, f"{where}.{name}"))
            if name == "error":
                return _error(_obj(value, f"{where}.error"), f"{where}.error")
    raise BadScript(
        f"{where} must be refuse, reset, hang or malformed, or one of {{truncate: n}}, {{stall: n}}, {{malformed: n}}, "
        f"{{error: {{after: n, type: …}}}}, {{status: 429, retry_after_s: 1}}, but is {said!r}"
    )


def _status(said: dict[str, Json], where: str) -> Status:
    _only(said, ("status", "headers", "body", "retry_after_s"), where)
    status = said["status"]
    if isinstance(status, bool) or not isinstance(status, int) or not 300 <= status <= 599:
        raise BadScript(f"{where}.status must be a status from 300 to 599, but is {status!r}")
    body = said.get("body")
    headers = _obj(said.get("headers", {}), f"{where}.headers")
    return Status(
        status=status,
        headers={str(name).lower(): str(value) for name, value in headers.items()},
        body=body if body is None or isinstance(body, str) else orjson.dumps(body).decode(),
        retry_after_s=_seconds(said, "retry_after_s", where),
    )


def _error(said: dict[str, Json], where: str) -> ErrorEvent:
    _only(said, ("after", "type", "code", "message"), where)
    plain = ErrorEvent()
    return ErrorEvent(
        after=_count(said.get("after", 0), f"{where}.after"),
        type=_text(said, "type", where) or plain.type,
        code=_text(said, "code", where),
        message=_text(said, "message", where) or plain.message,
    )


def _tool_call(said: Json, at: int, where: str) -> ToolCall:
    fields = _obj(said, where)
    _only(fields, ("id", "name", "arguments"), where)
    arguments = fields.get("arguments", {})
    return ToolCall(
        id=_text(fields, "id", where) or f"call_{at}",
        name=_str(fields.get("name"), f"{where}.name"),
        arguments=arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode(),
    )


def _usage(said: Json, where: str) -> Usage:
    fields = _obj(said, where)
    _only(fields, _USAGE, where)
    estimated = fields.get("estimated", False)
    if not isinstance(estimated, bool):
        raise BadScript(f"{where}.estimated must be true or false, but is {estimated!r}")
    counts: dict[str, Any] = {
        name: _count(value, f"{where}.{name}") for name, value in fields.items() if name != "estimated"
    }
    return Usage(**counts, estimated=estimated)


def _only(fields: Mapping[str, Json], known: tuple[str, ...], where: str) -> None:
    for name in fields:
        if name not in known:
            raise BadScript(f"{where}.{name} is unknown; known here: {', '.join(known)}")


def _obj(said: Json, where: str) -> dict[str, Json]:
    if not isinstance(said, dict):
        raise BadScript(f"{where} must be a mapping, but is {said!r}")
    return said


def _list(said: Json, where: str) -> list[Json]:
    """A list; nothing at all, as under a bare YAML key, is an empty one."""
    if said is None:
        return []
    if not isinstance(said, list | tuple):
        raise BadScript(f"{where} must be a list, but is {said!r}")
    return list(said)


def _str(said: Json, where: str) -> str:
    if not isinstance(said, str):
        raise BadScript(f"{where} must be text, but is {said!r}")
    return said


def _text(fields: Mapping[str, Json], name: str, where: str) -> str | None:
    return None if fields.get(name) is None else _str(fields[name], f"{where}.{name}")


def _count(said: Json, where: str) -> int:
    if isinstance(said, bool) or not isinstance(said, int) or said < 0:
        raise BadScript(f"{where} must be a whole number from 0, but is {said!r}")
    return said


def _seconds(fields: Mapping[str, Json], name: str, where: str) -> float | None:
    said = fields.get(name)
    if said is None:
        return None
    if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said) or said < 0:
        raise BadScript(f"{where}.{name} must be seconds from 0, but is {said!r}")
    return float(said)
