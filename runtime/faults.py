"""What a transport's fault means for a call: the one place where network trouble becomes a `Failure`."""

from __future__ import annotations

from runtime.outcome import Failure, FailureKind
from runtime.transport.base import Fault, FaultKind

MEANING: dict[FaultKind, FailureKind] = {
    FaultKind.REFUSED: FailureKind.UNAVAILABLE,
    FaultKind.CONNECT_TIMEOUT: FailureKind.UNAVAILABLE,
    FaultKind.FIRST_BYTE_TIMEOUT: FailureKind.TIMED_OUT,
    FaultKind.BETWEEN_TIMEOUT: FailureKind.INTERRUPTED,
    FaultKind.TOTAL_TIMEOUT: FailureKind.TIMED_OUT,
    FaultKind.RESET: FailureKind.UNAVAILABLE,
    FaultKind.TRUNCATED: FailureKind.INTERRUPTED,
    FaultKind.PROTOCOL: FailureKind.MALFORMED,
    FaultKind.TOO_LARGE: FailureKind.MALFORMED,
}

SAYS: dict[FaultKind, str] = {
    FaultKind.REFUSED: "could not connect",
    FaultKind.CONNECT_TIMEOUT: "took too long to connect",
    FaultKind.FIRST_BYTE_TIMEOUT: "sent no answer in time",
    FaultKind.BETWEEN_TIMEOUT: "stopped sending in the middle of its answer",
    FaultKind.TOTAL_TIMEOUT: "did not finish in time",
    FaultKind.RESET: "closed the connection before it answered",
    FaultKind.TRUNCATED: "closed the connection in the middle of its answer",
    FaultKind.PROTOCOL: "did not answer in HTTP",
    FaultKind.TOO_LARGE: "sent an answer that is too large",
}


UNREACHED = frozenset((FaultKind.REFUSED, FaultKind.CONNECT_TIMEOUT))
"""Nobody was reached: that says something of the provider as a whole, and nothing of a model."""


def failure_of(fault: Fault, *, provider: str, model: str) -> Failure:
    """The failure that a fault amounts to, in words for people."""
    detail = f"{provider} {SAYS[fault.kind]}"
    return Failure(
        kind=MEANING[fault.kind],
        provider=provider,
        model=model,
        detail=f"{detail} ({fault.detail})" if fault.detail else detail,
        scope="provider" if fault.kind in UNREACHED else "",
    )
