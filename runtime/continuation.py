"""A stream that broke after content, continued by somebody else: what was said so far, and how the rest is joined.

    delta ── relay ──► deltas for the client        the same ones, as long as nothing breaks
    break ── taken_up ──► Request                   the same request, with what was said as the assistant's last message
    delta ── relay ──► …                            the beginning is held back while it may repeat the end of what was
                                                      said; the repetition is left out
    end ── joined ──► one Completion                `continued` says how often; usage and cost are the sums

Only text can be continued: one choice, no tools, no thinking, no schema, no logprobs, and no finish reason yet. Whether
a candidate takes up another's words at all (`Feature.PREFILL`) is its model's affair.

What counts as a repetition: all that was sent, which some servers give back before what is new (llama.cpp does); else
the longest end of what was said with which the continuation begins, if it is at least `LEAST_REPEATED` characters long.
Less is taken for the text itself: code and lists repeat short pieces by nature, and who continues mostly goes on
exactly. Whitespace at the end of what was said is not sent (Anthropic refuses it, and words begin with their blank in
nearly all vocabularies), so where the continuation brings it again, it goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from runtime.fold import Fold
from runtime.outcome import Cost, Delta, Failure, Outcome, StreamStart, Usage
from runtime.request import Message, Request, Role, TextPart
from runtime.values import replace

LEAST_REPEATED = 12


class Joint:
    """Between what was said and what comes: gives the new text without what it repeats.

    >>> joint = Joint("The quick brown fox jumps")
    >>> joint.feed("quick brown fox "), joint.feed("jumps over"), joint.flush()
    ('', ' over', '')
    """

    __slots__ = ("_held", "_said", "_sent", "_settled")

    def __init__(self, said: str) -> None:
        self._said = said
        self._sent = said.rstrip()
        self._held = ""
        self._settled = False

    def feed(self, text: str) -> str:
        """What of it can be passed on now."""
        if self._settled:
            return text
        self._held += text
        # Held as a whole, it may still grow into an end of what was said.
        return "" if self._held in self._said else self.flush()

    def flush(self) -> str:
        """No more comes that could tell: what is still held, without what it repeats."""
        held, self._held, self._settled = self._held, "", True
        sent, said = self._sent, self._said
        if sent and held.startswith(sent):
            return _without_end(held[len(sent) :], said[len(sent) :], 1)
        rest = _without_end(held, said, LEAST_REPEATED)
        return rest if len(rest) < len(held) else _without_end(held, said[len(sent) :], 1)


def _without_end(text: str, said: str, least: int) -> str:
    """The text without the longest end of what was said with which it begins, if that has at least so many letters."""
    for length in range(min(len(text), len(said)), least - 1, -1):
        if said.endswith(text[:length]):
            return text[length:]
    return text


def continuable(request: Request) -> bool:
    """Whether an answer to this request could be continued, if it is nothing but text."""
    thought = request.reasoning
    return (
        request.choices == 1
        and not request.tools
        and (request.response_format is None or request.response_format.kind == "text")
        and (thought is None or thought.enabled is False or thought.effort == "none")
        and bool(request.messages)
        # Two beginnings of one answer: no API says what that means.
        and request.messages[-1].role is not Role.ASSISTANT
    )


class Continuation:
    """One streamed answer as its client sees it, whoever gives it."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._fold = Fold()
        self._open_text = True
        self._joint: Joint | None = None
        self._start: StreamStart | None = None
        self._broken: list[Failure] = []
        self._ttft_s: float | None = None
        self._latency_s = 0.0

    @property
    def said(self) -> str:
        choices = self._fold.choices()
        return choices[0].text if choices else ""

    def began(self, start: StreamStart, ttft_s: float) -> bool:
        """A stream has begun. True for the first: its start is the client's."""
        if self._start is not None:
            return False
        self._start, self._ttft_s = start, ttft_s
        return True

    def relay(self, delta: Delta) -> Sequence[Delta]:
        """What the client is to see of it."""
        joint = self._joint
        if joint is not None:
            text = joint.feed(delta.text)
            if delta.finish_reason is not None:
                text += joint.flush()
            # To the client it is one text, so it is one part of the answer.
            delta = replace(delta, text=text, new_part=False)
        if self._open_text and not _is_text(delta):
            self._open_text = False
        if joint is not None and not (delta.has_content or delta.finish_reason or delta.extra or delta.part_extra):
            return ()
        self._fold.add(delta)
        return (delta,)

    def flush(self) -> Sequence[Delta]:
        """What was held back at the end of a stream."""
        rest = self._joint.flush() if self._joint is not None else ""
        if not rest:
            return ()
        delta = Delta(text=rest)
        self._fold.add(delta)
        return (delta,)

    def taken_up(self, failure: Failure, *, spent_s: float) -> Request | None:
        """The request for the rest, after a stream broke so; None where there is no going on."""
        self._broken.append(failure)
        self._latency_s += spent_s
        said = self.said
        sent = said.rstrip()
        sampling = self._request.sampling
        if sampling.max_tokens is not None:
            left = sampling.max_tokens - sum(one.usage.output_tokens for one in self._broken if one.usage)
            sampling = replace(sampling, max_tokens=left)
        if not sent or not self._open_text or (sampling.max_tokens is not None and sampling.max_tokens < 1):
            return None
        self._joint = Joint(said)
        begun = Message(role=Role.ASSISTANT, parts=(TextPart(sent),))
        return replace(self._request, messages=(*self._request.messages, begun), sampling=sampling)

    def joined(self, outcome: Outcome) -> Outcome:
        """The outcome of the whole, of the one that its last part had."""
        parts = self._broken[:-1] if isinstance(outcome, Failure) else self._broken
        if not parts:
            return outcome
        usage, cost = outcome.usage, outcome.cost
        for part in parts:
            if part.usage is not None:
                cost = add_costs(cost, part.cost) if usage is not None else part.cost
                usage = add_usages(usage, part.usage) if usage is not None else part.usage
        if isinstance(outcome, Failure):
            return replace(outcome, usage=usage, cost=cost)
        (choice,) = self._fold.choices()
        ended = outcome.choices[0] if outcome.choices else choice
        return replace(
            outcome,
            id=self._start.id if self._start else outcome.id,
            choices=(replace(choice, finish_reason=choice.finish_reason or ended.finish_reason),),
            usage=usage or Usage(),
            cost=cost,
            continued=len(parts),
            ttft_s=self._ttft_s,
            latency_s=outcome.latency_s + self._latency_s,
        )


def _is_text(delta: Delta) -> bool:
    """Whether there is nothing in it but text, or nothing at all, and no end."""
    more = delta.reasoning or delta.refusal or delta.tool_calls or delta.parts or delta.signature or delta.citations
    return not more and delta.audio is None and delta.logprobs is None and delta.finish_reason is None


def add_usages(one: Usage, other: Usage) -> Usage:
    """Both together, as of one call."""
    summed: dict[str, int] = {
        field.name: getattr(one, field.name) + getattr(other, field.name)
        for field in fields(Usage)
        if field.name.endswith("_tokens") and not field.name.startswith("billed_")
    }
    tools = {
        name: one.server_tool_calls.get(name, 0) + other.server_tool_calls.get(name, 0)
        for name in (*one.server_tool_calls, *other.server_tool_calls)
    }
    return Usage(
        **summed,
        billed_input_tokens=_billed(
            one.billed_input_tokens, one.input_tokens, other.billed_input_tokens, other.input_tokens
        ),
        billed_output_tokens=_billed(
            one.billed_output_tokens, one.output_tokens, other.billed_output_tokens, other.output_tokens
        ),
        server_tool_calls=tools,
        estimated=one.estimated or other.estimated,
    )


def _billed(one: int | None, counted: int, other: int | None, others_count: int) -> int | None:
    if one is None and other is None:
        return None
    return (counted if one is None else one) + (others_count if other is None else other)


def add_costs(one: Cost | None, other: Cost | None) -> Cost | None:
    """Both together; unknown where either is."""
    if one is None or other is None:
        return None
    return Cost(
        input_nanousd=one.input_nanousd + other.input_nanousd,
        output_nanousd=one.output_nanousd + other.output_nanousd,
        total_nanousd=one.total_nanousd + other.total_nanousd,
        source=one.source,
        cached_input_nanousd=one.cached_input_nanousd + other.cached_input_nanousd,
        cache_write_nanousd=one.cache_write_nanousd + other.cache_write_nanousd,
        reasoning_nanousd=one.reasoning_nanousd + other.reasoning_nanousd,
        per_call_nanousd=one.per_call_nanousd + other.per_call_nanousd,
        saved_nanousd=one.saved_nanousd + other.saved_nanousd,
    )
