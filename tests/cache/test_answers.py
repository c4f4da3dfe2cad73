"""What a process remembers: for how long, how much, and who has to go."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runtime.cache.answers import ENTRY_BYTES, READ_BYTES, About, AnswerCache, Forget, Read, size_of
from runtime.cache.key import content_of
from runtime.outcome import Choice, Completion, Cost, FinishReason
from runtime.request import ToolCall, ask

ANSWER = Completion(
    id="1",
    model="m",
    provider="p",
    choices=(Choice.of("4", finish_reason=FinishReason.STOP),),
    cost=Cost(total_nanousd=9),
    latency_s=1.0,
)


ROOM = 10 * (ENTRY_BYTES + size_of(ANSWER))


def cache(entries: int = 2) -> AnswerCache:
    """With room for so many of these."""
    return AnswerCache(max_bytes=entries * ROOM // 10)


def put(kept: AnswerCache, key: bytes, now: float = 0.0, *, ttl_s: float = 10.0, about: About | None = None) -> None:
    kept.put(key, ANSWER, now, ttl_s=ttl_s, about=about)


def test_a_remembered_answer_costs_nothing_and_says_whose_it_is_and_what_it_saved() -> None:
    kept = cache()
    put(kept, b"k")
    found = kept.get(b"k", 1.5)
    assert found is not None
    assert (found.text, found.provider, found.cost) == ("4", "p", Cost(saved_nanousd=9))
    (attempt,) = found.attempts
    assert attempt.outcome == "cached"
    assert attempt.remembered is not None
    assert (attempt.remembered.key, attempt.remembered.age_s, attempt.remembered.saved_nanousd) == ("6b", 1.5, 9)
    assert (kept.counts.hits, kept.counts.saved_nanousd) == (1, 9)


def test_it_is_forgotten_in_time() -> None:
    kept = cache()
    put(kept, b"k")
    assert kept.get(b"k", 9.9)
    assert kept.get(b"k", 10.0) is None
    assert len(kept) == kept.bytes == 0
    assert kept.counts.stale == 1


def test_who_wants_a_younger_one_gets_none_and_leaves_it_to_others() -> None:
    kept = cache()
    put(kept, b"k")
    assert kept.get(b"k", 5.0, max_age_s=5.0) is None
    assert kept.get(b"k", 5.0, max_age_s=5.1)


def test_the_least_recently_used_goes_first() -> None:
    """The first system's went by age, used or not."""
    gone: list[bytes] = []
    kept = cache(2)
    kept.gone = gone.append
    put(kept, b"a", 0.0)
    put(kept, b"b", 1.0)
    kept.get(b"a", 2.0)
    put(kept, b"c", 3.0)
    assert [bool(kept.get(key, 4.0)) for key in (b"a", b"b", b"c")] == [True, False, True]
    assert gone == [b"b"]
    assert kept.clear() == 2
    assert kept.bytes == 0


def test_what_is_larger_than_all_the_room_puts_nobody_out() -> None:
    kept = cache(2)
    put(kept, b"a")
    large = replace(ANSWER, choices=(Choice.of("x" * 100_000, finish_reason=FinishReason.STOP),))
    assert not kept.put(b"b", large, 0.0, ttl_s=10.0)
    assert kept.get(b"a", 1.0)
    assert kept.counts.too_large == 1


@pytest.mark.parametrize("reason", [None, FinishReason.LENGTH, FinishReason.CONTENT_FILTER, FinishReason.ERROR])
def test_half_an_answer_is_not_kept(reason: FinishReason | None) -> None:
    kept = cache()
    kept.put(b"k", replace(ANSWER, choices=(Choice.of("4", finish_reason=reason),)), 0.0, ttl_s=10.0)
    kept.put(b"l", replace(ANSWER, choices=()), 0.0, ttl_s=10.0)
    kept.put(b"m", replace(ANSWER, continued=1), 0.0, ttl_s=10.0)
    assert len(kept) == 0


@pytest.mark.parametrize(
    ("what", "left"),
    [
        (Forget(), ""),
        (Forget(tag="faq"), "bc"),
        (Forget(tag="no such"), "abc"),
        (Forget(tenant="u"), "ab"),
        (Forget(model="openai/*"), "c"),
        (Forget(model="gpt-4o"), "bc"),
        (Forget(model="fast"), "ac"),
        (Forget(model="openai/*", tenant="t", tag="faq"), "bc"),
        (Forget(key=b"c".hex()), "ab"),
    ],
    ids=str,
)
def test_what_fits_is_forgotten(what: Forget, left: str) -> None:
    kept = cache(5)
    put(kept, b"a", about=About(tenant="t", route="x", provider="openai", model="gpt-4o", tags=("faq", "b")))
    put(kept, b"b", about=About(tenant="t", route="fast", provider="openai", model="o3"))
    put(kept, b"c", about=About(tenant="u", route="x", provider="anthropic", model="claude"))
    epoch = kept.epoch
    assert kept.forget(what) == 3 - len(left)
    assert [key for key in "abc" if key.encode() in kept] == list(left)
    assert kept.epoch > epoch, "what is under way has begun before"


def test_bytes_are_about_those_of_the_memory() -> None:
    """Reckoned between three quarters of and three times what is really taken, whatever answers hold."""
    call = ToolCall(id="call_1", name="look", arguments='{"where": "there"}')
    logprobs = {"content": [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}] * 40}
    for number, made in enumerate(
        (
            lambda at: Choice.of(f"{at} " * 200, finish_reason=FinishReason.STOP),
            lambda at: Choice.of(
                "x",
                tool_calls=tuple(replace(call, id=f"{at}-{i}", arguments=f"{at} there {i}") for i in (1, 2, 3)),
                finish_reason=FinishReason.TOOL_CALLS,
            ),
            lambda at: Choice.of(f"{at}", logprobs=orjson_copy(logprobs), finish_reason=FinishReason.STOP),
            lambda at: Choice.of(
                "ж" * 500 + str(at), reasoning="why " * 100 + str(at), finish_reason=FinishReason.STOP
            ),
        )
    ):
        kept = AnswerCache(max_bytes=10**9)
        gc.collect()
        tracemalloc.start()
        try:
            for at in range(300):
                key = b"%032d" % at
                kept.put(key, replace(ANSWER, id=f"chatcmpl-{at}", choices=(made(at),)), 0.0, ttl_s=1.0)
            gc.collect()
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert 0.75 <= kept.bytes / taken <= 3.0, (number, kept.bytes / 300, taken / 300)


def orjson_copy(value: object) -> object:
    import orjson

    return orjson.loads(orjson.dumps(value))


class Model(RuleBasedStateMachine):
    """Against a list in the order of use: the last is the most recent."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.room = 12_000
        self.gone: list[bytes] = []
        self.cache = AnswerCache(max_bytes=self.room, gone=self.gone.append)
        self.order: list[tuple[bytes, str, float, float, int]] = []
        self.sent: dict[bytes, tuple[bytes, int]] = {}

    keys = st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f"])

    @rule(key=keys, length=st.integers(0, 12_500), ttl_s=st.sampled_from([1.0, 5.0, 100.0]))
    def put(self, key: bytes, length: int, ttl_s: float) -> None:
        answer = replace(ANSWER, choices=(Choice.of("x" * length, finish_reason=FinishReason.STOP),))
        size = ENTRY_BYTES + size_of(answer)
        self.order = [one for one in self.order if one[0] != key]
        self.fall_silent()
        assert self.cache.put(key, answer, self.now, ttl_s=ttl_s) == (size <= self.room)
        if size <= self.room:
            self.order.append((key, answer.text, self.now, self.now + ttl_s, size))
        self.make_room()

    @property
    def taken(self) -> int:
        return sum(one[4] for one in self.order) + sum(READ_BYTES + 2 * size for _, size in self.sent.values())

    def fall_silent(self) -> None:
        held = {one[0] for one in self.order}
        self.sent = {sent: (key, size) for sent, (key, size) in self.sent.items() if key in held}

    def make_room(self) -> None:
        while self.taken > self.room:
            self.order.pop(0)
            self.fall_silent()

    @rule(key=keys, sent=st.sampled_from([b"1", b"2", b"3"]), size=st.integers(0, 4_000))
    def was_sent(self, key: bytes, sent: bytes, size: int) -> None:
        read = Read(ask(sent.decode()), content_of(ask(sent.decode())))
        self.cache.was_sent(sent, read, key, size=size)
        if sent in self.sent or not any(one[0] == key for one in self.order):
            return
        self.sent = {other: (of, bytes_) for other, (of, bytes_) in self.sent.items() if of != key}
        self.sent[sent] = key, size
        self.make_room()

    @rule(key=keys, max_age_s=st.sampled_from([0.5, 2.0, 1_000.0]))
    def holds(self, key: bytes, max_age_s: float) -> None:
        held = next((one for one in self.order if one[0] == key), None)
        counts = replace(self.cache.counts)
        assert self.cache.holds(key, self.now, max_age_s=max_age_s) == (
            held is not None and self.now < held[3] and self.now - held[2] < max_age_s
        )
        assert self.cache.counts == counts

    @rule(key=keys, max_age_s=st.none() | st.sampled_from([0.5, 2.0]))
    def get(self, key: bytes, max_age_s: float | None) -> None:
        found = self.cache.get(key, self.now, max_age_s=max_age_s)
        held = next((one for one in self.order if one[0] == key), None)
        if held is not None and self.now >= held[3]:
            self.order.remove(held)
            self.fall_silent()
            held = None
        if held is None or (max_age_s is not None and self.now - held[2] >= max_age_s):
            assert found is None
            return
        assert found is not None
        assert found.text == held[1]
        self.order.remove(held)
        self.order.append(held)

    @rule(passes_s=st.sampled_from([0.1, 1.0, 4.0]))
    def wait(self, passes_s: float) -> None:
        self.now += passes_s

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.order.clear()
        self.sent.clear()

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert {one[0] for one in self.order} == {
            key for key in (b"a", b"b", b"c", b"d", b"e", b"f") if key in self.cache
        }
        assert self.cache.bytes == self.taken <= self.room
        for sent in (b"1", b"2", b"3"):
            read = self.cache.sent(sent)
            assert (read is None) == (sent not in self.sent)
            assert read is None or read.request == ask(sent.decode())
        assert len(self.cache) == len(self.order)


TestAgainstAModel = Model.TestCase
TestAgainstAModel.settings = settings(max_examples=60, stateful_step_count=30)
