"""What comes back: a `Completion`, or a `Failure`, which is a value too.

One table says what each kind of failure means, so that the breaker, failover, the HTTP status and the SDK's
retry cannot disagree. Nothing is decided by searching a message.

A stream is `StreamStart`, then deltas, then exactly one `StreamEnd` that carries the outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NoReturn

from runtime.request import AudioPart, Json, Part, ReasoningPart, TextPart, ToolCall
from runtime.wire import crosses


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    ERROR = "error"
    OTHER = "other"


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens. `input_tokens` includes those read from and written to a cache, `output_tokens` the reasoning ones.

    `cache_write_1h_tokens` are those of `cache_write_tokens` that are kept for an hour, which costs more.
    `billed_*` are set where the provider charges for other counts than it processed (Cohere).
    `server_tool_calls` counts, by tool, what the provider itself ran and charges by the call (web searches).
    `estimated` marks counts that the provider did not report.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    billed_input_tokens: int | None = None
    billed_output_tokens: int | None = None
    server_tool_calls: Mapping[str, int] = field(default_factory=dict)
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Integer nano-dollars. An unknown price is no `Cost` at all (None), never a zero.

    `input_nanousd` holds `cached_input_nanousd` and `cache_write_nanousd`, `output_nanousd` holds `reasoning_nanousd`;
    `per_call_nanousd` (searches, a charge by the request) stands beside them. The three make the total, but where a
    provider named nothing else than that: what it did not split stays `unsplit_nanousd`, and is not guessed.
    `source` says who named the price: the provider's own answer, the catalogue or the settings. `saved_nanousd` is what
    the answer would have cost had it not been remembered, or shared with an equal request: no part of the total.
    """

    input_nanousd: int = 0
    output_nanousd: int = 0
    total_nanousd: int = 0
    source: Literal["provider", "catalogue", "settings"] = "catalogue"
    currency: Literal["USD"] = "USD"
    cached_input_nanousd: int = 0
    cache_write_nanousd: int = 0
    reasoning_nanousd: int = 0
    per_call_nanousd: int = 0
    saved_nanousd: int = 0

    @property
    def unsplit_nanousd(self) -> int:
        return self.total_nanousd - self.input_nanousd - self.output_nanousd - self.per_call_nanousd

    @property
    def parts(self) -> dict[str, int]:
        """What each thing cost, each nano-dollar once: together they are the total."""
        return {
            "input": self.input_nanousd - self.cached_input_nanousd - self.cache_write_nanousd,
            "cached_input": self.cached_input_nanousd,
            "cache_write": self.cache_write_nanousd,
            "output": self.output_nanousd - self.reasoning_nanousd,
            "reasoning": self.reasoning_nanousd,
            "per_call": self.per_call_nanousd,
            "unsplit": self.unsplit_nanousd,
        }


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One alternative answer, its parts in the order in which they were said; nearly always there is one."""

    parts: tuple[Part, ...] = ()
    finish_reason: FinishReason | None = None
    refusal: str | None = None
    logprobs: Json = None
    extra: Mapping[str, Json] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        text: str = "",
        *,
        reasoning: str = "",
        tool_calls: tuple[ToolCall, ...] = (),
        finish_reason: FinishReason | None = None,
        refusal: str | None = None,
        logprobs: Json = None,
        extra: Mapping[str, Json] | None = None,
    ) -> Choice:
        """The usual choice: a thought, a text and tool calls, in this order, each if there is one."""
        thought = (ReasoningPart(text=reasoning),) if reasoning else ()
        words = (TextPart(text),) if text else ()
        return cls(
            parts=(*thought, *words, *tool_calls),
            finish_reason=finish_reason,
            refusal=refusal,
            logprobs=logprobs,
            extra=extra or {},
        )

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def reasoning(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, ReasoningPart))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """Where a remembered answer comes from: the key that forgets it, how old it is, what it saved, and how near its
    question was (1 for the same direction) where it was found by its meaning."""

    key: str
    age_s: float = 0.0
    cosine: float | None = None
    saved_nanousd: int = 0


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at one provider, as the answer reports it.

    `outcome` is "ok", the kind of failure, or `CACHED`, `HEDGED` or `SHARED`; `remembered` goes with `CACHED`.
    """

    provider: str
    model: str
    outcome: str
    elapsed_s: float
    detail: str = ""
    remembered: Remembered | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A finished answer. `provider` and `model` are those that really answered.

    `latency_s` is the answering attempt's; `overhead_s` what Raygate added to all attempts, less `queue_s`, the time
    for which the request waited for a place.
    `dropped` names request fields that this provider's dialect could not carry.
    `continued` is how often a stream that broke was taken up by another attempt: `usage` and `cost` are then the sums,
    and `provider` is who ended it.
    """

    id: str
    model: str
    provider: str = ""
    choices: tuple[Choice, ...] = ()
    usage: Usage = Usage()
    cost: Cost | None = None
    created_s: int = 0
    latency_s: float = 0.0
    ttft_s: float | None = None
    overhead_s: float = 0.0
    queue_s: float = 0.0
    attempts: tuple[Attempt, ...] = ()
    dropped: tuple[str, ...] = ()
    request_id: str = ""
    extra: Mapping[str, Json] = field(default_factory=dict)
    continued: int = 0

    @property
    def text(self) -> str:
        return self.choices[0].text if self.choices else ""

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return self.choices[0].tool_calls if self.choices else ()

    @property
    def finish_reason(self) -> FinishReason | None:
        return self.choices[0].finish_reason if self.choices else None

    def unwrap(self) -> Completion:
        """Itself: the counterpart of `Failure.unwrap`, which raises."""
        return self

    def __str__(self) -> str:
        from runtime.display import summary

        return f"{self.text}\n{summary(self)}"

    def __repr__(self) -> str:
        from runtime.display import shortened, summary

        return f"<Completion {shortened(self.text)!r} · {summary(self)}>"

    def _repr_html_(self) -> str:
        from runtime.display import completion_html

        return completion_html(self)


class FailureKind(StrEnum):
    """Why a call failed. `HANDLING` says what follows from each.

    `BAD_KEY` is the caller's key at Raygate, and `NOT_ALLOWED` what that key may not do; `UNAUTHENTICATED` and
    `FORBIDDEN` are the same of Raygate's key at a provider. `REFUSED` and
    `THROTTLED` are Raygate's own: nobody was asked, as a provider is ill or full, or had said wait (`RATE_LIMITED`).
    `NOT_CACHED` is what they are told who want a remembered answer or none.
    """

    BAD_REQUEST = "bad_request"
    UNSUPPORTED = "unsupported"
    CONTEXT_OVERFLOW = "context_overflow"
    CONTENT_FILTERED = "content_filtered"
    TOO_LARGE = "too_large"
    BAD_KEY = "bad_key"
    NOT_ALLOWED = "not_allowed"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    MODEL_NOT_FOUND = "model_not_found"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXHAUSTED = "quota_exhausted"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    TIMED_OUT = "timed_out"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    INTERRUPTED = "interrupted"
    MALFORMED = "malformed"
    REFUSED = "refused"
    THROTTLED = "throttled"
    BUDGET_EXCEEDED = "budget_exceeded"
    NOT_CACHED = "not_cached"
    CANCELLED = "cancelled"
    INTERNAL = "internal"


class Blame(StrEnum):
    """What a failure says about the provider: it is ill, it is well, or nothing."""

    BAD = "bad"
    GOOD = "good"
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """What follows from a kind of failure, for everyone who has to act on it.

    `status` and `type` are what an OpenAI-style client sees; `client_retry` is what we tell its SDK, which
    would otherwise repeat by itself what we have repeated already.
    """

    blame: Blame
    try_again: bool
    try_elsewhere: bool
    status: int
    type: str
    client_retry: bool = False


UNASKED = frozenset((FailureKind.REFUSED, FailureKind.THROTTLED))
"""Kinds that mean that no provider was asked."""

CACHED = "cached"
"""What the one attempt of a remembered answer says of its outcome."""

HEDGED = "hedged"
"""The outcome of an attempt that was given up because another one, asked beside it, was faster."""

SHARED = "shared"
"""The outcome of the attempt of one who was given what an equal request of the same moment got."""

_BAD, _GOOD, _SILENT = Blame.BAD, Blame.GOOD, Blame.SILENT
_CALLER = "invalid_request_error"

HANDLING: dict[FailureKind, Handling] = {
    FailureKind.BAD_REQUEST: Handling(blame=_GOOD, try_again=False, try_elsewhere=False, status=400, type=_CALLER),
    FailureKind.UNSUPPORTED: Handling(blame=_SILENT, try_again=False, try_elsewhere=True, status=400, type=_CALLER),
    FailureKind.CONTEXT_OVERFLOW: Handling(blame=_GOOD, try_again=False, try_elsewhere=True, status=400, type=_CALLER),
    FailureKind.CONTENT_FILTERED: Handling(blame=_GOOD, try_again=False, try_elsewhere=False, status=400, type=_CALLER),
    FailureKind.TOO_LARGE: Handling(blame=_GOOD, try_again=False, try_elsewhere=False, status=413, type=_CALLER),
    FailureKind.BAD_KEY: Handling(blame=_SILENT, try_again=False, try_elsewhere=False, status=401, type=_CALLER),
    FailureKind.NOT_ALLOWED: Handling(
        blame=_SILENT, try_again=False, try_elsewhere=False, status=403, type="permission_error"
    ),
    # The provider refused *our* key: the caller's own key was right, so no 401 for them.
    FailureKind.UNAUTHENTICATED: Handling(
        blame=_SILENT, try_again=False, try_elsewhere=True, status=502, type="upstream_authentication_error"
    ),
    FailureKind.FORBIDDEN: Handling(
        blame=_SILENT, try_again=False, try_elsewhere=True, status=502, type="upstream_permission_error"
    ),
    FailureKind.MODEL_NOT_FOUND: Handling(blame=_GOOD, try_again=False, try_elsewhere=True, status=404, type=_CALLER),
    FailureKind.RATE_LIMITED: Handling(
        blame=_SILENT, try_again=True, try_elsewhere=True, status=429, type="rate_limit_error", client_retry=True
    ),
    FailureKind.QUOTA_EXHAUSTED: Handling(
        blame=_SILENT, try_again=False, try_elsewhere=True, status=429, type="insufficient_quota"
    ),
    FailureKind.OVERLOADED: Handling(
        blame=_BAD, try_again=True, try_elsewhere=True, status=503, type="overloaded_error", client_retry=True
    ),
    FailureKind.UNAVAILABLE: Handling(
        blame=_BAD, try_again=True, try_elsewhere=True, status=503, type="service_unavailable_error", client_retry=True
    ),
    FailureKind.TIMED_OUT: Handling(blame=_BAD, try_again=False, try_elsewhere=True, status=504, type="timeout_error"),
    # The request's own time ran out before the provider had a fair chance: nobody's fault but the hurry's.
    FailureKind.DEADLINE_EXCEEDED: Handling(
        blame=_SILENT, try_again=False, try_elsewhere=False, status=504, type="timeout_error"
    ),
    FailureKind.INTERRUPTED: Handling(
        blame=_BAD, try_again=True, try_elsewhere=True, status=502, type="upstream_interrupted_error"
    ),
    FailureKind.MALFORMED: Handling(
        blame=_BAD, try_again=True, try_elsewhere=True, status=502, type="upstream_malformed_error"
    ),
    FailureKind.REFUSED: Handling(
        blame=_SILENT,
        try_again=False,
        try_elsewhere=True,
        status=503,
        type="service_unavailable_error",
        client_retry=True,
    ),
    FailureKind.THROTTLED: Handling(
        blame=_SILENT, try_again=False, try_elsewhere=True, status=429, type="rate_limit_error", client_retry=True
    ),
    FailureKind.BUDGET_EXCEEDED: Handling(
        blame=_SILENT, try_again=False, try_elsewhere=False, status=429, type="insufficient_quota"
    ),
    # RFC 9111, 5.2.1.7: a cache that has no answer says 504.
    FailureKind.NOT_CACHED: Handling(blame=_SILENT, try_again=False, try_elsewhere=False, status=504, type=_CALLER),
    FailureKind.CANCELLED: Handling(
        blame=_SILENT, try_again=False, try_elsewhere=False, status=499, type="cancelled_error"
    ),
    FailureKind.INTERNAL: Handling(
        blame=_SILENT, try_again=False, try_elsewhere=False, status=500, type="internal_error"
    ),
}


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed call. `detail` is for people: one sentence that says what to do, where we know.

    `retry_after_s` is seconds remaining as the provider (or our breaker) named them; `status` the provider's
    own HTTP status; `param` and `code` as in OpenAI's error envelope. `usage` is what a call that was given
    up or cut off used all the same, as far as we know, and `cost` its price: both None where nothing was used.

    `scope` is the narrowest thing that it speaks of: "provider" (the connection, say), "key", "model", or "request",
    which speaks of nothing else; empty leaves it to the kind. `another_key`: the same provider and model may be asked
    again at once, as another of our keys is usable there.
    """

    kind: FailureKind
    provider: str = ""
    model: str = ""
    detail: str = ""
    retry_after_s: float | None = None
    status: int | None = None
    param: str | None = None
    code: str | None = None
    attempts: tuple[Attempt, ...] = ()
    request_id: str = ""
    usage: Usage | None = None
    cost: Cost | None = None
    scope: Literal["", "provider", "key", "model", "request"] = ""
    another_key: bool = False

    @property
    def handling(self) -> Handling:
        return HANDLING[self.kind]

    @property
    def retryable(self) -> bool:
        return self.handling.try_again

    @property
    def client_retry(self) -> bool:
        """Whether a client's SDK should try again by itself: not after we have, or attempts would multiply."""
        asked = [attempt for attempt in self.attempts if attempt.outcome not in (*UNASKED, SHARED)]
        return self.handling.client_retry and len(asked) <= 1

    def unwrap(self) -> NoReturn:
        """Raise `CompletionFailed`, for those who prefer an exception."""
        raise CompletionFailed(self)

    def __str__(self) -> str:
        where = "/".join(part for part in (self.provider, self.model) if part)
        wait = f" (try again in {self.retry_after_s:.1f} s)" if self.retry_after_s is not None else ""
        return f"{self.kind}{f' from {where}' if where else ''}: {self.detail or 'no detail was given'}{wait}"

    def __repr__(self) -> str:
        return f"<Failure {self}>"

    def _repr_html_(self) -> str:
        from runtime.display import failure_html

        return failure_html(self)


class CompletionFailed(Exception):
    """`Failure.unwrap` raises this. It keeps its failure when pickled, also through Ray."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return str(self.failure)


Outcome = Completion | Failure


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """Vectors in the order of the inputs."""

    model: str
    provider: str = ""
    vectors: tuple[tuple[float, ...], ...] = ()
    usage: Usage = Usage()
    cost: Cost | None = None
    latency_s: float = 0.0
    queue_s: float = 0.0

    def unwrap(self) -> Embeddings:
        """Itself: the counterpart of `Failure.unwrap`, which raises."""
        return self


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStart:
    """The first event: who answers. It comes with the first content, once no other provider can take over.

    `overhead_s` is what Raygate had added by then, less `queue_s`, the time for which the request waited for a place.
    """

    id: str
    provider: str
    model: str
    created_s: int = 0
    attempts: tuple[Attempt, ...] = ()
    dropped: tuple[str, ...] = ()
    request_id: str = ""
    overhead_s: float = 0.0
    queue_s: float = 0.0


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A piece of one choice. Empty fields say nothing. `runtime.fold` makes the whole answer of the pieces.

    A delta that sets several fields means them in the order in which they stand here. `parts` are parts that come
    at once: an image, a redacted thought, a native part; `audio` is a piece of sound, its `data` base64 of its own and
    its `extra` (the transcript) to be continued. `signature`, `citations` and `part_extra` belong to the text
    or thought that this delta ends with, else to the part before; a signed part is finished. `new_part` is True where
    the text or thought begins another part although the one before it is of the same type.
    """

    choice: int = 0
    new_part: bool = False
    reasoning: str = ""
    text: str = ""
    signature: str = ""
    citations: tuple[Json, ...] = ()
    part_extra: Mapping[str, Json] = field(default_factory=dict)
    refusal: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    audio: AudioPart | None = None
    parts: tuple[Part, ...] = ()
    finish_reason: FinishReason | None = None
    logprobs: Json = None
    extra: Mapping[str, Json] = field(default_factory=dict)

    @property
    def has_content(self) -> bool:
        """True for what an application would show or act on: the moment at which a stream is committed."""
        return bool(self.text or self.reasoning or self.refusal or self.tool_calls or self.parts or self.audio)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """A piece of a tool call. `position` tells parallel calls apart; all but `arguments` come once."""

    position: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    signature: str = ""
    extra: Mapping[str, Json] = field(default_factory=dict)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnd:
    """The last event, always exactly one. A `Failure` here means that the answer is not complete."""

    outcome: Outcome


StreamEvent = StreamStart | Delta | StreamEnd
