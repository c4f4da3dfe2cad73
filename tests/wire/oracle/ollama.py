"""Ollama's own chat."""

from __future__ import annotations

from typing import Any

from tests.wire.oracle.answer import Answer, Call, Counts, Said, chunks_of, count, ended_for_calls, json_of
from tests.wire.records import Record

Json = Any

FINISH = {"stop": "stop", "length": "length"}


def _whole(lines: list[Json]) -> Answer:
    messages = [line.get("message") or {} for line in lines]
    last = lines[-1]
    said = Said(
        text="".join(one.get("content") or "" for one in messages),
        reasoning="".join(one.get("thinking") or "" for one in messages),
        calls=tuple(
            Call(call.get("id"), call["function"]["name"], call["function"]["arguments"])
            for one in messages
            for call in one.get("tool_calls") or ()
        ),
    )
    counted = "eval_count" in last or "prompt_eval_count" in last
    return Answer(
        id="",
        model=last["model"],
        choices=(ended_for_calls(said, FINISH.get(last.get("done_reason", "stop"), "other")),),
        counts=Counts(input=count(last.get("prompt_eval_count")), output=count(last.get("eval_count")))
        if counted
        else None,
    )


def answer_of(record: Record) -> Answer:
    return _whole(list(chunks_of(record)) if record.stream else [json_of(record)])
