"""Streams as a provider's shell opens and reads them: what counts as life, and when nobody waits any longer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.dialects.scripted import Step
from runtime.opening import open_stream
from runtime.outcome import Completion, Failure, FailureKind, StreamEnd
from runtime.request import ask
from runtime.transport.base import Limits
from tests.fakes.clock import FakeClock
from tests.fakes.providers import kind, rig, streamed
from tests.runtime.test_edge_provider import Piecemeal

WORDS = Step(chunks=("word ",) * 60, chunk_delay_s=1.0)
"""One token a second, roughly."""


async def test_empty_deltas_after_content_are_no_sign_of_life() -> None:
    chatty = Step(chunks=("one ", *[""] * 500), chunk_delay_s=7.0)
    made = rig(chatty, limits=Limits(between_s=30.0, first_byte_s=60.0))
    stream = await streamed(made.provider, ask("hi"))
    assert kind(stream.outcome) is FailureKind.TIMED_OUT
    assert stream.text == "one "
    assert 60.0 < sum(made.clock.slept) < 70.0
    assert "no content for 60 s" in str(stream.outcome)
    assert made.transport.active == 0


async def test_content_that_is_slow_but_comes_is_waited_for() -> None:
    slow = Step(chunks=("one ", *["", "", "more "] * 10), chunk_delay_s=19.0)
    stream = await streamed(rig(slow).provider, ask("hi"))
    assert isinstance(stream.outcome, Completion)


async def test_a_stream_below_the_least_throughput_is_given_up() -> None:
    made = rig(WORDS, limits=Limits(min_tokens_per_s=5.0))
    stream = await streamed(made.provider, ask("hi"))
    assert kind(stream.outcome) is FailureKind.TIMED_OUT
    assert "tokens a second" in str(stream.outcome)
    assert sum(made.clock.slept) == pytest.approx(11.0)


@pytest.mark.parametrize("least", [0.0, 1.0])
async def test_a_stream_that_is_fast_enough_is_left_alone(least: float) -> None:
    stream = await streamed(rig(WORDS, limits=Limits(min_tokens_per_s=least)).provider, ask("hi"))
    assert isinstance(stream.outcome, Completion)


async def test_a_slow_reader_makes_no_stream_slow() -> None:
    """Ten words a second of the provider's time, one in ten of the reader's."""
    clock = FakeClock()
    made = rig(replace(WORDS, chunk_delay_s=0.1), clock=clock, limits=Limits(min_tokens_per_s=5.0))
    outcome = None
    async for event in made.provider.stream(ask("hi")):
        clock.advance(10.0)
        outcome = event.outcome if isinstance(event, StreamEnd) else None
    assert isinstance(outcome, Completion)


async def test_an_error_on_the_heels_of_the_first_content_was_seen_by_nobody() -> None:
    """Both came in one piece: somebody else may still be asked."""
    both = Piecemeal([b'{"delta":{"text":"a"}}\n{"error":{"message":"broken","type":"server_error"}}\n'])
    stream = await streamed(rig(transport=both).provider, ask("hi"))
    assert stream.start is None
    assert kind(stream.outcome) is FailureKind.UNAVAILABLE
    assert both.closed == 1


async def test_an_answer_in_one_piece_is_a_stream_like_others() -> None:
    step = Step(text="one two")
    made = rig(step)
    call = made.provider.dialect.encode(replace(ask("hi"), stream=True), made.provider.spec.target)
    assert not isinstance(call, Failure)
    transport = made.transport
    opened = await transport.open(call, Limits())
    whole = b""
    while piece := await opened.read():
        assert isinstance(piece, bytes)
        whole += piece
    stream = await streamed(rig(transport=Piecemeal([whole])).provider, ask("hi"))
    assert isinstance(stream.outcome, Completion)
    assert stream.text == stream.outcome.text == "one two"


async def test_whoever_opens_a_stream_in_vain_has_nothing_to_close() -> None:
    empty = Piecemeal([])
    made = rig(transport=empty)
    call = made.provider.dialect.encode(replace(ask("hi"), stream=True), made.provider.spec.target)
    assert not isinstance(call, Failure)
    opened = await open_stream(
        call,
        dialect=made.provider.dialect,
        transport=empty,
        target=made.provider.spec.target,
        limits=Limits(),
        clock=made.clock,
        faulted=lambda fault: Failure(kind=FailureKind.UNAVAILABLE),
    )
    assert kind(opened) is FailureKind.INTERRUPTED
    assert empty.closed == 1
