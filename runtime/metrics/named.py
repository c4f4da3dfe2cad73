"""All metrics of Raygate. What is not in this table is not exposed, and what is in it is documented by it.

Names with `gen_ai_` follow OpenTelemetry's conventions for GenAI (github.com/open-telemetry/semantic-conventions-genai,
docs/gen-ai/gen-ai-metrics.md), written as its compatibility rules for Prometheus have it: dots become underscores, and
the unit comes last. `provider` is the name in the settings, `gen_ai_provider_name` the convention's word for its kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Bounds of durations, as the conventions want them."""

SHORT = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Bounds of what Raygate adds by itself: it begins at a tenth of a millisecond."""

TOKENS = tuple(4**power for power in range(14))
"""Bounds of tokens, as the conventions want them: 1 to 67,108,864."""


@dataclass(frozen=True, slots=True)
class Metric:
    """`name` is as samples of a gauge or a histogram have it, of a counter with its `_total`. `nano`: its values are
    billionths of what is shown, as integers. `part` is who must be reachable for it."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    nano: bool = False
    part: Literal["manager", "ledger", "replica"] = "manager"


_OPERATION = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "provider")

METRICS: tuple[Metric, ...] = (
    Metric(
        "gen_ai_client_operation_duration_seconds",
        "histogram",
        "From a request's arrival to the end of its answer; `error_type` only where it failed.",
        (*_OPERATION, "error_type"),
        SECONDS,
    ),
    Metric(
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        "histogram",
        "Of streams: from the answering attempt's start to its first content.",
        _OPERATION,
        SECONDS,
    ),
    Metric(
        "gen_ai_client_token_usage",
        "histogram",
        "Tokens of an answer that somebody was asked for; `gen_ai_token_type` is input or output.",
        (*_OPERATION, "gen_ai_token_type"),
        TOKENS,
    ),
    Metric(
        "raygate_requests_total",
        "counter",
        "Requests, by the API that they came in by (`handle`: the manager's), what was asked for, and what came of it.",
        ("surface", "route", "outcome"),
    ),
    Metric("raygate_overhead_seconds", "histogram", "What Raygate added to an answer.", ("surface",), SHORT),
    Metric(
        "raygate_queue_seconds", "histogram", "How long an answered request waited for places.", ("surface",), SHORT
    ),
    Metric(
        "raygate_attempts_total",
        "counter",
        "Calls of providers, by what came of them: `ok` or the kind of failure.",
        ("provider", "model", "outcome"),
    ),
    Metric(
        "raygate_tokens_total",
        "counter",
        "Tokens of all calls, also of those that failed; cached_input and cache_write are part of input, reasoning of "
        "output.",
        ("provider", "model", "type"),
    ),
    Metric(
        "raygate_cost_usd_total",
        "counter",
        "What calls cost, exact to a billionth.",
        ("provider", "model"),
        nano=True,
    ),
    Metric(
        "raygate_unpriced_total", "counter", "Calls that used something at an unknown price.", ("provider", "model")
    ),
    Metric("raygate_retries_total", "counter", "Attempts that asked the same provider and model again."),
    Metric("raygate_failovers_total", "counter", "Attempts that asked somebody else after a failure."),
    Metric("raygate_hedges_total", "counter", "Attempts that were given up because another one was faster."),
    Metric(
        "raygate_cache_hits_total",
        "counter",
        "Answers for which nobody was asked: `cached` was remembered, `shared` is an equal request's of that moment.",
        ("how",),
    ),
    Metric(
        "raygate_saved_usd_total", "counter", "What those answers would have cost, where a price is known.", nano=True
    ),
    Metric("raygate_cache_misses_total", "counter", "Requests whose answer was looked for and not remembered."),
    Metric("raygate_cache_evicted_total", "counter", "Remembered answers that had to make room for others."),
    Metric(
        "raygate_cache_semantic_looked_total",
        "counter",
        "Misses for which an answer to the same meaning was looked for.",
    ),
    Metric("raygate_cache_semantic_hits_total", "counter", "Of these, how many were given one."),
    Metric("raygate_cache_semantic_judged_total", "counter", "Of the hits, how many somebody judged by feedback."),
    Metric(
        "raygate_cache_semantic_judged_wrong_total", "counter", "Of the judged ones, how many were bad: false hits."
    ),
    Metric("raygate_cache_entries", "gauge", "Answers that the processes remember."),
    Metric("raygate_cache_bytes", "gauge", "The memory that those answers take."),
    Metric("raygate_client_gone_total", "counter", "Requests whose client left before the end."),
    Metric("raygate_waited_total", "counter", "Requests that waited for a place in a replica."),
    Metric("raygate_shed_total", "counter", "Requests that were sent away, as there was no place in a replica."),
    Metric("raygate_waiting", "gauge", "Requests that wait for a place in a replica now."),
    Metric("raygate_in_flight", "gauge", "Calls under way at a provider.", ("provider",)),
    Metric(
        "raygate_breaker_state",
        "gauge",
        "1 for the state in which a provider is, of closed, open and throttled; 0 for the others.",
        ("provider", "state"),
    ),
    Metric("raygate_decisions_total", "counter", "Choices by what was learned.", ("explored",)),
    Metric(
        "raygate_learning_regret_total",
        "counter",
        "Estimated utility (0 to 1 a request) that was given up to learn: best guess less choice, summed.",
        nano=True,
    ),
    Metric("raygate_learning_explored_ratio", "gauge", "The share of those choices that were made to learn."),
    Metric("raygate_ledger_rows_waiting", "gauge", "Rows in memory that the ledger has not acknowledged yet."),
    Metric("raygate_ledger_rows_lost_total", "counter", "Rows that found room neither on disk nor in memory."),
    Metric("raygate_ledger_unwritten_total", "counter", "Attempts and settlements that the disk has refused."),
    Metric("raygate_replicas", "gauge", "Replicas that the manager hears."),
    Metric("raygate_edges", "gauge", "Processes that follow the manager: replicas, providers' actors, itself."),
    Metric("raygate_edges_behind", "gauge", "Those of them that do not follow the newest settings yet."),
    Metric("raygate_settings_version", "gauge", "The version of the settings that hold."),
    Metric(
        "raygate_budget_used_ratio",
        "gauge",
        "What was spent of a budget of a team or an organisation; those of keys are only counted.",
        ("scope", "id", "period"),
        part="ledger",
    ),
    Metric(
        "raygate_budgets",
        "gauge",
        "Budgets by how much of them is spent: `ok`, `warning` from 80 %, `spent` from 100 %.",
        ("scope", "period", "state"),
        part="ledger",
    ),
    Metric(
        "raygate_up",
        "gauge",
        "1 if this part answered the scrape. Without the manager all figures are those of one replica.",
        ("part",),
        part="replica",
    ),
    Metric("raygate_build_info", "gauge", "Always 1.", ("version", "python"), part="replica"),
)

BY_NAME = {one.name: one for one in METRICS}

PLAIN = {
    "retries": "raygate_retries_total",
    "failovers": "raygate_failovers_total",
    "hedges": "raygate_hedges_total",
    "cache_saved_nanousd": "raygate_saved_usd_total",
    "shared_saved_nanousd": "raygate_saved_usd_total",
    "cache_misses": "raygate_cache_misses_total",
    "cache_evicted": "raygate_cache_evicted_total",
    "cache_semantic_looked": "raygate_cache_semantic_looked_total",
    "cache_semantic_hits": "raygate_cache_semantic_hits_total",
    "cache_semantic_judged": "raygate_cache_semantic_judged_total",
    "cache_semantic_judged_wrong": "raygate_cache_semantic_judged_wrong_total",
    "client_gone": "raygate_client_gone_total",
    "waited": "raygate_waited_total",
    "shed": "raygate_shed_total",
    "gave_up_nano": "raygate_learning_regret_total",
    "rows_lost": "raygate_ledger_rows_lost_total",
    "rows_unwritten": "raygate_ledger_unwritten_total",
}
"""Which of the processes' own counters is which metric without labels."""

LEVELS = {
    "waiting": "raygate_waiting",
    "rows_waiting": "raygate_ledger_rows_waiting",
    "cache_entries": "raygate_cache_entries",
    "cache_bytes": "raygate_cache_bytes",
}
"""The same of those that say how many there are now."""


def table() -> str:
    """All of them as Markdown."""
    lines = ["| metric | type | labels | |", "| --- | --- | --- | --- |"]
    for one in METRICS:
        labels = ", ".join(f"`{name}`" for name in one.labels)
        lines.append(f"| `{one.name}` | {one.kind} | {labels} | {one.help} |")
    return "\n".join(lines) + "\n"
