"""Writes the dashboard and the alert rules that lie beside this file: python -m deploy.grafana.build

They are made, never edited: a test makes them again and compares, and asks a running application for every metric and
label that they name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT, PER_ROW = 8, 8, 3
WINDOW = "$__rate_interval"

NOT_OURS = 'outcome!~"ok|cancelled|bad_request|bad_key|not_allowed|model_not_found|context_overflow|too_large"'
"""Outcomes that are nobody's fault but ours or a provider's."""


@dataclass(frozen=True)
class Panel:
    """`queries` are pairs of an expression and the legend of its series."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    says: str = ""
    kind: str = "timeseries"


@dataclass(frozen=True)
class Alert:
    name: str
    expr: str
    wait: str
    severity: str
    summary: str
    do: str


def rate(metric: str, by: str = "", where: str = "", window: str = WINDOW) -> str:
    """What is added in a second."""
    grouped = f" by ({by})" if by else ""
    return (
        f"sum{grouped} (rate({metric}{{{where}}}[{window}]))" if where else f"sum{grouped} (rate({metric}[{window}]))"
    )


def share(part: str, whole: str) -> str:
    """None of nothing is nothing."""
    return f"({part}) / clamp_min({whole}, 1e-9)"


def quantile(at: float, metric: str, by: str = "", where: str = "") -> str:
    labels = ", ".join(filter(None, ("le", by)))
    return f"histogram_quantile({at}, {rate(f'{metric}_bucket', labels, where)})"


DURATION = "gen_ai_client_operation_duration_seconds"
FIRST = "gen_ai_client_operation_time_to_first_chunk_seconds"
REQUESTS = "raygate_requests_total"

ROWS: dict[str, tuple[Panel, ...]] = {
    "Now": (
        Panel("Requests", "reqps", ((rate(REQUESTS, "surface"), "{{surface}}"),)),
        Panel(
            "Failed",
            "percentunit",
            ((share(rate(REQUESTS, where=NOT_OURS), rate(REQUESTS)), "failed"),),
            "Of all requests; those are left out that were wrong or given up by their callers.",
        ),
        Panel("Breakers", "short", (('raygate_breaker_state{state!="closed"}', "{{provider}} {{state}}"),)),
    ),
    "How long": (
        Panel(
            "Duration",
            "s",
            tuple((quantile(at, DURATION, where='error_type=""'), f"p{at * 100:g}") for at in (0.5, 0.95, 0.99)),
        ),
        Panel("First chunk, p95", "s", ((quantile(0.95, FIRST, "provider"), "{{provider}}"),)),
        Panel(
            "Overhead and queue",
            "s",
            (
                (quantile(0.5, "raygate_overhead_seconds"), "overhead p50"),
                (quantile(0.99, "raygate_overhead_seconds"), "overhead p99"),
                (quantile(0.99, "raygate_queue_seconds"), "queue p99"),
            ),
            "What Raygate itself adds to an answer, and how long requests wait for a place.",
        ),
    ),
    "Providers": (
        Panel("Attempts", "reqps", ((rate("raygate_attempts_total", "provider, model"), "{{provider}}/{{model}}"),)),
        Panel(
            "Attempts that failed",
            "reqps",
            ((rate("raygate_attempts_total", "provider, outcome", 'outcome!="ok"'), "{{provider}} {{outcome}}"),),
        ),
        Panel("Calls under way", "short", (("raygate_in_flight", "{{provider}}"),)),
        Panel(
            "Second tries",
            "reqps",
            (
                (rate("raygate_retries_total"), "retries"),
                (rate("raygate_failovers_total"), "failovers"),
                (rate("raygate_hedges_total"), "hedges"),
            ),
        ),
        Panel("Tokens", "short", ((rate("raygate_tokens_total", "type", 'type=~"input|output"'), "{{type}}"),)),
        Panel(
            "Output tokens of an answer, p50",
            "short",
            (
                (
                    quantile(0.5, "gen_ai_client_token_usage", "gen_ai_request_model", 'gen_ai_token_type="output"'),
                    "{{gen_ai_request_model}}",
                ),
            ),
        ),
    ),
    "Money": (
        Panel(
            "Dollars an hour",
            "currencyUSD",
            ((f"3600 * {rate('raygate_cost_usd_total', 'provider, model')}", "{{provider}}/{{model}}"),),
        ),
        Panel(
            "Cache",
            "short",
            (
                (rate("raygate_cache_hits_total", "how"), "{{how}} per second"),
                (f"3600 * {rate('raygate_saved_usd_total')}", "dollars saved an hour"),
            ),
        ),
        Panel(
            "What is remembered",
            "short",
            (
                ("raygate_cache_entries", "answers"),
                ("raygate_cache_bytes / 1e6", "megabytes"),
                (rate("raygate_cache_misses_total"), "misses per second"),
                (rate("raygate_cache_evicted_total"), "evicted per second"),
            ),
        ),
        Panel(
            "The cache by meaning",
            "short",
            (
                (rate("raygate_cache_semantic_looked_total"), "looked per second"),
                (rate("raygate_cache_semantic_hits_total"), "hits per second"),
                (rate("raygate_cache_semantic_judged_total"), "judged per second"),
                (rate("raygate_cache_semantic_judged_wrong_total"), "judged wrong per second"),
            ),
        ),
        Panel(
            "Budgets",
            "percentunit",
            (("raygate_budget_used_ratio", "{{scope}} {{id}}, {{period}}"),),
            "Of teams and organisations. Those of keys are only counted.",
        ),
        Panel("Budgets by state", "short", (("sum by (state) (raygate_budgets)", "{{state}}"),)),
        Panel(
            "At an unknown price",
            "reqps",
            ((rate("raygate_unpriced_total", "provider, model"), "{{provider}}/{{model}}"),),
        ),
    ),
    "Learning": (
        Panel("Choices", "reqps", ((rate("raygate_decisions_total", "explored"), "explored: {{explored}}"),)),
        Panel("Share that was explored", "percentunit", (("raygate_learning_explored_ratio", "since the start"),)),
        Panel(
            "What exploring gave up",
            "short",
            ((share(rate("raygate_learning_regret_total"), rate("raygate_decisions_total")), "utility a choice"),),
            "By the learner's own estimate: best guess less choice.",
        ),
    ),
    "The cluster": (
        Panel(
            "Processes",
            "short",
            (
                ("raygate_replicas", "replicas"),
                ("raygate_edges", "all that follow"),
                ("raygate_edges_behind", "behind the settings"),
            ),
        ),
        Panel(
            "Places",
            "short",
            (
                ("raygate_waiting", "waiting now"),
                (rate("raygate_waited_total"), "waited per second"),
                (rate("raygate_shed_total"), "sent away per second"),
                (rate("raygate_client_gone_total"), "left per second"),
            ),
        ),
        Panel(
            "Rows of the ledger",
            "short",
            (
                ("raygate_ledger_rows_waiting", "waiting"),
                (rate("raygate_ledger_rows_lost_total"), "lost per second"),
                (rate("raygate_ledger_unwritten_total"), "not written per second"),
            ),
        ),
        Panel("Parts that answer", "short", (("raygate_up", "{{part}}"),)),
        Panel("Version of the settings", "short", (("raygate_settings_version", "settings"),)),
        Panel("Version", "short", (("raygate_build_info", "Raygate {{version}}, Python {{python}}"),)),
    ),
}

ALERTS = (
    Alert(
        "RaygateFailing",
        f"{share(rate(REQUESTS, where=NOT_OURS, window='5m'), rate(REQUESTS, window='5m'))} > 0.05 and "
        f"{rate(REQUESTS, window='5m')} > 0.1",
        "5m",
        "critical",
        "{{ $value | humanizePercentage }} of the requests fail",
        "`raygate status` names the providers whose breakers are open; their own status pages say more.",
    ),
    Alert(
        "RaygateProviderOpen",
        'max by (provider) (raygate_breaker_state{state="open"}) == 1',
        "5m",
        "warning",
        "{{ $labels.provider }} has been shut for five minutes",
        "Others answer in its place where routes name any. `raygate status` says why it is shut.",
    ),
    Alert(
        "RaygateNothingLeft",
        'sum (raygate_breaker_state{state="closed"}) == 0',
        "1m",
        "critical",
        "No provider may be called",
        "Look at the network of the replicas first, then at the providers' keys: `raygate doctor`.",
    ),
    Alert(
        "RaygateSlowItself",
        f"histogram_quantile(0.99, {rate('raygate_overhead_seconds_bucket', 'le', window='5m')}) > 0.1",
        "10m",
        "warning",
        "Raygate adds {{ $value | humanizeDuration }} to one request in a hundred",
        "The replicas want for processor time: give them more of it, or more of them.",
    ),
    Alert(
        "RaygateSendsAway",
        f"{rate('raygate_shed_total', window='5m')} > 0",
        "5m",
        "warning",
        "{{ $value | humanize }} requests a second find no place",
        "Add replicas, or raise admission.max_in_flight.",
    ),
    Alert(
        "RaygateBudgetNearlySpent",
        "raygate_budget_used_ratio > 0.9",
        "0m",
        "warning",
        "{{ $labels.scope }} {{ $labels.id }} has spent {{ $value | humanizePercentage }} of its budget",
        "`raygate spend --by model` says on what; `raygate budget set` raises it.",
    ),
    Alert(
        "RaygateLedgerBehind",
        "raygate_ledger_rows_waiting > 10000",
        "5m",
        "warning",
        "{{ $value | humanize }} rows wait for the ledger",
        "They are in the journals and will not be lost. See whether the ledger's disk or database is slow.",
    ),
    Alert(
        "RaygateRowsLost",
        "increase(raygate_ledger_rows_lost_total[10m]) > 0 or increase(raygate_ledger_unwritten_total[10m]) > 0",
        "0m",
        "critical",
        "Attempts could not be written down",
        "The disk of a node is full or broken: make room in the state folder.",
    ),
    Alert(
        "RaygatePartAway",
        'min by (part) (raygate_up{part=~"manager|ledger"}) == 0',
        "2m",
        "critical",
        "The {{ $labels.part }} does not answer",
        "Ray starts it again by itself; if it does not, Ray's logs say why. Replicas go on meanwhile.",
    ),
    Alert(
        "RaygateSettingsDoNotSpread",
        "raygate_edges_behind > 0",
        "5m",
        "warning",
        "{{ $value }} processes do not follow the settings that hold",
        "`raygate status` shows which; a replica that hangs is ended by Serve's health check.",
    ),
)


def dashboard() -> dict[str, Any]:
    """As Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        place = {"h": 1, "w": 24, "x": 0, "y": top}
        panels.append({"type": "row", "title": title, "id": len(panels) + 1, "gridPos": place, "collapsed": False})
        top += 1
        for at, one in enumerate(row):
            line, column = divmod(at, PER_ROW)
            place = {"h": HEIGHT, "w": WIDTH, "x": column * WIDTH, "y": top + line * HEIGHT}
            panels.append(_panel(one, len(panels) + 1, place))
        top += HEIGHT * -(-len(row) // PER_ROW)
    return {
        "uid": "raygate",
        "title": "Raygate",
        "tags": ["raygate", "llm"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }


def _panel(one: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": one.kind,
        "title": one.title,
        "description": one.says,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": one.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
            for at, (expr, legend) in enumerate(one.queries)
        ],
    }


def alerts() -> dict[str, Any]:
    """As Prometheus reads rules."""
    rules = [
        {
            "alert": one.name,
            "expr": one.expr,
            "for": one.wait,
            "labels": {"severity": one.severity},
            "annotations": {"summary": one.summary, "description": one.do},
        }
        for one in ALERTS
    ]
    return {"groups": [{"name": "raygate", "rules": rules}]}


def files() -> dict[str, str]:
    """What belongs beside this file, by name."""
    said = "# Made by `make grafana`; edit build.py.\n"
    return {
        "dashboard.json": json.dumps(dashboard(), indent=2) + "\n",
        "alerts.yaml": said + yaml.safe_dump(alerts(), sort_keys=False, width=120),
    }


def main() -> None:
    for name, text in files().items():
        (HERE / name).write_text(text)


if __name__ == "__main__":
    main()
