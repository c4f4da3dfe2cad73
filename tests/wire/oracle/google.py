"""Gemini."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tests.wire.oracle.answer import Answer, Call, Counts, Said, chunks_of, count, ended_for_calls, json_of
from tests.wire.records import Record

Json = Any

FINISH = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        (
            *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
            *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
        ),
        "content_filter",
    ),
}


@dataclass(slots=True)
class _Candidate:
    said: Said = field(default_factory=Said)
    finish: str | None = None


def _whole(chunks: list[Json]) -> Answer:
    candidates: dict[int, _Candidate] = {}
    usage: Json = None
    for chunk in chunks:
        usage = chunk.get("usageMetadata") or usage
        for one in chunk.get("candidates") or ():
            candidate = candidates.setdefault(one.get("index", 0), _Candidate())
            candidate.finish = one.get("finishReason") or candidate.finish
            for part in (one.get("content") or {}).get("parts") or ():
                candidate.said = _part(candidate.said, part)
    counts = None
    if usage:
        thoughts = count(usage.get("thoughtsTokenCount"))
        counts = Counts(
            input=count(usage.get("promptTokenCount")) + count(usage.get("toolUsePromptTokenCount")),
            output=count(usage.get("candidatesTokenCount")) + thoughts,
            cached=count(usage.get("cachedContentTokenCount")),
            reasoning=thoughts,
        )
    return Answer(
        id=next((chunk["responseId"] for chunk in chunks if chunk.get("responseId")), ""),
        model=next((chunk["modelVersion"] for chunk in chunks if chunk.get("modelVersion")), ""),
        choices=tuple(ended_for_calls(one.said, FINISH.get(one.finish or "", "other")) for one in candidates.values()),
        counts=counts,
    )


def _part(said: Said, part: Json) -> Said:
    if "functionCall" in part:
        call = part["functionCall"]
        return replace(said, calls=(*said.calls, Call(call.get("id"), call["name"], call.get("args") or {})))
    if "text" in part and part.get("thought"):
        return replace(said, reasoning=said.reasoning + part["text"])
    if "text" in part:
        return replace(said, text=said.text + part["text"])
    alone = part.keys() <= {"thoughtSignature", "thought"}
    return said if alone else replace(said, others=said.others + 1)


def answer_of(record: Record) -> Answer:
    return _whole(list(chunks_of(record)) if record.stream else [json_of(record)])
