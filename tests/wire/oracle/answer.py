"""The shape of an oracle's answer, and how raw JSON is read in all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tests.wire.records import Record

Json = Any


@dataclass(frozen=True, slots=True)
class Call:
    """`id` is None where the provider gave none; `arguments` is the value, or the text where it is no JSON."""

    id: str | None
    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class Said:
    """One choice. `others` counts the parts that are neither text, nor thought, nor a function call."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: tuple[Call, ...] = ()
    finish: str = ""
    others: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    input: int = 0
    output: int = 0
    cached: int = 0
    written: int = 0
    written_1h: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    id: str
    model: str
    choices: tuple[Said, ...]
    counts: Counts | None
    cost_usd: float | None = None


def events(text: str) -> Iterator[str]:
    """The data of each event of a whole stream."""
    for block in text.replace("\r\n", "\n").split("\n\n"):
        data = [line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        if data:
            yield "\n".join(data)


def json_of(record: Record) -> Json:
    return json.loads(record.wire)


def chunks_of(record: Record) -> Iterator[Json]:
    text = record.wire.decode()
    if record.stream == "array":
        yield from json.loads(text)
        return
    for data in text.split("\n") if record.stream == "ndjson" else events(text):
        if data.strip() and data != "[DONE]":
            yield json.loads(data)


def value_of(arguments: Json) -> Json:
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        return arguments


def count(value: Json) -> int:
    return int(value or 0)


def cost_of(usage: Json) -> float | None:
    """What OpenRouter charged, and with a key of one's own also what the provider did."""
    if not usage or usage.get("cost") is None:
        return None
    upstream = (usage.get("cost_details") or {}).get("upstream_inference_cost") if usage.get("is_byok") else None
    return float(usage["cost"]) + float(upstream or 0)


def ended_for_calls(said: Said, finish: str) -> Said:
    """Where an API has no word for calls (Gemini, Ollama), an answer that stopped with a call in it ended for it."""
    return replace(said, finish="tool_calls" if finish == "stop" and said.calls else finish)
