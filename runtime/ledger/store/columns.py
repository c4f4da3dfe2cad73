"""A row of the ledger as columns, and back. One list of columns for both databases."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

from runtime.ledger.rows import Account, Flag, Intent, Row, Settlement
from runtime.outcome import Cost, Usage

TOKENS = (
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
)

COST_PARTS = ("cached_input_nanousd", "cache_write_nanousd", "reasoning_nanousd", "per_call_nanousd")
"""What the cost is made of besides its input and output: of these the first two are input, the third is output."""

COLUMNS = (
    "attempt",
    "at_ms",
    "settled_ms",
    "request_id",
    "key",
    "team",
    "org",
    "tags",
    "route",
    "provider",
    "model",
    "lease",
    "hold_nanousd",
    "flags",
    "outcome",
    *TOKENS,
    "billed_input_tokens",
    "billed_output_tokens",
    "server_tool_calls",
    "cost_nanousd",
    "input_nanousd",
    "output_nanousd",
    *COST_PARTS,
    "cost_source",
    "latency_ms",
    "ttft_ms",
    "was_nanousd",
    "more",
)

Flat = tuple[Any, ...]
"""A row's values in the order of `COLUMNS`."""

AT = {name: place for place, name in enumerate(COLUMNS)}

INTENT_COLUMNS = (
    "attempt",
    "at_ms",
    "request_id",
    "key",
    "team",
    "org",
    "tags",
    "strict",
    "route",
    "provider",
    "model",
    "hold_nanousd",
    "lease",
    "flags",
)

_ESTIMATED, _RECONCILED = int(Flag.ESTIMATED), int(Flag.RECONCILED)
_PLAIN_COST = ("input_nanousd", "output_nanousd", *COST_PARTS, "total_nanousd", "source", "currency")
_PLAIN_USAGE = (*TOKENS, "billed_input_tokens", "billed_output_tokens", "server_tool_calls", "estimated")
# Fields that were added since the columns were: kept in `more`, as they are.
_parts: Callable[[Cost], tuple[int, ...]] = attrgetter(*COST_PARTS)
_NO_PARTS = (None,) * len(COST_PARTS)
_MORE_COST = tuple((f.name, f.default) for f in dataclasses.fields(Cost) if f.name not in _PLAIN_COST)
_MORE_USAGE = tuple((f.name, f.default) for f in dataclasses.fields(Usage) if f.name not in _PLAIN_USAGE)


MOST = 10**15
"""What one attempt may say of anything. More is nonsense, and sums of it would not fit into 64 bits."""


def clean(text: str) -> str:
    """Without what no database takes: half a surrogate pair, or the character 0, that somebody put into a name."""
    if text.isprintable():
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


@lru_cache(maxsize=4096)
def tags_text(tags: tuple[str, ...]) -> str:
    return json.dumps([clean(tag) for tag in tags]) if tags else "[]"


@lru_cache(maxsize=4096)
def tags_of(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def flat(row: Row) -> Flat:
    """As columns. `was_nanousd`, what it cost first, is only said of what was corrected."""
    intent, settled = row.intent, row.settlement
    account, usage, cost = intent.account, settled.usage, settled.cost
    # IntFlag's own operators take a microsecond each.
    flags = int.__or__(intent.flags, settled.flags)
    if usage.estimated:
        flags |= _ESTIMATED
    values = (
        intent.attempt,
        intent.at_ms,
        settled.at_ms,
        intent.request_id,
        account.key,
        account.team,
        account.org,
        tags_text(account.tags),
        intent.route,
        intent.provider,
        intent.model,
        intent.lease,
        intent.hold_nanousd,
        flags,
        settled.outcome,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
        usage.reasoning_tokens,
        usage.audio_input_tokens,
        usage.audio_output_tokens,
        usage.billed_input_tokens,
        usage.billed_output_tokens,
        json.dumps(dict(usage.server_tool_calls)) if usage.server_tool_calls else None,
        cost.total_nanousd if cost else None,
        cost.input_nanousd if cost else None,
        cost.output_nanousd if cost else None,
        *(_parts(cost) if cost else _NO_PARTS),
        cost.source if cost else None,
        settled.latency_ms,
        settled.ttft_ms,
        cost.total_nanousd if cost and flags & _RECONCILED else None,
        _more(usage, cost),
    )
    # What callers name, and providers count. The other names are from settings and documents, which are validated.
    fine = intent.model.isprintable() and intent.route.isprintable() and intent.request_id.isprintable()
    if fine and usage.input_tokens + usage.output_tokens < MOST and (cost is None or cost.total_nanousd < MOST):
        return values
    return tuple(_within(value) for value in values)


def _within(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    return min(value, MOST) if isinstance(value, int) else value


def _more(usage: Usage, cost: Cost | None) -> str | None:
    said: dict[str, Any] = {}
    if cost:
        for name, default in _MORE_COST:
            value = getattr(cost, name)
            if value != default:
                said.setdefault("cost", {})[name] = value
    for name, default in _MORE_USAGE:
        value = getattr(usage, name)
        if value != default:
            said.setdefault("usage", {})[name] = value
    return json.dumps(said) if said else None


def row_of(values: Sequence[Any]) -> Row:
    """A row as it was written; its flags are all with the settlement."""
    (
        attempt, at_ms, settled_ms, request_id, key, team, org, tags, route, provider, model, lease, hold, flags,
        outcome, *tokens, billed_in, billed_out, tools, cost, cost_in, cost_out, read, written, thought,
        calls, source, latency, ttft, was, more,
    ) = values  # fmt: skip
    also: dict[str, Any] = json.loads(more) if more else {}
    known_cost = {name: value for name, value in also.get("cost", {}).items() if name in dict(_MORE_COST)}
    known_usage = {name: value for name, value in also.get("usage", {}).items() if name in dict(_MORE_USAGE)}
    return Row(
        intent=Intent(
            attempt=attempt,
            at_ms=at_ms,
            request_id=request_id,
            account=Account(key=key, team=team, org=org, tags=tags_of(tags)),
            route=route,
            provider=provider,
            model=model,
            hold_nanousd=hold,
            lease=lease,
        ),
        settlement=Settlement(
            attempt=attempt,
            at_ms=settled_ms,
            outcome=outcome,
            usage=Usage(
                **dict(zip(TOKENS, tokens, strict=True)),
                billed_input_tokens=billed_in,
                billed_output_tokens=billed_out,
                server_tool_calls=json.loads(tools) if tools else {},
                estimated=bool(flags & _ESTIMATED),
                **known_usage,
            ),
            cost=None
            if cost is None
            else Cost(
                total_nanousd=cost,
                input_nanousd=cost_in,
                output_nanousd=cost_out,
                cached_input_nanousd=read,
                cache_write_nanousd=written,
                reasoning_nanousd=thought,
                per_call_nanousd=calls,
                source=source,
                **known_cost,
            ),
            latency_ms=latency,
            ttft_ms=ttft,
            flags=Flag(flags),
        ),
        was_nanousd=was,
    )


def flat_intent(intent: Intent) -> Flat:
    account = intent.account
    values = (
        intent.attempt,
        intent.at_ms,
        intent.request_id,
        account.key,
        account.team,
        account.org,
        tags_text(account.tags),
        int(account.strict),
        intent.route,
        intent.provider,
        intent.model,
        intent.hold_nanousd,
        intent.lease,
        int(intent.flags),
    )
    return tuple(_within(value) for value in values)


def intent_of(values: Sequence[Any]) -> Intent:
    attempt, at_ms, request_id, key, team, org, tags, strict, route, provider, model, hold, lease, flags = values
    return Intent(
        attempt=attempt,
        at_ms=at_ms,
        request_id=request_id,
        account=Account(key=key, team=team, org=org, tags=tags_of(tags), strict=bool(strict)),
        route=route,
        provider=provider,
        model=model,
        hold_nanousd=hold,
        lease=lease,
        flags=Flag(flags),
    )
