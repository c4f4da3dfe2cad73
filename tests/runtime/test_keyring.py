"""A provider's keys: whose turn it is, who stands aside and for how long, and what is never said aloud."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from runtime.keyring import (
    DISABLED_S,
    EXHAUSTED_S,
    FORBIDDEN_S,
    LONGEST_S,
    MOST_STATES,
    TRIAL_S,
    Key,
    Keyring,
    KeyState,
    Locked,
)
from runtime.outcome import Failure, FailureKind

A, B, C = Key("sk-aaaaaaaaaaaaaaaa-1111"), Key("sk-bbbbbbbbbbbbbbbb-2222"), Key("sk-cccccccccccccccc-3333")
K = FailureKind


def ring(*keys: Key) -> Keyring:
    made = Keyring(random.Random(1))
    made.hold(keys or (A, B))
    return made


def failed(kind: FailureKind, **said: object) -> Failure:
    return Failure(kind=kind, **said)  # type: ignore[arg-type]


REFUSED = failed(K.UNAUTHENTICATED)


def test_keys_take_turns() -> None:
    keys = ring(A, B, C)
    assert [keys.pick("m", 0.0) for _ in range(4)] == [one.fingerprint for one in (A, B, C, A)]


def test_looking_is_not_using() -> None:
    keys = ring()
    assert keys.look("m", 0.0) == keys.look("m", 0.0) == keys.pick("m", 0.0) == A.fingerprint
    assert keys.look("m", 0.0) == B.fingerprint


def test_without_keys_there_is_nothing_to_say() -> None:
    keys = Keyring(random.Random(1))
    assert keys.pick("m", 0.0) == ""
    assert keys.settle("", "m", REFUSED, 0.0) == ()
    assert keys.retry_in_s("m", 0.0) == 0.0


def test_a_refused_key_stands_aside_for_all_models() -> None:
    keys = ring()
    (news,) = keys.settle(A.fingerprint, "m", REFUSED, 0.0)
    assert news == KeyState(key=A.fingerprint, shown="…1111", why="disabled", retry_in_s=DISABLED_S)
    assert {keys.pick("other", 1.0) for _ in range(3)} == {B.fingerprint}
    assert keys.another(A.fingerprint, "m", 1.0)
    assert not keys.another(B.fingerprint, "m", 1.0)


def test_a_refusal_is_told_once() -> None:
    keys = ring()
    told = [keys.settle(A.fingerprint, "m", REFUSED, at / 100) for at in range(20)]
    assert [bool(news) for news in told] == [True] + [False] * 19


def test_a_forbidden_model_is_forbidden_alone() -> None:
    keys = ring(A)
    keys.settle(A.fingerprint, "m", failed(K.FORBIDDEN), 0.0)
    assert keys.pick("other", 0.0) == A.fingerprint
    locked = keys.pick("m", 0.0)
    assert locked == Locked(FORBIDDEN_S, True, "key …1111 is disabled for m")


def test_a_refusal_of_the_request_says_nothing_of_the_key() -> None:
    keys = ring(A)
    assert keys.settle(A.fingerprint, "m", failed(K.FORBIDDEN, scope="request"), 0.0) == ()
    assert keys.pick("m", 0.0) == A.fingerprint


def test_what_is_exhausted_stays_so_longer_each_time() -> None:
    keys, now, waits = ring(A), 0.0, []
    for _ in range(8):
        assert keys.pick("m", now) == A.fingerprint
        keys.settle(A.fingerprint, "m", failed(K.QUOTA_EXHAUSTED), now)
        waits.append(keys.retry_in_s("m", now))
        now += waits[-1]
    assert waits[:3] == [EXHAUSTED_S, 2 * EXHAUSTED_S, 4 * EXHAUSTED_S]
    assert waits[-1] == LONGEST_S
    keys.pick("m", now)
    keys.settle(A.fingerprint, "m", None, now)
    keys.settle(A.fingerprint, "m", failed(K.QUOTA_EXHAUSTED), now)
    assert keys.retry_in_s("m", now) == EXHAUSTED_S


def test_a_rate_limit_shuts_the_key_for_what_it_says_and_no_longer() -> None:
    keys = ring()
    keys.settle(A.fingerprint, "m", failed(K.RATE_LIMITED, retry_after_s=7.0), 0.0)
    assert keys.wait_s(A.fingerprint, "other", 0.0) == 7.0
    assert keys.wait_s(A.fingerprint, "m", 7.0) == 0.0
    keys.settle(B.fingerprint, "m", failed(K.RATE_LIMITED, retry_after_s=5.0, scope="model"), 0.0)
    assert keys.pick("other", 0.0) == B.fingerprint
    locked = keys.pick("m", 0.0)
    assert isinstance(locked, Locked)
    assert (locked.retry_in_s, locked.disabled) == (5.0, False)


def test_a_burst_of_rate_limits_is_one_reason_to_wait() -> None:
    keys = ring(A)
    for _ in range(50):
        keys.settle(A.fingerprint, "m", failed(K.RATE_LIMITED), 0.0)
    assert 1.0 <= keys.retry_in_s("m", 0.0) <= 2.0


def test_one_call_tries_a_key_again() -> None:
    keys = ring(A)
    keys.settle(A.fingerprint, "m", REFUSED, 0.0)
    now = DISABLED_S
    assert keys.pick("m", now) == A.fingerprint
    assert keys.on_trial(A.fingerprint, "m")
    assert isinstance(keys.pick("m", now), Locked)
    assert keys.retry_in_s("m", now) == TRIAL_S
    assert keys.settle(A.fingerprint, "m", None, now + 1.0) == (KeyState(key=A.fingerprint, shown="…1111"),)
    assert keys.pick("m", now + 1.0) == A.fingerprint
    assert keys.states(now + 1.0) == ()


def test_a_trial_that_fails_is_over() -> None:
    keys = ring(A)
    keys.settle(A.fingerprint, "m", REFUSED, 0.0)
    keys.pick("m", DISABLED_S)
    assert keys.settle(A.fingerprint, "m", REFUSED, DISABLED_S + 1.0)
    assert keys.retry_in_s("m", DISABLED_S + 1.0) == DISABLED_S


def test_a_free_call_heals_a_refused_key_and_cuts_no_wait() -> None:
    keys = ring(A)
    keys.settle(A.fingerprint, "m", REFUSED, 0.0)
    assert keys.heal(A.fingerprint)
    assert keys.pick("m", 0.0) == A.fingerprint
    keys.settle(A.fingerprint, "m", failed(K.RATE_LIMITED, retry_after_s=9.0), 0.0)
    assert keys.heal(A.fingerprint) == ()
    assert keys.retry_in_s("m", 0.0) == 9.0


def test_a_late_success_cuts_no_wait() -> None:
    keys = ring(A)
    keys.settle(A.fingerprint, "m", failed(K.RATE_LIMITED, retry_after_s=9.0), 0.0)
    keys.settle(A.fingerprint, "m", None, 1.0)
    assert keys.retry_in_s("m", 1.0) == 8.0


# With others.


def test_what_one_edge_saw_refused_another_need_not() -> None:
    keys = ring()
    keys.adopt([KeyState(key=A.fingerprint, why="disabled", retry_in_s=500.0)], 0.0)
    assert {keys.pick("m", 0.0) for _ in range(3)} == {B.fingerprint}
    keys.adopt([], 1.0)
    assert keys.wait_s(A.fingerprint, "m", 1.0) <= 0.0, "healed somewhere else"


def test_what_nobody_has_heard_of_yet_is_not_healed_by_it() -> None:
    keys = ring()
    keys.settle(A.fingerprint, "m", REFUSED, 0.0)
    keys.adopt([], 0.1)
    assert keys.wait_s(A.fingerprint, "m", 0.1) > 0.0


def test_an_echo_makes_no_wait_longer_and_a_published_one_is_not_cut() -> None:
    keys = ring(A)
    keys.settle(A.fingerprint, "m", failed(K.RATE_LIMITED, retry_after_s=9.0), 0.0)
    keys.adopt([KeyState(key=A.fingerprint, why="throttled", retry_in_s=9.0)], 0.2)
    assert keys.wait_s(A.fingerprint, "m", 0.2) == pytest.approx(8.8)
    keys.adopt([], 1.0)
    assert keys.wait_s(A.fingerprint, "m", 1.0) == 8.0


def test_new_settings_keep_what_is_known_of_old_keys() -> None:
    keys = ring(A, B)
    keys.settle(A.fingerprint, "m", REFUSED, 0.0)
    keys.hold((A, C))
    assert {keys.pick("m", 0.0) for _ in range(3)} == {C.fingerprint}
    assert keys.settle(B.fingerprint, "m", REFUSED, 0.0) == (), "a late answer to a key that is gone"


def test_names_do_not_fill_the_memory() -> None:
    keys = ring(A)
    for at in range(3 * MOST_STATES):
        keys.settle(A.fingerprint, f"made-up-{at}", failed(K.FORBIDDEN), 0.0)
    assert len(keys.states(0.0)) <= MOST_STATES


def test_a_key_is_never_shown_whole() -> None:
    for secret in ("short", "sk-0123456789abcdef", ""):
        key = Key(secret)
        assert not secret or secret not in repr(key) + key.shown
        assert len(key.fingerprint) == 12
    assert Key("sk-0123456789abcdef").shown == "…cdef"


@settings(max_examples=20, stateful_step_count=40)
class Laws(RuleBasedStateMachine):
    """No key is used before its wait is over; there is always a way back."""

    @initialize(seed=st.integers(0, 9))
    def begin(self, seed: int) -> None:
        self.keys = Keyring(random.Random(seed))
        self.keys.hold((A, B))
        self.now = 0.0
        self.waits: dict[tuple[str, str], float] = {}

    @rule(seconds=st.sampled_from([0.0, 0.5, 5.0, 60.0, 600.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        model=st.sampled_from(["m", "n"]),
        kind=st.sampled_from([None, K.UNAUTHENTICATED, K.FORBIDDEN, K.QUOTA_EXHAUSTED, K.RATE_LIMITED, K.UNAVAILABLE]),
        wait_s=st.sampled_from([None, 0.0, 1.0, 30.0]),
    )
    def call(self, model: str, kind: FailureKind | None, wait_s: float | None) -> None:
        looked = self.keys.look(model, self.now)
        assert self.keys.retry_in_s(model, self.now) == (looked.retry_in_s if isinstance(looked, Locked) else 0.0)
        key = self.keys.pick(model, self.now)
        assert key == looked
        if isinstance(key, Locked):
            assert key.retry_in_s > 0.0
            return
        assert self.now >= self.waits.get((key, ""), 0.0)
        assert self.now >= self.waits.get((key, model), 0.0)
        fresh = not self.keys.states(self.now)
        failure = None if kind is None else failed(kind, retry_after_s=wait_s)
        self.keys.settle(key, model, failure, self.now)
        if kind is K.RATE_LIMITED and wait_s is not None:
            self.waits[key, ""] = max(self.waits.get((key, ""), 0.0), self.now + wait_s)
            assert not fresh or self.keys.wait_s(key, model, self.now) == wait_s, "for what it says and no longer"

    @rule()
    def free_call(self) -> None:
        self.keys.heal(A.fingerprint)

    @invariant()
    def there_is_a_way_back(self) -> None:
        if hasattr(self, "keys"):
            for model in ("m", "n"):
                assert self.keys.retry_in_s(model, self.now + LONGEST_S) == 0.0


TestLaws = Laws.TestCase
