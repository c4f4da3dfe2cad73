"""The short way to a hold says what the long way says."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from runtime.hold import _dearest, _of_text, bounds_of, hold
from runtime.models import ModelInfo, Pricing
from runtime.request import CacheHint, Message, Request, Role, Sampling, TextPart, ask
from tests.runtime.test_hold import tiers as pricings

messages = st.builds(
    Message,
    role=st.sampled_from([Role.SYSTEM, Role.USER, Role.ASSISTANT]),
    parts=st.lists(st.builds(TextPart, st.text()), max_size=3).map(tuple),
)
requests = st.builds(
    Request,
    messages=st.lists(messages, min_size=1, max_size=4).map(tuple),
    choices=st.integers(1, 9),
    sampling=st.builds(Sampling, max_tokens=st.none() | st.integers(1, 10**6)),
)


@given(requests, pricings, st.none() | st.integers(1, 10**6))
def test_for_plain_text_both_ways_come_to_the_same(request: Request, pricing: Pricing, longest: int | None) -> None:
    info = ModelInfo(provider="p", model="m", pricing=pricing, max_output_tokens=longest)
    bounds = bounds_of(request, info)
    assert bounds is not None
    assert _of_text(request, info, pricing) == hold(request, info) == _dearest(bounds, pricing)


def test_whatever_is_not_plain_text_takes_the_long_way() -> None:
    pricing = Pricing(input=10**9, output=10**9)
    info = ModelInfo(provider="p", model="m", pricing=pricing)
    kept = replace(ask("hi"), cache=CacheHint())
    option = replace(ask("hi"), extra={"max_output_tokens": 10**6})
    named = Request(messages=(Message(role=Role.USER, parts=(TextPart("hi"),), name="Ann"),))
    marked = Request(messages=(Message(role=Role.USER, parts=(TextPart("hi", extra={"ttl": "1h"}),)),))
    assert [_of_text(one, info, pricing) for one in (kept, option, named, marked)] == [None] * 4
    tiered = replace(pricing, applies_up_to_tokens=200_000)
    assert _of_text(ask("hi"), info, tiered) is None
    unlimited = replace(info, unsupported_parameters=frozenset({"max_tokens"}))
    assert _of_text(ask("hi"), unlimited, pricing) is None
