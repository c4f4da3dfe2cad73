"""`metrics`: counters of requests and what came of them, by provider and model.

    answers, errors, cached, input_tokens, output_tokens, cost_nanousd, unpriced, latency_s, ttft_s (sums), slow

They are read by `raygate status --json`'s sources and by `metrics()` of a gateway or the manager: under
`hooks.metrics.<provider>/<model>.<counter>`. A name comes from an answer, never from a caller, and there are at most
`most` of them; what is beyond counts as `other`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from runtime.hooks.payloads import After, Failed
from runtime.outcome import CACHED, SHARED

OTHER = "other"


class Metrics:
    """An answer that took longer than `slow_s` counts as slow."""

    def __init__(self, *, slow_s: float = 30.0, most: int = 1_000) -> None:
        if slow_s <= 0 or most < 1:
            raise ValueError("`slow_s` and `most` should be more than 0")
        self._slow_s = slow_s
        self._most = most
        self._sums: dict[str, defaultdict[str, float]] = {}

    def post(self, given: After) -> None:
        answer = given.completion
        sums = self._of(answer.provider, answer.model)
        sums["answers"] += 1
        sums["input_tokens"] += answer.usage.input_tokens
        sums["output_tokens"] += answer.usage.output_tokens
        if any(one.outcome in (CACHED, SHARED) for one in answer.attempts):
            sums["cached"] += 1
            return
        sums["latency_s"] += answer.latency_s
        sums["ttft_s"] += answer.ttft_s or 0.0
        sums["slow"] += answer.latency_s > self._slow_s
        if answer.cost is None:
            sums["unpriced"] += 1
        else:
            sums["cost_nanousd"] += answer.cost.total_nanousd

    def error(self, failed: Failed) -> None:
        failure = failed.failure
        sums = self._of(failure.provider, failure.model if failure.provider else "")
        sums["errors"] += 1
        sums[f"errors.{failure.kind}"] += 1

    def metrics(self) -> Mapping[str, float]:
        return {f"{name}.{what}": value for name, sums in self._sums.items() for what, value in sums.items()}

    def _of(self, provider: str, model: str) -> defaultdict[str, float]:
        name = f"{provider or 'nobody'}/{model}" if model else provider or "nobody"
        found = self._sums.get(name)
        if found is None:
            if len(self._sums) >= self._most:
                name = OTHER
            found = self._sums.setdefault(name, defaultdict(float))
        return found
