"""Where a request is in a trace, and what is told of its steps. Ids and context only: who exports spans is given.

client ─ traceparent ─► request (server span) ─► attempt (client span) ─ traceparent ─► provider

The context travels in `Request.trace`, over actors as well. Without tracing it is None, and nothing here is done.
w3.org/TR/trace-context (level 1); attributes by OpenTelemetry's conventions for GenAI.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from runtime.wire import crosses

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
LONGEST_STATE = 512
"""Of a `tracestate`: what is longer may be left out."""

Value = str | bool | int | float | tuple[str, ...]


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A span's place. `state` is the client's own, which goes on unread."""

    trace_id: str
    span_id: str
    sampled: bool = True
    state: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """As whoever is asked next is told it."""
        said = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"}
        return {**said, "tracestate": self.state} if self.state else said


def read(parent: str, state: str = "") -> Trace | None:
    """The context in these headers; None if there is none, or it cannot be understood.

    >>> read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").sampled
    True
    """
    match = _PARENT.fullmatch(parent.strip().lower())
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or set(trace_id) == {"0"} or set(span_id) == {"0"}:
        return None
    kept = state.strip() if len(state) <= LONGEST_STATE and state.isascii() and state.isprintable() else ""
    return Trace(trace_id=trace_id, span_id=span_id, sampled=bool(int(flags, 16) & 1), state=kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One step that is over. Moments are of the process's monotonic clock. `server`: somebody asked us."""

    name: str
    trace: Trace
    parent_id: str
    began: float
    ended: float
    server: bool = False
    attributes: Mapping[str, Value] = field(default_factory=dict)
    error: str = ""


class Traces(Protocol):
    """Who makes contexts and takes spans."""

    def begin(self, parent: Trace | None, name: str) -> Trace:
        """A place for a request, within its client's trace if that sent one."""
        ...

    def child(self, of: Trace) -> Trace: ...

    def tell(self, span: Span) -> None:
        """Of one that is sampled. Returns at once."""
        ...
