"""Keys, what they may do, and when their budgets begin anew."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import pytest

from runtime.ledger.accounts import (
    Budget,
    Counted,
    Key,
    Limit,
    Organisation,
    Pass,
    RateLimit,
    Scope,
    Team,
    allowed,
    described,
    dollars,
    limits_of,
    make_pass,
    new_key,
    problems,
    sha256_of,
)
from runtime.ledger.periods import Period, end_of, start_of
from runtime.ledger.rows import Account
from runtime.outcome import Failure, FailureKind

NOW = 1_800_000_000.0
KEY = Key(id="k1", sha256="ab", team="red", org="acme")


def let_in(key: Key = KEY, **said: object) -> Pass:
    made = make_pass(key, team=None, org=None, now=NOW, **said)  # type: ignore[arg-type]
    assert isinstance(made, Pass)
    return made


def ms(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("period", "at", "start", "end"),
    [
        (Period.HOUR, (2026, 3, 29, 1, 59, 59), (2026, 3, 29, 1), (2026, 3, 29, 2)),
        (Period.DAY, (2026, 12, 31, 23, 59), (2026, 12, 31), (2027, 1, 1)),
        (Period.WEEK, (2026, 11, 22, 23, 59), (2026, 11, 16), (2026, 11, 23)),
        (Period.WEEK, (2026, 11, 23), (2026, 11, 23), (2026, 11, 30)),
        (Period.MONTH, (2028, 2, 29, 12), (2028, 2, 1), (2028, 3, 1)),
        (Period.MONTH, (2026, 12, 5), (2026, 12, 1), (2027, 1, 1)),
    ],
)
def test_periods_begin_and_end_by_the_calendar_in_utc(
    period: Period, at: tuple[int, ...], start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    assert (start_of(period, ms(*at)), end_of(period, ms(*at))) == (ms(*start), ms(*end))


def test_a_new_key_has_256_bits_and_only_its_hash_is_kept() -> None:
    made = new_key(bytes(range(32)))
    assert made.text.startswith("rg-")
    assert len(made.text) == 3 + 43
    assert made.sha256 == sha256_of(made.text)
    assert made.text not in (made.id, made.shown)
    with pytest.raises(ValueError, match="32"):
        new_key(b"short")


def test_a_revoked_or_expired_key_gets_no_pass() -> None:
    for key, code in (
        (Key(id="k", sha256="", revoked=True), "key_revoked"),
        (Key(id="k", sha256="", expires_at=NOW), "key_expired"),
    ):
        refused = make_pass(key, team=None, org=None, now=NOW)
        assert isinstance(refused, Failure)
        assert (refused.kind, refused.code) == (FailureKind.BAD_KEY, code)


def test_a_pass_lives_no_longer_than_its_key() -> None:
    made = let_in(Key(id="k", sha256="", expires_at=NOW + 5))
    assert made.lifetime_s == 5.0
    assert allowed(made, now=NOW + 4.9) is None
    refused = allowed(made, now=NOW + 5)
    assert refused is not None
    assert refused.kind is FailureKind.BAD_KEY


def test_a_pass_carries_the_hard_limits_of_all_three() -> None:
    soft = Budget(period=Period.DAY, limit_nanousd=5, hard=False)
    hard = Budget(period=Period.MONTH, limit_nanousd=50)
    made = make_pass(
        Key(id="k1", sha256="", team="red", org="acme", rate=RateLimit(requests_per_min=60)),
        team=Team(id="red", budgets=(soft, hard)),
        org=Organisation(id="acme", rate=RateLimit(tokens_per_min=1_000, concurrent=4)),
        now=NOW,
    )
    assert isinstance(made, Pass)
    names = [limit.name for limit in made.limits]
    assert names == ["key/k1/requests", "team/red/month", "org/acme/tokens", "org/acme/concurrent"]
    assert made.account == Account(key="k1", team="red", org="acme", strict=True)
    assert pickle.loads(pickle.dumps(made)) == made


def test_a_key_without_a_hard_budget_is_not_strict() -> None:
    assert not let_in().account.strict


@pytest.mark.parametrize(
    ("patterns", "model", "passes"),
    [
        ((), "openai/gpt-4o", True),
        (("openai/*",), "openai/gpt-4o", True),
        (("gpt-4o*",), "openai/gpt-4o-mini", True),
        (("gpt-4o",), "openai/gpt-4o-mini", False),
        (("anthropic/*", "cohere/*"), "openai/gpt-4o", False),
    ],
)
def test_models_are_allowed_by_patterns(patterns: tuple[str, ...], model: str, passes: bool) -> None:
    refused = allowed(let_in(Key(id="k", sha256="", models=patterns)), now=NOW, model=model)
    assert (refused is None) is passes
    if refused is not None:
        assert (refused.kind, refused.handling.status) == (FailureKind.NOT_ALLOWED, 403)
        assert patterns[0] in refused.detail


def test_routes_are_allowed_by_the_name_that_was_asked_for() -> None:
    made = let_in(Key(id="k", sha256="", routes=("cheap-*",)))
    assert allowed(made, now=NOW, route="cheap-chat") is None
    assert allowed(made, now=NOW, route="best") is not None


@pytest.mark.parametrize(
    ("ip", "passes"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("11.1.2.3", False),
        ("2001:db8::7", True),
        ("2001:db9::7", False),
        ("somewhere", False),
    ],
)
def test_a_key_is_used_from_its_networks_only(ip: str, passes: bool) -> None:
    made = let_in(Key(id="k", sha256="", networks=("10.0.0.0/8", "2001:db8::/32")))
    assert (allowed(made, now=NOW, ip=ip) is None) is passes


def test_what_is_wrong_with_a_document_is_said_in_sentences() -> None:
    twice = (Budget(period=Period.DAY, limit_nanousd=1), Budget(period=Period.DAY, limit_nanousd=-2, warn_at=80))
    found = problems(Key(id="a/b", sha256="", networks=("10.0.0.300",), budgets=twice))
    assert len(found) == 5
    assert problems(KEY) == ()


def test_amounts_and_limits_read_well() -> None:
    assert [dollars(n) for n in (0, 50_000_000_000, 1_500_000, -20_000_000)] == ["$0.00", "$50.00", "$0.0015", "-$0.02"]
    limit = Limit(scope=Scope.TEAM, of="red", counted=Counted.MONEY, amount=50 * 10**9, period=Period.MONTH)
    at = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
    expected = "the monthly budget of team red ($50.00), which begins anew at 2026-12-01 00:00 UTC"
    assert described(limit, now=at) == expected
    assert [limit.hard for limit in limits_of(KEY)] == []
