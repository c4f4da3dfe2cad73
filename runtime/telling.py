"""What happened, as events. What concerns a request is called only where somebody listens."""

from __future__ import annotations

from runtime.balance.entry import Candidate
from runtime.events import (
    PROMPTS,
    AttemptEvent,
    BreakerEvent,
    BudgetEvent,
    Bus,
    CacheEvent,
    ConfigEvent,
    ErrorEvent,
    Event,
    FallbackEvent,
    FeedbackEvent,
    HealthEvent,
    RequestEvent,
    ResponseEvent,
)
from runtime.feed import DoorState, Published
from runtime.learning.values import FeedbackGiven
from runtime.ledger.book import Notice
from runtime.outcome import CACHED, SHARED, Attempt, Completion, Failure, Outcome
from runtime.request import Request
from runtime.settings import Settings
from runtime.settings.difference import difference

_HAD = (CACHED, SHARED)


def tell_request(bus: Bus, request: Request) -> None:
    """A chat begins, as the hooks before it left it."""
    prompt = None
    if PROMPTS in bus.wanted:
        prompt = "\n".join(f"{message.role}: {message.text}" for message in request.messages)
    bus.tell(
        RequestEvent(
            at_s=bus.now(),
            source=bus.source,
            request_id=request.request_id,
            model=request.model,
            key=request.billing.account.key if request.billing is not None else "",
            tenant=request.tenant,
            dialect=request.dialect,
            streamed=request.stream,
            messages=len(request.messages),
            prompt=prompt,
        )
    )


def tell_outcome(bus: Bus, request: Request, outcome: Outcome, took_s: float, *, begun: bool = False) -> None:
    """What came of it. `begun`: some of a stream had gone already."""
    tries = outcome.attempts
    asked = sum(one.outcome not in _HAD for one in tries)
    if isinstance(outcome, Failure):
        bus.tell(
            ErrorEvent(
                at_s=bus.now(),
                source=bus.source,
                request_id=request.request_id,
                kind=outcome.kind.value,
                code=outcome.code or "",
                provider=outcome.provider,
                model=outcome.model,
                attempts=asked,
                took_s=took_s,
                begun=begun,
            )
        )
        return
    bus.tell(
        ResponseEvent(
            at_s=bus.now(),
            source=bus.source,
            request_id=request.request_id,
            provider=outcome.provider,
            model=outcome.model,
            finish_reason=outcome.finish_reason or "",
            input_tokens=outcome.usage.input_tokens,
            output_tokens=outcome.usage.output_tokens,
            cost_nanousd=None if outcome.cost is None else outcome.cost.total_nanousd,
            attempts=asked,
            took_s=took_s,
            streamed=request.stream,
        )
    )


def tell_cache(bus: Bus, how: str, request: Request, key: bytes, given: Completion | None = None) -> None:
    """A hit, a miss, or an answer that is remembered from now on."""
    known = next((one.remembered for one in given.attempts if one.remembered), None) if given else None
    bus.tell(
        CacheEvent(
            at_s=bus.now(),
            source=bus.source,
            request_id=request.request_id,
            provider=given.provider if given else "",
            model=given.model if given else "",
            how=how,
            key=known.key if known else key.hex(),
            age_s=known.age_s if known else 0.0,
            cosine=known.cosine if known else None,
            saved_nanousd=given.cost.saved_nanousd if given and given.cost else 0,
        )
    )


def tell_attempt(bus: Bus, request_id: str, made: Attempt) -> None:
    bus.tell(
        AttemptEvent(
            at_s=bus.now(),
            source=bus.source,
            request_id=request_id,
            provider=made.provider,
            model=made.model,
            outcome=made.outcome,
            elapsed_s=made.elapsed_s,
        )
    )


def tell_fallback(bus: Bus, request_id: str, before: Candidate, after: Candidate, failure: Failure) -> None:
    bus.tell(
        FallbackEvent(
            at_s=bus.now(),
            source=bus.source,
            request_id=request_id,
            before=str(before),
            after=str(after),
            why=failure.kind.value,
        )
    )


def tell_feedback(bus: Bus, given: FeedbackGiven) -> None:
    """Somebody has judged an answer."""
    said = [name for name in ("score", "label", "better_than", "correction") if getattr(given, name) is not None]
    bus.tell(
        FeedbackEvent(
            at_s=bus.now(),
            source=bus.source,
            request_id=given.request,
            key=given.key,
            signal=",".join(said),
            score=given.score,
        )
    )


def config_event(before: Settings, after: Settings, *, version: int, at_s: float, source: str) -> ConfigEvent:
    changed = sorted({one.path.split(".")[0].split(" ")[0] for one in difference(before, after)})
    return ConfigEvent(at_s=at_s, source=source, version=version, changed=tuple(changed))


def budget_event(notice: Notice, *, at_s: float, source: str) -> BudgetEvent:
    limit = notice.limit
    return BudgetEvent(
        at_s=at_s,
        source=source,
        scope=limit.scope.value,
        id=limit.of,
        period=limit.period.value,
        start_ms=notice.start_ms,
        spent_nanousd=notice.spent_nanousd,
        limit_nanousd=limit.amount,
        share=notice.spent_nanousd / limit.amount if limit.amount else 1.0,
        all=notice.all,
    )


def doors_moved(before: Published | None, after: Published, *, at_s: float, source: str) -> list[Event]:
    """What of a provider's doors opened or closed; of the whole, and of models by themselves."""
    before = before or Published(provider=after.provider)
    pairs = [("", before.whole, after.whole)]
    pairs += [
        (model, before.models.get(model, DoorState()), after.models.get(model, DoorState()))
        for model in dict.fromkeys((*before.models, *after.models))
    ]
    found: list[Event] = [
        BreakerEvent(
            at_s=at_s,
            source=source,
            provider=after.provider,
            model=model,
            state=_state(new),
            retry_in_s=new.wait_s,
            why=new.why,
        )
        for model, old, new in pairs
        if _state(old) != _state(new)
    ]
    if before.whole.is_shut != after.whole.is_shut:
        available = not after.whole.is_shut
        found.append(HealthEvent(at_s=at_s, source=source, provider=after.provider, available=available, why=after.why))
    return found


def _state(door: DoorState) -> str:
    return "open" if door.open else "throttled" if door.throttled_for_s > 0.0 else "closed"
