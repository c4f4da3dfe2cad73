"""Intents, settlements and whole rows as tests need them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from runtime.ledger.rows import Account, Flag, Intent, Row, Settlement
from runtime.outcome import Cost, Usage

PAYER = Account(key="k_1", team="search", org="acme", tags=("prod", "batch"), strict=True)


def intent(attempt: str, **said: Any) -> Intent:
    plain: dict[str, Any] = {
        "at_ms": 1_700_000_000_000,
        "request_id": "req_1",
        "account": PAYER,
        "route": "smart",
        "provider": "one",
        "model": "m1",
        "hold_nanousd": 5_000,
        "flags": Flag.STREAMED,
    }
    return Intent(attempt=attempt, **{**plain, **said})


def settlement(attempt: str, **said: Any) -> Settlement:
    plain: dict[str, Any] = {
        "at_ms": 1_700_000_001_000,
        "outcome": "ok",
        "usage": Usage(input_tokens=10, output_tokens=3, server_tool_calls={"web_search": 2}),
        "cost": Cost(input_nanousd=1_000, output_nanousd=600, total_nanousd=1_600, source="settings"),
        "latency_ms": 12.5,
        "ttft_ms": 3.5,
    }
    return Settlement(attempt=attempt, **{**plain, **said})


def row(attempt: str) -> Row:
    return Row(intent=intent(attempt), settlement=settlement(attempt))


words = st.text(max_size=12)
amounts = st.integers(0, 2**63 - 1)
flags = st.integers(0, 2047).map(Flag)
accounts = st.builds(
    Account, key=words, team=words, org=words, tags=st.lists(words, max_size=3).map(tuple), strict=st.booleans()
)
usages = st.builds(
    Usage,
    input_tokens=amounts,
    output_tokens=amounts,
    cached_input_tokens=amounts,
    billed_input_tokens=st.none() | amounts,
    server_tool_calls=st.dictionaries(words, amounts, max_size=2),
    estimated=st.booleans(),
)
costs = st.builds(
    Cost,
    input_nanousd=amounts,
    output_nanousd=amounts,
    total_nanousd=amounts,
    source=st.sampled_from(["provider", "catalogue", "settings"]),
)
moments_ms = st.none() | st.integers(0, 10_000_000).map(lambda tenths: tenths / 10)


intents = st.builds(
    Intent,
    attempt=st.just(""),
    at_ms=amounts,
    request_id=words,
    account=accounts,
    route=words,
    provider=words,
    hold_nanousd=st.none() | amounts,
    flags=flags,
)
settlements = st.builds(
    Settlement,
    attempt=st.just(""),
    at_ms=amounts,
    outcome=words,
    usage=usages,
    cost=st.none() | costs,
    latency_ms=moments_ms.map(lambda ms: ms or 0.0),
    ttft_ms=moments_ms,
    flags=flags,
    unsent=st.booleans(),
)
