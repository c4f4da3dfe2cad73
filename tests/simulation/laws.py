"""What must hold after every run, whatever went wrong in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from runtime.failover import RetryBudget
from runtime.outcome import UNASKED, Completion, Delta, FailureKind, StreamEnd, StreamStart
from tests.simulation.transport import Call
from tests.simulation.world import EPSILON_S, Told, World


def broken_laws(world: World) -> list[str]:
    """What broke, with the moment where there is one; empty if all held."""
    calls: defaultdict[int, list[Call]] = defaultdict(list)
    for call in world.calls:
        calls[call.asker].append(call)
    broken = list(world.wrong)
    for told in world.told:
        ours = calls[told.number]
        found = [
            *_ends(world, told),
            *_attempts(world, told, ours),
            *_no_leak(world, told, ours),
            *_answer(told, world.calls),
        ]
        broken += [f"{told}: {law}" for law in found]
    return [*broken, *_settled(world), *_budget(world, calls)]


def _ends(world: World, told: Told) -> Iterator[str]:
    """Every request has one outcome, by its deadline. Who reads slowly waits for himself."""
    if told.broke is not None:
        yield f"raised {told.broke!r}"
    if told.went == "cancelled by nobody":
        yield "was cancelled, and nobody had hung up"
    limit_s = world.settings.timeouts.total_s if told.request.deadline_s is None else told.request.deadline_s
    due = max(told.begun + limit_s, told.pulled)
    if told.ended is None or told.ended > due + EPSILON_S:
        yield f"should have ended by {due:.3f}"


def _attempts(world: World, told: Told, calls: list[Call]) -> Iterator[str]:
    """Attempts are bounded, and those that are reported are those that were made."""
    most = world.settings.retry.max_attempts
    if len(calls) > most:
        yield f"{len(calls)} calls, {most} attempts allowed"
    if told.committed is not None:
        late = [call for call in calls if call.begun > told.committed + EPSILON_S]
        if late:
            yield f"its answer had begun, and somebody else was asked all the same: {late[0]}"
    outcome = told.outcome
    if outcome is None:
        return
    if len(outcome.attempts) > most:
        yield f"{len(outcome.attempts)} attempts, {most} allowed"
    # Where every key was refused before, nobody is asked again with them.
    unasked = {*UNASKED, FailureKind.DEADLINE_EXCEEDED, FailureKind.UNAUTHENTICATED}
    reported = [one for one in outcome.attempts if one.outcome not in unasked]
    reached = [call for call in calls if call.begun < world.ends or call.how != "cancelled"]
    if len(reported) > len(calls) or len(outcome.attempts) < len(reached):
        yield f"reports {len(outcome.attempts)} attempts, {len(reported)} of them asked; {len(calls)} calls were made"


def _no_leak(world: World, told: Told, calls: list[Call]) -> Iterator[str]:
    """Who has gone, or was answered, has nothing under way; every stream that was opened was closed, once."""
    for call in calls:
        if call.ended is None or (told.ended is not None and call.ended > told.ended + EPSILON_S):
            yield f"outlived by {call}"
        if call.opened and call.closes != 1:
            yield f"closed {call.closes} times: {call}"
        # Bytes without content are no answer: whoever waits for one gives up as after silence.
        first_s = call.play.head_s + world.settings.timeouts.first_byte_s
        mute = call.opened and call.trouble in ("pings", "silence after the head")
        if mute and call.ended is not None and call.ended > call.begun + first_s + EPSILON_S:
            yield f"had the patience of {call.ended - call.begun:.3f} s with {call}"


def _answer(told: Told, calls: list[Call]) -> Iterator[str]:
    """One answer, of one attempt; whole where it looks complete."""
    if not told.request.stream:
        if isinstance(told.outcome, Completion) and not _is_whole(told.outcome.text, calls, told.number):
            yield f"no attempt's whole answer: {told.outcome.text}"
        return
    events = told.events
    ends = [index for index, event in enumerate(events) if isinstance(event, StreamEnd)]
    if ends and ends != [len(events) - 1]:
        yield f"ends at {ends} of {len(events)} events"
    if not ends and not told.went:
        yield "its stream has no end"
    starts = [index for index, event in enumerate(events) if isinstance(event, StreamStart)]
    if starts not in ([], [0]):
        yield f"starts at {starts}"
    deltas = [event for event in events if isinstance(event, Delta)]
    text = "".join(delta.text for delta in deltas)
    if deltas and not starts:
        yield "speaks without a start"
    if text and not any(call.text.startswith(text) for call in calls if call.asker == told.number):
        yield f"mixes attempts: {text}"
    if ends:
        outcome = told.outcome
        if isinstance(outcome, Completion) and not (text == outcome.text and _is_whole(text, calls, told.number)):
            yield f"looks complete, and is not: {text}"
        if isinstance(outcome, Completion) and not starts:
            yield "has an answer without a start"


def _is_whole(text: str, calls: list[Call], asker: int) -> bool:
    return any(call.text == text for call in calls if call.asker == asker and call.how in ("whole", "closed"))


def _settled(world: World) -> Iterator[str]:
    """Every call is settled exactly once: nothing is in flight, and the books count each call once."""
    for edge in world.edges:
        if edge.in_flight:
            yield f"{edge.name}: {edge.in_flight} in flight at the end"
        for provider in world.settings.providers:
            made = sum(call.edge == edge.name and call.provider == provider for call in world.calls)
            settled, told = edge.counted[provider], world.center.counted[edge.name, provider]
            if made != settled:
                yield f"{edge.name}: {made} calls of {provider}, {settled} settled"
            if told > settled:
                yield f"{edge.name}: {settled} calls of {provider} settled, {told} counted by the manager"
    for call in world.calls:
        if call.ended is None:
            yield f"never ended: {call}"


def _budget(world: World, calls: dict[int, list[Call]]) -> Iterator[str]:
    """Second tries of the same candidate are a share of the requests, and a reserve."""
    ratio = world.settings.retry.budget_ratio
    for edge in world.edges:
        asked = [told for told in world.told if told.edge is edge]
        again = 0
        for told in asked:
            tries = [(call.provider, call.model) for call in calls[told.number]]
            again += len(tries) - len(set(tries))
        most = ratio * len(asked) + (RetryBudget.RESERVE if ratio > 0.0 else 0.0)
        if again > most + EPSILON_S:
            yield f"{edge.name}: {again} retries of {len(asked)} requests, {most:g} allowed"
