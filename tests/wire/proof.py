"""What is proven of one recorded exchange: each function judges one record; `report` and the tests count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any
from urllib.parse import urlsplit

import orjson

from runtime.dialects.base import HttpCall
from runtime.dialects.registry import DIALECTS, PARSERS
from runtime.fold import fold
from runtime.outcome import Completion, Delta, Failure, Outcome
from runtime.request import NativePart, NativeTool, Request
from tests.wire.contracts import contract
from tests.wire.equivalence import equivalent, kind_of
from tests.wire.errors import expected
from tests.wire.normal.google import bare
from tests.wire.oracle import answer_of, disagreements, error_of
from tests.wire.records import Record

Json = Any

CUTTINGS = (3, 30, 300)
"""Into how many random pieces each stream is cut, once each."""

TRUNCATIONS = 3
"""At how many random places before its end each stream is broken off."""


@dataclass(frozen=True, slots=True)
class Carried:
    """The verdict on a request: equivalent unless `exception` names why not.

    `extras` are the kinds of unknown fields that were carried verbatim, `natives` the kinds of parts and tools that
    only this dialect has.
    """

    record: Record
    exception: str = ""
    detail: str = ""
    request: Request | None = None
    extras: Counter[str] = field(default_factory=Counter)
    natives: Counter[str] = field(default_factory=Counter)


def parse(record: Record) -> Request | Failure:
    model = record.model if record.api == "google" else ""
    stream = record.streamed_request if record.api == "google" else False
    return PARSERS[record.dialect](record.sent, model=model, stream=stream)


def carried(record: Record) -> Carried:
    """Whether the recorded request, parsed and encoded again, means the same."""
    request = parse(record)
    if isinstance(request, Failure):
        return Carried(record, f"parse: {request.kind} {kind_of(request.param or '')}".strip(), request.detail)
    natives = Counter(_natives(request))
    seen = Carried(record, request=request, extras=Counter(_extras(request)), natives=natives)
    call = DIALECTS[record.dialect].encode(request, record.target)
    if isinstance(call, Failure):
        return _but(seen, f"encode: {call.kind} {kind_of(call.param or '')}".strip(), call.detail)
    found = equivalent(record.api, record.sent, orjson.loads(call.body))
    if found:
        kinds = sorted({one.kind for one in found})
        named = f" (dropped by name: {', '.join(call.dropped)})" if call.dropped else ""
        return _but(seen, f"differs: {', '.join(kinds[:3])}{named}", "; ".join(str(one) for one in found[:4]))
    wrong = _address(record, call)
    return _but(seen, "address", wrong) if wrong else seen


def _but(seen: Carried, exception: str, detail: str) -> Carried:
    return Carried(seen.record, exception, detail, seen.request, seen.extras, seen.natives)


def _address(record: Record, call: HttpCall) -> str:
    """What is wrong with the address of our call; the recorders left out or changed hosts, so paths are compared."""
    sent, ours = urlsplit(record.url), urlsplit(call.url)
    end = "/".join(sent.path.split("/")[-2:])
    if not ours.path.endswith(end):
        return f"{sent.path} became {ours.path}"
    if record.api == "google" and record.streamed_request and "alt=sse" not in ours.query:
        return f"a stream without alt=sse: {call.url}"
    return ""


def _extras(request: Request) -> Iterator[str]:
    for owner, extra in extras_of(request):
        for key in extra:
            yield kind_of(f"{owner}.{key}".lstrip("."))


NOTE = "raygate:"
"""Begins the name of a note of our own in an `extra`. No body ever held it."""


def extras_of(request: Request) -> Iterator[tuple[str, Mapping[str, Json]]]:
    """Every collection of unknown fields in a request, with the place that owns it."""
    yield "", request.extra
    for message in request.messages:
        yield "messages[]", message.extra
        for part in message.parts:
            if not isinstance(part, NativePart):
                noted = {name: one for name, one in part.extra.items() if not name.startswith(NOTE)}
                yield f"messages[].{type(part).__name__}", noted
    for tool in request.tools:
        if not isinstance(tool, NativeTool):
            yield "tools[]", tool.extra
    if request.response_format is not None:
        yield "response_format", request.response_format.extra


CONTENT = frozenset(
    (
        *("messages", "message", "content", "contents", "parts", "text", "system", "systemInstruction", "refusal"),
        *("tools", "tool_calls", "functions", "function_call", "functionDeclarations", "tool_choice", "toolConfig"),
        *("usage_metadata", "usageMetadata", "images", "image_url", "thinking", "reasoning_content"),
        *("reasoning_details", "signature", "thoughtSignature", "tool_plan", "documents", "arguments", "input"),
    )
)
"""Names that no unknown field may have: messages, tools and usage have types."""


def hidden(extras: Iterable[str]) -> list[str]:
    """Unknown fields that are content. The last step of a path is the field itself; what stands before it is typed."""
    return [path for path in extras if path.split(".")[-1].split("[")[0] in CONTENT]


def places(paths: Iterable[str]) -> Iterator[str]:
    """Paths without their positions."""
    return (kind_of(path) for path in paths)


def _natives(request: Request) -> Iterator[str]:
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, NativePart):
                yield f"part {part.kind}"
    for tool in request.tools:
        if isinstance(tool, NativeTool):
            yield f"tool {tool.kind}"


def replied(record: Record) -> list[str]:
    """What is wrong with how a whole 200 reply is read."""
    outcome = DIALECTS[record.dialect].decode(record.reply, record.target)
    return _judged(record, outcome)


def _judged(record: Record, outcome: Outcome) -> list[str]:
    error = error_of(record)
    if error is not None:
        wanted = expected(None, {}, error).kind
        said = outcome.kind if isinstance(outcome, Failure) else "a completion"
        return [] if said is wanted else [f"an error inside a 200: {wanted} was meant, {said} was read"]
    if isinstance(outcome, Failure):
        return [f"read as {outcome.kind}: {outcome.detail}"]
    return disagreements(answer_of(record), outcome, asked=record.model)


def streamed(record: Record, rng: Random) -> list[str]:
    """What is wrong with how a stream is read: whole, and cut at random bytes."""
    whole, deltas = _read(record, [record.wire])
    wrong = _judged(record, whole)
    if isinstance(whole, Completion) and fold(deltas) != whole.choices:
        wrong.append("the deltas do not add up to the completion")
    for pieces in CUTTINGS:
        edges = [0, *sorted(rng.choices(range(len(record.wire)), k=pieces - 1)), len(record.wire)]
        cut, cut_deltas = _read(record, [record.wire[a:b] for a, b in pairwise(edges)])
        if cut != whole:
            wrong.append(f"another completion when cut at {edges}")
        elif fold(cut_deltas) != fold(deltas):
            wrong.append(f"other deltas when cut at {edges}")
    return wrong


def truncated(record: Record, rng: Random) -> list[str]:
    """What is wrong with how a stream that breaks off is read: it must fail, or lack nothing of the answer."""
    whole, _ = _read(record, [record.wire])
    wrong = []
    end = _evidence(record)
    for place in [rng.randrange(end) for _ in range(TRUNCATIONS)]:
        outcome, _ = _read(record, [record.wire[:place]])
        if not isinstance(outcome, Failure):
            wrong.append(f"broken off at {place} of {len(record.wire)}, before its end at {end}, and taken for whole")
    if end < len(record.wire):
        late = rng.randrange(end, len(record.wire))
        outcome, _ = _read(record, [record.wire[:late]])
        if isinstance(outcome, Completion) and isinstance(whole, Completion) and outcome.choices != whole.choices:
            wrong.append(f"broken off at {late} of {len(record.wire)}, and another answer taken for whole")
    return wrong


@dataclass(slots=True)
class Kept:
    """How many bodies of one dialect break its contract as they were recorded, and as we send them."""

    bodies: int = 0
    theirs: int = 0
    ours: int = 0
    breaches: Counter[str] = field(default_factory=Counter)
    added: dict[str, set[str]] = field(default_factory=dict)


def kept_contract(dialect: str, records: Iterable[Record]) -> Kept:
    """Recorded bodies beside ours, by the provider's contract. `added` are breaches that only ours have."""
    check, kept = contract(dialect), Kept()
    for record in records:
        if record.dialect != dialect or record.api == "compatible" or not isinstance(record.sent, dict):
            continue
        request = parse(record)
        call = DIALECTS[dialect].encode(request, record.target) if isinstance(request, Request) else request
        if isinstance(call, Failure):
            continue
        before = check(bare(record.sent) if dialect == "google" else record.sent)
        after = check(orjson.loads(call.body))
        kept.bodies += 1
        kept.theirs += bool(before)
        kept.ours += bool(after)
        kept.breaches.update(after)
        if after - before:
            kept.added[record.id] = after - before
    return kept


EVIDENCE: Mapping[str, tuple[bytes, ...]] = {
    "anthropic": (b"message_delta", b'"stop_reason":"', b'"stop_reason": "'),
    "google": (b'"finishReason"',),
    "cohere": (b"message-end",),
    "ollama": (b'"done":true', b'"done": true'),
}


def _evidence(record: Record) -> int:
    """Where the part of the stream begins that says how the answer ended: before it, no stream is whole."""
    marks = EVIDENCE.get(record.api, (b'"finish_reason":"', b'"finish_reason": "'))
    found = [record.wire.find(mark) for mark in marks]
    return min((at for at in found if at > 0), default=len(record.wire))


def _read(record: Record, pieces: list[bytes]) -> tuple[Outcome, list[Delta]]:
    decoder = DIALECTS[record.dialect].decoder(record.target)
    deltas = [delta for piece in pieces for delta in decoder.feed(piece)]
    return decoder.finish(), deltas
