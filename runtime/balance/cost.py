"""The cheapest by expectation. What nobody has a price for comes last: unknown is not free.

The expectation is of this request: its input as estimated, with the part that is probably remembered at the price for
remembered input; its output as long as this model's answers usually are. (A bound on the cost is another matter: that
one assumes the longest answer that the request allows.)
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.balance.affinity import remembered
from runtime.balance.entry import Asked, Candidate, Entry, Scored
from runtime.balance.latency import expected_output, failed_share
from runtime.price import plain_total

FAILING = 0.5
"""Whoever fails more often than this is no bargain, and comes after those with a price."""


def expected_nanousd(entry: Entry, asked: Asked, home: Candidate | None = None) -> int | None:
    """None where any price that it needs is unknown."""
    return plain_total(
        entry.info.pricing if entry.info else None,
        input_tokens=entry.input_of(asked),
        cached=remembered(entry, asked, home),
        output_tokens=asked.choices * round(expected_output(entry, asked)),
    )


def cost(entries: Sequence[Entry], asked: Asked, home: Candidate | None) -> list[Scored]:
    """Cheapest first; among equals who has less to do, then in the order given."""
    found = [(expected_nanousd(entry, asked, home), failed_share(entry), entry) for entry in entries]

    def rank(one: tuple[int | None, float, Entry]) -> tuple[bool, bool, int, float]:
        price, failed, entry = one
        return (price is None, failed > FAILING, price or 0, entry.load / max(entry.weight, 1e-9))

    return [
        Scored(
            entry,
            {
                "expected_nanousd": price,
                "input_tokens": entry.input_of(asked),
                "remembered_tokens": remembered(entry, asked, home),
                "output_tokens": expected_output(entry, asked),
                "failed": failed,
                "load": entry.load,
            },
        )
        for price, failed, entry in sorted(found, key=rank)
    ]
