"""What hooks are told, and what they may answer. Everything is frozen: a hook changes things by returning others.

    moment          is told      may return                                     else
    pre             Before       Request, a Completion (nobody is asked), Failure   None: as it was
    pre_embed       Embedding    EmbedRequest, Failure
    attempt         Attempted    Request, for this one candidate                (plain functions alone)
    post            After        Completion, Failure
    error           Failed       Failure
    stream_event    Streamed     an event, a tuple of them (empty holds it back), Failure

A `Failure` refuses: `refuse` makes one. A hook has the methods that it wants, each `def` or `async def`, and no others.
One that must remember something between the moments of one request has `for_request`, which gives the hook of that
request alone:

    class Hook:
        guard = False                                   # True: if it fails, the request is refused
        def for_request(self) -> object: ...            # a fresh hook for each request
        def pre(self, asked: Before) -> Request | Completion | Failure | None: ...
        async def close(self) -> None: ...              # the settings have let it go
        def metrics(self) -> Mapping[str, float]: ...   # counters of its own
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from runtime.models import ModelInfo
from runtime.outcome import Completion, Failure, FailureKind, StreamEvent
from runtime.price import CostEstimate
from runtime.request import EmbedRequest, Request
from runtime.values import quick

Estimates = Callable[[Request], tuple[CostEstimate, ...]]
"""What a request is expected to cost at each of its candidates; empty where there is none."""


def _no_estimates(request: Request) -> tuple[CostEstimate, ...]:
    return ()


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """A chat that was parsed, whose caller is known, and for which nobody was asked yet.

    `request.model` is the name that was asked for: a route, a model, or empty for the default.
    """

    request: Request
    estimates: Estimates = _no_estimates


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """The same for texts that are to become vectors."""

    request: EmbedRequest


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """A chat on its way to one candidate. `kind` is the provider's, as in the settings; `info` None: nothing is known
    of the model. `request.model` is still the name that was asked for, `model` the one at this provider."""

    request: Request
    provider: str
    model: str
    kind: str
    info: ModelInfo | None = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """An answer. Of a stream (`streamed`) it has gone already: what `post` returns is what its end tells of it, and a
    refusal makes it end in an error."""

    request: Request
    completion: Completion
    streamed: bool = False


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """There is no answer, or none that is whole; perhaps because another hook refused."""

    request: Request
    failure: Failure


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """One event of a stream, the `StreamStart` and the `StreamEnd` among them: neither can be held back."""

    request: Request
    event: StreamEvent


REFUSED = "refused_by_hook"


def refuse(
    detail: str, *, kind: FailureKind = FailureKind.CONTENT_FILTERED, code: str = REFUSED, param: str | None = None
) -> Failure:
    """A refusal, for a hook to return. `detail` is told to the caller: say what he may do.

    >>> refuse("no card numbers, please").kind.value
    'content_filtered'
    """
    return Failure(kind=kind, detail=detail, code=code, param=param, scope="request")


@dataclass(slots=True)
class Counts:
    """How often a hook was called, failed, took too long, and refused; how much time it took, in seconds."""

    called: int = 0
    failed: int = 0
    slow: int = 0
    refused: int = 0
    spent_s: float = 0.0
    warned: set[str] = field(default_factory=set)

    def told(self) -> Mapping[str, float]:
        return {
            "called": float(self.called),
            "failed": float(self.failed),
            "slow": float(self.slow),
            "refused": float(self.refused),
            "spent_s": self.spent_s,
        }
