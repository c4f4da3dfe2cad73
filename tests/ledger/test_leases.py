"""One owner, its edges and their purses: what is lent, spent, lost and refused."""

from __future__ import annotations

import pickle
import timeit
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runtime.ledger.accounts import Counted, Limit, Pass
from runtime.ledger.leases import Claim, Claims, Grants, LeasePolicy, Refused
from runtime.ledger.owner import Owner
from runtime.ledger.periods import Period
from runtime.ledger.purse import Need, OwnerDead, Purse, PursePolicy, Reservation
from runtime.ledger.rate_headers import rate_headers
from runtime.outcome import Failure, FailureKind
from tests.ledger.money_world import EPOCH_S, money, pass_of, rate, row_of

NOW = EPOCH_S


def owner_of(*limits: Limit, spent: int = 0, **said: object) -> Owner:
    owner = Owner(epoch=1, now=NOW, restarted=False, **said)  # type: ignore[arg-type]
    for limit in limits:
        owner.put(limit, now=NOW, spent_nanousd=spent)
    return owner


def exchange(purse: Purse, owner: Owner, now: float = NOW, *, everything: bool = False) -> Grants | None:
    claims = purse.claims(now, everything=everything)
    if claims is None:
        return None
    grants = owner.grant(pickle.loads(pickle.dumps(claims)), now)
    purse.take(grants, now)
    return grants


def reserve(
    purse: Purse, owner: Owner, pass_: Pass, hold: int | None = 10, tokens: int = 0, *, now: float = NOW
) -> Reservation | Failure:
    got = purse.reserve(pass_, hold, tokens, now)
    for _ in range(5):
        if not isinstance(got, Need):
            return got
        exchange(purse, owner, now)
        got = purse.reserve(pass_, hold, tokens, now, asked=got)
    raise AssertionError("an answer must end a need")


def held(purse: Purse, owner: Owner, pass_: Pass, hold: int = 10, tokens: int = 0, *, now: float = NOW) -> Reservation:
    got = reserve(purse, owner, pass_, hold, tokens, now=now)
    assert isinstance(got, Reservation), got
    return got


def refused(
    purse: Purse, owner: Owner, pass_: Pass, hold: int | None = 10, tokens: int = 0, *, now: float = NOW
) -> Failure:
    got = reserve(purse, owner, pass_, hold, tokens, now=now)
    assert isinstance(got, Failure), got
    return got


def test_a_caller_without_limits_needs_nobody() -> None:
    purse = Purse(edge="a")
    got = purse.reserve(pass_of(), None, 0, NOW)
    assert isinstance(got, Reservation)
    assert got.lease == ""
    purse.settle(got, None, 0, NOW)
    assert purse.claims(NOW) is None


def test_an_attempt_is_settled_once() -> None:
    purse = Purse(edge="a")
    owner, pass_ = owner_of(money(100)), pass_of(money(100))
    got = held(purse, owner, pass_)
    purse.settle(got, 4, 0, NOW)
    with pytest.raises(KeyError):
        purse.settle(got, 4, 0, NOW)


def test_a_spent_budget_is_refused_until_its_period_ends_and_says_which() -> None:
    limit = money(100, period=Period.DAY)
    purse, owner, pass_ = Purse(edge="a"), owner_of(limit, spent=95), pass_of(limit)
    failure = refused(purse, owner, pass_)
    assert (failure.kind, failure.code) == (FailureKind.BUDGET_EXCEEDED, "budget_exceeded")
    assert "daily budget of key k1" in failure.detail
    assert failure.retry_after_s == 86_400 - NOW % 86_400


def test_what_others_hold_is_refused_for_a_moment_only() -> None:
    limit = money(100)
    owner, pass_ = owner_of(limit), pass_of(limit)
    one, two = Purse(edge="a"), Purse(edge="b")
    got = held(one, owner, pass_, 95)
    failure = refused(two, owner, pass_, 50)
    assert (failure.kind, failure.code) == (FailureKind.THROTTLED, "budget_held")
    one.settle(got, 10, 0, NOW)
    owner.spent(row_of("a/1", NOW, 10, hold=95, lease="1.1"), 10, now=NOW)
    exchange(one, owner, NOW + 5)
    held(two, owner, pass_, 50, now=NOW + 5)


def test_an_unknown_price_is_refused_by_a_hard_budget_alone() -> None:
    limit = money(100)
    purse = Purse(edge="a")
    assert refused(purse, owner_of(limit), pass_of(limit), None).code == "unknown_price"
    only_rate = rate(10)
    assert isinstance(reserve(purse, owner_of(only_rate), pass_of(only_rate), None), Reservation)


def test_a_row_that_comes_to_more_than_its_hold_is_an_overrun() -> None:
    owner = owner_of(money(100))
    assert owner.is_overrun(row_of("a/1", NOW, 11, hold=10, lease="1.1"))
    assert not owner.is_overrun(row_of("a/1", NOW, 10, hold=10, lease="1.1"))


def test_there_is_one_warning_and_one_end_in_each_period() -> None:
    owner = owner_of(money(100, period=Period.HOUR))
    said = []
    for number in range(30):
        owner.spent(row_of(f"a/{number}", NOW, 5), 5, now=NOW)
        said += [(number, notice.all) for notice in owner.tick(NOW)]
    assert said == [(15, False), (19, True)]
    later = NOW + 3_600
    owner.spent(row_of("a/x", later, 80), 80, now=later)
    assert [notice.all for notice in owner.tick(later)] == [False]


def test_a_restart_does_not_warn_again() -> None:
    assert owner_of(money(100), spent=90).tick(NOW) == ()


def test_a_soft_budget_warns_and_is_in_nobodys_pass() -> None:
    owner = owner_of(money(100, hard=False))
    owner.spent(row_of("a/1", NOW, 500), 500, now=NOW)
    assert [notice.all for notice in owner.tick(NOW)] == [False, True]


def test_a_limit_that_is_lowered_lends_nothing_until_there_is_room_and_one_that_is_raised_does() -> None:
    limit = money(100)
    purse, owner, pass_ = Purse(edge="a"), owner_of(limit, spent=60), pass_of(limit)
    owner.put(money(50), now=NOW)
    assert refused(purse, owner, pass_).code == "budget_exceeded"
    owner.put(money(200), now=NOW)
    held(purse, owner, pass_, 100, now=NOW + 2)


def test_a_limit_that_is_gone_limits_nobody() -> None:
    limit = money(100)
    purse, owner, pass_ = Purse(edge="a"), owner_of(), pass_of(limit)
    held(purse, owner, pass_, 10**9)


def test_a_lease_belongs_to_its_period_and_what_is_settled_later_too() -> None:
    limit = money(100, period=Period.HOUR)
    purse, owner, pass_ = Purse(edge="a"), owner_of(limit), pass_of(limit)
    end = NOW - NOW % 3_600 + 3_600
    got = held(purse, owner, pass_, 90, now=end - 1)
    lease = got.lease
    # Its lease ends with its period, and the next one is whole.
    held(purse, owner, pass_, 95, now=end + 1)
    purse.settle(got, 80, 0, end + 2)
    owner.spent(row_of("a/1", end + 0.5, 80, hold=90, lease=lease), 80, now=end + 2)
    (standing,) = owner.standings(end + 2)
    assert standing.used == 0


def test_an_idle_edge_gives_back_what_it_holds() -> None:
    limit = money(1_000_000)
    purse, owner, pass_ = Purse(edge="a"), owner_of(limit), pass_of(limit)
    now = NOW
    for number in range(20):
        got = held(purse, owner, pass_, 1_000, now=now)
        lease = got.lease
        purse.settle(got, 900, 0, now)
        owner.spent(row_of(f"a/{number}", now, 900, hold=1_000, lease=lease), 900, now=now)
        exchange(purse, owner, now)
        now += 0.25
    assert owner.standings(now)[0].lent > 0
    for _ in range(40):
        now += 0.25
        exchange(purse, owner, now)
    assert owner.standings(now)[0].lent == 0


def test_a_silent_edge_keeps_its_money_until_it_is_lost_and_its_journal_says_what_it_was() -> None:
    limit = money(100)
    policy = LeasePolicy()
    purse, owner, pass_ = Purse(edge="a"), owner_of(limit, policy=policy), pass_of(limit)
    lease = held(purse, owner, pass_, 90).lease
    owner.tick(NOW + policy.lost_s)
    assert (owner.standings(NOW)[0].lent, owner.standings(NOW)[0].lost) == (90, 0)
    late = NOW + policy.lost_s + 1
    owner.tick(late)
    assert (owner.standings(late)[0].lent, owner.standings(late)[0].lost) == (0, 90)
    row = row_of("a/1", NOW, 70, hold=90, lease=lease)
    assert owner.is_overrun(row)
    owner.spent(row, 70, now=late)
    assert (owner.standings(late)[0].used, owner.standings(late)[0].lost) == (70, 20)
    owner.forget("a")
    assert (owner.standings(late)[0].used, owner.standings(late)[0].lost) == (70, 0)


def test_places_of_a_silent_edge_are_free_after_their_life() -> None:
    limit, policy = rate(2, Counted.CONCURRENT), LeasePolicy()
    one, two, owner, pass_ = Purse(edge="a"), Purse(edge="b"), owner_of(limit, policy=policy), pass_of(limit)
    held(one, owner, pass_)
    held(one, owner, pass_)
    assert refused(two, owner, pass_).code == "concurrency_limit_exceeded"
    late = NOW + policy.lifetime_s + policy.margin_s + 1
    owner.tick(late)
    held(two, owner, pass_, now=late)


def test_a_new_owner_takes_over_what_edges_hold_and_lends_only_when_it_has_heard_all() -> None:
    limit = money(100)
    one, two, pass_ = Purse(edge="a"), Purse(edge="b"), pass_of(limit)
    old = owner_of(limit)
    first = held(one, old, pass_, 40)
    new = Owner(epoch=2, now=NOW + 1, waits_for=("a", "b"))
    new.put(limit, now=NOW + 1)
    assert refused(two, new, pass_, 30, now=NOW + 1).code == "ledger_starting"
    exchange(one, new, NOW + 1, everything=True)
    exchange(two, new, NOW + 1, everything=True)
    assert new.standings(NOW + 1)[0].lent == 40
    assert refused(two, new, pass_, 70, now=NOW + 3).code == "budget_held"
    lease = first.lease
    one.settle(first, 35, 0, NOW + 3)
    new.spent(row_of("a/1", NOW, 35, hold=40, lease=lease), 35, now=NOW + 3)
    exchange(one, new, NOW + 3)
    exchange(one, new, NOW + 6)
    assert (new.standings(NOW + 6)[0].used, new.standings(NOW + 6)[0].lent) == (35, 0)


WITHOUT_OWNER = ((PursePolicy(), 0), (PursePolicy(owner_dead=OwnerDead.BOUNDED_OPEN, open_nanousd=35), 3))
"""Each with how many attempts of 10 it lets in."""


def test_a_dead_owner_is_followed_by_refusals_or_by_a_bounded_amount() -> None:
    limit = money(1_000)
    for policy, let_in in WITHOUT_OWNER:
        purse, pass_ = Purse(edge="a", policy=policy), pass_of(limit)
        got = purse.reserve(pass_, 10, 0, NOW)
        assert isinstance(got, Need)
        assert purse.claims(NOW) is not None
        purse.failed(NOW + 1)
        answers = [purse.reserve(pass_, 10, 0, NOW + 1, asked=got) for _ in range(6)]
        assert sum(isinstance(answer, Reservation) for answer in answers) == let_in
        last = answers[-1]
        assert isinstance(last, Failure)
        assert (last.kind, last.code, last.retry_after_s) == (FailureKind.REFUSED, "ledger_unavailable", 1.0)
        # It comes back, and is asked again without being told.
        owner = owner_of(limit)
        exchange(purse, owner, NOW + 2)
        held(purse, owner, pass_, now=NOW + 2)


def test_an_owner_that_does_not_lend_yet_is_followed_by_refusals_or_by_the_same_bounded_amount() -> None:
    limit = money(1_000)
    for policy, let_in in WITHOUT_OWNER:
        purse, pass_ = Purse(edge="a", policy=policy), pass_of(limit)
        assert isinstance(purse.reserve(pass_, 10, 0, NOW), Need)
        assert purse.claims(NOW) is not None
        purse.failed(NOW + 1)
        first = purse.reserve(pass_, 10, 0, NOW + 1)
        assert isinstance(first, Reservation) is bool(let_in)
        begun = Owner(epoch=2, now=NOW + 2, waits_for=("a", "b"))
        begun.put(limit, now=NOW + 2)
        exchange(purse, begun, NOW + 2)
        answers: list[Reservation | Need | Failure] = []
        for _ in range(6):
            got = purse.reserve(pass_, 10, 0, NOW + 2)
            if isinstance(got, Need):
                exchange(purse, begun, NOW + 2)
                got = purse.reserve(pass_, 10, 0, NOW + 2, asked=got)
            answers.append(got)
        assert sum(isinstance(one, Reservation) for one in (first, *answers)) == let_in
        last = answers[-1]
        assert isinstance(last, Failure)
        assert (last.kind, last.code) == (FailureKind.REFUSED, "ledger_starting")
        # It has heard all, and lends.
        exchange(purse, begun, NOW + 3, everything=True)
        exchange(Purse(edge="b"), begun, NOW + 3, everything=True)
        held(purse, begun, pass_, now=NOW + 5)


def test_the_answer_to_claims_that_were_given_up_is_ignored_by_both() -> None:
    limit = money(100)
    purse, owner, pass_ = Purse(edge="a"), owner_of(limit), pass_of(limit)
    assert isinstance(purse.reserve(pass_, 60, 0, NOW), Need)
    claims = purse.claims(NOW)
    assert claims is not None
    late = owner.grant(claims, NOW)
    purse.failed(NOW + 1)
    exchange(purse, owner, NOW + 1)
    purse.take(late, NOW + 1)
    assert owner.grant(claims, NOW + 1).grants == ()
    assert owner.standings(NOW + 1)[0].lent == 0
    assert isinstance(purse.reserve(pass_, 60, 0, NOW + 1), Need)


def test_a_request_larger_than_the_whole_limit_is_told_so() -> None:
    tokens = rate(1_000, Counted.TOKENS)
    failure = refused(Purse(edge="a"), owner_of(tokens), pass_of(tokens), 0, 2_000)
    assert (failure.kind, failure.retry_after_s) == (FailureKind.TOO_LARGE, None)
    limit = money(100)
    assert refused(Purse(edge="a"), owner_of(limit), pass_of(limit), 200).code == "request_over_limit"


def test_a_void_attempt_gives_its_request_back() -> None:
    limit = rate(1)
    purse, owner, pass_ = Purse(edge="a"), owner_of(limit), pass_of(limit)
    purse.void(held(purse, owner, pass_), NOW)
    held(purse, owner, pass_)
    failure = refused(purse, owner, pass_)
    assert (failure.code, failure.retry_after_s) == ("rate_limit_exceeded", 60.0)


def test_the_headers_say_what_is_left() -> None:
    limits = (rate(60), rate(1_000, Counted.TOKENS))
    purse, owner, pass_ = Purse(edge="a", policy=PursePolicy(ahead_s=0)), owner_of(*limits), pass_of(*limits)
    held(purse, owner, pass_, 0, 250)
    assert rate_headers(purse.rates(pass_, NOW)) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "750",
        "x-ratelimit-reset-tokens": "15s",
    }


def test_the_hot_path_costs_microseconds() -> None:
    """A bound that only a mistake breaks; `timeit` says about three on the machine that this was written on."""
    limits = (money(10**15), rate(10**9))
    purse, pass_ = Purse(edge="a"), pass_of(*limits)
    owner = owner_of(*limits)
    held(purse, owner, pass_, 10**12)
    owner.grant(Claims(edge="b", seq=1, claims=(Claim(limit=limits[1].name, want=1, need=1, least=1),)), NOW)
    for pocket in purse.held():
        pocket.slice.cap = 10**14

    def pair() -> None:
        got = purse.reserve(pass_, 10, 5, NOW)
        purse.settle(got, 7, 5, NOW)  # type: ignore[arg-type]

    assert min(timeit.repeat(pair, number=2_000, repeat=3)) / 2_000 < 50e-6


class Interleaving(RuleBasedStateMachine):
    """Three edges, one budget: any order of what can happen, with the messages and rows in between held back."""

    CAP = 1_000

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.limit = money(self.CAP)
        self.pass_ = pass_of(self.limit)
        self.epoch = 1
        self.owner = owner_of(self.limit)
        self.next = 0
        self.rows: dict[str, int] = {}
        self.to_come: list[tuple[str, str, float, int, int]] = []
        self.edges: list[tuple[Purse, dict[str, tuple[Reservation, str, float, int]]]] = []
        self.waits: list[Claims | None] = []
        for _ in range(3):
            self.edges.append((Purse(edge=self._name("edge")), {}))
            self.waits.append(None)

    def _name(self, what: str) -> str:
        self.next += 1
        return f"{what}-{self.next}"

    @rule(edge=st.integers(0, 2), hold=st.integers(1, 400))
    def reserve(self, edge: int, hold: int) -> None:
        purse, open_ = self.edges[edge]
        got = purse.reserve(self.pass_, hold, 0, self.now)
        if isinstance(got, Reservation):
            open_[self._name("attempt")] = (got, got.lease, self.now, hold)

    @rule(edge=st.integers(0, 2))
    def send(self, edge: int) -> None:
        claims = self.edges[edge][0].claims(self.now)
        if claims is not None:
            self.waits[edge] = claims

    @rule(edge=st.integers(0, 2), arrives=st.sampled_from(("both", "both", "both", "claims", "none", "twice")))
    def answer(self, edge: int, arrives: str) -> None:
        claims = self.waits[edge]
        if claims is None:
            return
        self.waits[edge] = None
        purse = self.edges[edge][0]
        grants = self.owner.grant(claims, self.now) if arrives != "none" else None
        if arrives == "twice":
            self.owner.grant(claims, self.now)
        if grants is not None and arrives in ("both", "twice"):
            purse.take(grants, self.now)
        else:
            purse.failed(self.now)

    @rule(edge=st.integers(0, 2), share=st.floats(0, 1), data=st.data())
    def settle(self, edge: int, share: float, data: st.DataObject) -> None:
        purse, open_ = self.edges[edge]
        if open_:
            attempt = data.draw(st.sampled_from(sorted(open_)))
            got, lease, at, hold = open_.pop(attempt)
            cost = int(hold * share)
            purse.settle(got, cost, 0, self.now)
            self.to_come.append((attempt, lease, at, hold, cost))

    @rule(edge=st.integers(0, 2), data=st.data())
    def void(self, edge: int, data: st.DataObject) -> None:
        purse, open_ = self.edges[edge]
        if open_:
            got, _, _, _ = open_.pop(data.draw(st.sampled_from(sorted(open_))))
            purse.void(got, self.now)

    @rule(data=st.data(), again=st.booleans())
    def book(self, data: st.DataObject, again: bool) -> None:
        if self.to_come:
            row = self.to_come.pop(data.draw(st.integers(0, len(self.to_come) - 1)))
            self._book(row)
            if again:
                self._book(row)

    def _book(self, row: tuple[str, str, float, int, int]) -> None:
        attempt, lease, at, hold, cost = row
        if attempt not in self.rows:
            self.rows[attempt] = cost
            self.owner.spent(row_of(attempt, at, cost, hold=hold, lease=lease), cost, now=self.now)

    @rule(seconds=st.sampled_from((0.1, 1.0, 6.0, 20.0, 700.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.owner.tick(self.now)

    @rule(edge=st.integers(0, 2))
    def edge_dies(self, edge: int) -> None:
        purse, open_ = self.edges[edge]
        for row in list(self.to_come):
            self.to_come.remove(row)
            self._book(row)
        for attempt, (_, lease, at, hold) in open_.items():
            self._book((attempt, lease, at, hold, hold))
        self.owner.forget(purse.edge)
        self.edges[edge] = (Purse(edge=self._name("edge")), {})
        self.waits[edge] = None

    @rule()
    def owner_dies(self) -> None:
        """Whoever waits for it gives up, and the new one hears all of them before it lends."""
        self.epoch += 1
        names = [purse.edge for purse, _ in self.edges]
        self.owner = Owner(epoch=self.epoch, now=self.now, waits_for=names)
        self.owner.put(self.limit, now=self.now, spent_nanousd=sum(self.rows.values()))
        for edge, (purse, _) in enumerate(self.edges):
            if self.waits[edge] is not None:
                self.waits[edge] = None
                purse.failed(self.now)
            exchange(purse, self.owner, self.now, everything=True)

    @invariant()
    def the_cap_holds_and_everything_adds_up(self) -> None:
        (standing,) = self.owner.standings(self.now)
        open_ = sum(hold for _, attempts in self.edges for _, _, _, hold in attempts.values())
        coming = sum(cost for *_, cost in self.to_come)
        assert standing.used == sum(self.rows.values())
        assert standing.lent >= 0
        assert standing.lost >= 0
        assert standing.used + standing.lent + standing.lost <= self.CAP
        # What is under way is always covered by what the owner counts as lent or lost.
        assert open_ + coming <= standing.lent + standing.lost

    @invariant()
    def no_slice_is_overdrawn(self) -> None:
        for s in self._slices():
            assert s.used >= 0
            assert s.open >= 0

    def _slices(self) -> Iterator[object]:
        for purse, _ in self.edges:
            for pocket in purse.held():
                yield from pocket.slices()


TestInterleaving = Interleaving.TestCase
TestInterleaving.settings = settings(max_examples=60, stateful_step_count=40)


def test_reasons_are_told_apart() -> None:
    assert len({reason.value for reason in Refused}) == len(Refused)
