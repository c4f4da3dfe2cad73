"""Who cannot be asked at all, and why. Health is no reason: who is shut is asked last, where nobody else is left.

feature          the model is known not to take what the request needs
context_window   input and asked output do not fit, even if the estimate of the input is a quarter too high
max_cost         the request, or the settings, allow less than it is expected to cost; or the price is unknown
max_latency      the answer is expected later than the request can use it
min_quality      too little, or unknown
residency        the provider lacks a tag that the request demands
not_allowed      the caller's key may not use it
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.balance.entry import Asked, Dropped, Entry, Why
from runtime.balance.latency import base_s, expected_s
from runtime.ledger.accounts import matches
from runtime.models import NANOUSD

SURE = 0.75
"""Of an estimate of tokens. Prose and code are right within about a quarter."""


def sift(entries: Sequence[Entry], asked: Asked) -> tuple[list[Entry], list[Dropped]]:
    """Those who can be asked, in their order, and the others with the first reason against each."""
    kept: list[Entry] = []
    dropped: list[Dropped] = []
    for entry in entries:
        reason = _against(entry, asked)
        if reason is None:
            kept.append(entry)
        else:
            dropped.append(Dropped(entry.candidate, *reason))
    return kept, dropped


def is_tight(entry: Entry, asked: Asked) -> bool:
    """Whether the request fits only if the estimate of its input is too high: another one should be asked first."""
    window = entry.info.context_length if entry.info else None
    return window is not None and entry.input_of(asked) + (asked.output_limit or 0) > window


def _against(entry: Entry, asked: Asked) -> tuple[Why, str] | None:
    if asked.allowed and not matches(str(entry.candidate), asked.allowed):
        return Why.NOT_ALLOWED, f"the key may use {', '.join(asked.allowed)} alone"
    info = entry.info
    if info is not None:
        if asked.needs and (lacks := sorted(feature for feature in asked.needs if info.has(feature) is False)):
            return Why.FEATURE, f"{info.model} has no {', '.join(lacks)}"
        if info.context_length is not None and asked.input_tokens and is_tight(entry, asked):
            least = int(SURE * entry.input_of(asked)) + (asked.output_limit or 0)
            if least > info.context_length:
                asks = f"about {entry.input_of(asked)} tokens of input and {asked.output_limit or 0} of output"
                return Why.CONTEXT, f"{asks} do not fit into {info.context_length}"
    if asked.residency and (missing := asked.residency - entry.tags):
        return Why.RESIDENCY, f"{entry.candidate.provider} is not tagged {', '.join(sorted(missing))}"
    if asked.max_cost_nanousd is not None or entry.ceiling_nanousd is not None:
        limit = min(one for one in (asked.max_cost_nanousd, entry.ceiling_nanousd) if one is not None)
        if entry.bound_nanousd is None:
            return Why.COST, "its price is unknown"
        if entry.bound_nanousd > limit:
            return Why.COST, f"may cost {_usd(entry.bound_nanousd)}, allowed are {_usd(limit)}"
    if asked.min_quality is not None and (entry.quality is None or entry.quality < asked.min_quality):
        known = "unknown" if entry.quality is None else f"{entry.quality:g}"
        return Why.QUALITY, f"its quality is {known}, asked for is {asked.min_quality:g}"
    # Of whom nothing is known, nothing is held against.
    if asked.max_latency_s is not None and base_s(entry, asked) is not None:
        wait = expected_s(entry, asked)
        if wait["base_s"] + max(0.0, wait["wait_s"]) > asked.max_latency_s:
            late = wait["base_s"] + max(0.0, wait["wait_s"])
            return Why.LATENCY, f"an answer is expected after {late:.1f} s, asked for are {asked.max_latency_s:g} s"
    return None


def _usd(nanousd: int) -> str:
    return f"${nanousd / NANOUSD:.9f}".rstrip("0").rstrip(".")
