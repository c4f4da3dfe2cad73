"""A gateway over scripted providers with hooks before it, which are objects instead of import paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from runtime.hooks.chain import Chain
from runtime.hooks.mounted import Mounted
from runtime.outcome import Completion, Failure, StreamEnd, StreamEvent
from runtime.request import Request, ask
from tests.fakes.clock import FakeClock
from tests.fakes.gateway import Rigs


def mounted(hook: Any, clock: FakeClock, **said: Any) -> Mounted:
    said.setdefault("guard", getattr(hook, "guard", False))
    return Mounted(name=type(hook).__name__, hook=hook, clock=clock, **said)


def hooked(*hooks: Any, settings: dict[str, Any] | None = None, **steps: Any) -> Rigs:
    """Each hook is an object, or a pair of one and how it is mounted."""
    made = Rigs(settings=settings, **steps)
    put_on(made, *hooks)
    return made


def put_on(made: Rigs, *hooks: Any) -> tuple[Mounted, ...]:
    pairs = [one if isinstance(one, tuple) else (one, {}) for one in hooks]
    chain = [mounted(hook, made.clock, **said) for hook, said in pairs]
    kinds = {name: one.kind.value for name, one in made.settings.providers.items()}
    policy = made.gateway.policy
    made.gateway.policy = replace(policy, hooks=Chain(chain, kinds=kinds, default=made.settings.default_model))
    return tuple(chain)


async def events_of(made: Rigs, request: Request | None = None) -> list[StreamEvent]:
    return [event async for event in made.gateway.stream(replace(request or ask("hi"), stream=True))]


def said_in(events: Sequence[StreamEvent]) -> str:
    return "".join(getattr(one, "text", "") for one in events)


def end_of(events: Sequence[StreamEvent]) -> Completion | Failure:
    ends = [one for one in events if isinstance(one, StreamEnd)]
    assert len(ends) == 1, events
    assert events[-1] is ends[0]
    return ends[0].outcome
