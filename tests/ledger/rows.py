"""Rows for tests, with little said."""

from __future__ import annotations

from dataclasses import replace

from runtime.ledger.rows import NO_FLAGS, Account, Flag, Intent, Row, Settlement
from runtime.outcome import Cost, Usage

NOON = 1_700_006_400_000
"""A Wednesday's hour: 2023-11-15 00:00 UTC."""

ALICE = Account(key="alice", team="blue", org="acme", tags=("prod", "chat"))


def row(
    attempt: str = "w:1",
    *,
    at_ms: int = NOON,
    cost: int | None = 1_000,
    account: Account = ALICE,
    tokens: tuple[int, int] = (100, 20),
    flags: Flag = NO_FLAGS,
    outcome: str = "ok",
    provider: str = "openai",
    model: str = "gpt",
    route: str = "fast",
    unsent: bool = False,
) -> Row:
    return Row(
        intent=Intent(
            attempt=attempt,
            at_ms=at_ms,
            request_id=f"r-{attempt}",
            account=account,
            route=route,
            provider=provider,
            model=model,
            hold_nanousd=5_000,
            lease="l1",
        ),
        settlement=Settlement(
            attempt=attempt,
            at_ms=at_ms + 1_500,
            outcome=outcome,
            usage=Usage(input_tokens=tokens[0], output_tokens=tokens[1]),
            cost=None
            if cost is None
            else Cost(input_nanousd=cost // 4, output_nanousd=cost - cost // 4, total_nanousd=cost),
            latency_ms=1_500.5,
            ttft_ms=200.25,
            flags=flags,
            unsent=unsent,
        ),
    )


def lost(of: Row) -> Row:
    """The same attempt, of which nobody came to know what became: its hold stands for the cost."""
    hold = of.intent.hold_nanousd
    return replace(
        of,
        settlement=Settlement(
            attempt=of.intent.attempt,
            at_ms=of.intent.at_ms + 600_000,
            outcome="lost",
            usage=Usage(estimated=True),
            cost=None if hold is None else Cost(total_nanousd=hold),
            flags=Flag.LOST | Flag.ESTIMATED,
        ),
    )
