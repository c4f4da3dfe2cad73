"""What the ledger's actor makes of what it is told; the ledger itself has its own tests."""

from __future__ import annotations

from actors.ledger_actor import living_edges
from runtime.feed import EdgeReport


def test_an_edge_that_can_be_seen_to_be_gone_is_not_waited_for() -> None:
    def report(edge: str, node: str, pid: int) -> EdgeReport:
        return EdgeReport(edge=edge, sequence=1, node=node, pid=pid)

    edges = {
        "edge@n1:7:aaa": report("edge@n1:7:aaa", "n1", 7),
        "edge@n1:8:bbb": report("edge@n1:8:bbb", "n1", 8),
        "edge@n2:7:ccc": report("edge@n2:7:ccc", "n2", 7),
        "manager@9:ddd": None,
    }
    # A process of another node cannot be seen, nor one that has not said where it is.
    assert living_edges(edges, "n1", {8}.__contains__) == {"bbb", "ccc", "ddd"}
