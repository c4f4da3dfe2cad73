"""`cost`: bounds what one request may be expected to cost, by the same estimate that orders candidates.

    no candidate is expected to be within the bound     429 `max_cost_exceeded`, nobody is asked
    some are                                            the others, and fallbacks beyond it, are not asked
    a price is unknown                                  it is within no bound; `unknown_price: allow` lets it pass

It goes by what is expected (`runtime.price.estimate`: the prompt, and the output limit, else 1,000 tokens); what a key,
team or organisation may spend in all is bounded by budgets, which hold back the most that a request can cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Literal

from runtime.hooks.payloads import Before, refuse
from runtime.outcome import Failure, FailureKind
from runtime.request import Request

CODE = "max_cost_exceeded"
NANO = 1_000_000_000


class CostLimit:
    """`max_usd` is of one request, with all its alternative answers. `max_output_tokens` lowers the limit of longer
    ones, and is the limit of those that have none."""

    guard = True

    def __init__(
        self,
        *,
        max_usd: float | str | None = None,
        unknown_price: Literal["refuse", "allow"] = "refuse",
        max_output_tokens: int | None = None,
    ) -> None:
        if max_usd is None and max_output_tokens is None:
            raise ValueError("say what is bounded: `max_usd`, `max_output_tokens`, or both")
        if unknown_price not in ("refuse", "allow"):
            raise ValueError("`unknown_price` should be `refuse` or `allow`")
        if max_output_tokens is not None and max_output_tokens < 1:
            raise ValueError("`max_output_tokens` should be at least 1")
        self._limit = None if max_usd is None else _nanousd(max_usd)
        self._refuses_unknown = unknown_price == "refuse"
        self._most = max_output_tokens
        self._counts: Counter[str] = Counter()

    def pre(self, asked: Before) -> Request | Failure | None:
        request = self._shortened(asked.request)
        unchanged = None if request is asked.request else request
        limit = self._limit
        if limit is None:
            return unchanged
        found = asked.estimates(request)
        costs = [one.cost.total_nanousd for one in found if one.cost is not None]
        has_unknown = len(costs) < len(found)
        if not found or (all(cost <= limit for cost in costs) and not (has_unknown and self._refuses_unknown)):
            return unchanged
        if any(cost <= limit for cost in costs) or (has_unknown and not self._refuses_unknown):
            return self._bounded(request, limit, tell=self._refuses_unknown or not has_unknown)
        self._counts["refused"] += 1
        if not costs:
            self._counts["unknown"] += 1
            detail = (
                f"nobody knows what this request costs, and it may cost ${limit / NANO:.9g}; ask for a priced model"
            )
        else:
            detail = (
                f"this request is expected to cost ${min(costs) / NANO:.9g} at least and may cost ${limit / NANO:.9g}; "
                "shorten the prompt, lower max_tokens, or choose a cheaper model"
            )
        return refuse(detail, kind=FailureKind.BUDGET_EXCEEDED, code=CODE)

    def metrics(self) -> Mapping[str, float]:
        return {name: float(count) for name, count in self._counts.items()}

    def _shortened(self, request: Request) -> Request:
        said = request.sampling.max_tokens
        if self._most is None or (said is not None and said <= self._most):
            return request
        return replace(request, sampling=replace(request.sampling, max_tokens=self._most))

    @staticmethod
    def _bounded(request: Request, limit: int, *, tell: bool) -> Request:
        """So that the plan leaves out who is beyond it."""
        own = request.cost.max_cost_nanousd
        if not tell or (own is not None and own <= limit):
            return request
        return replace(request, cost=replace(request.cost, max_cost_nanousd=limit))


def _nanousd(said: float | str) -> int:
    try:
        found = Decimal(str(said)) * NANO
    except InvalidOperation:
        raise ValueError("`max_usd` should be a number of dollars") from None
    if not found.is_finite() or found < 0:
        raise ValueError("`max_usd` should be a number of dollars, 0 or more")
    return int(found)
