"""What comes out of the tables beside rows, as values, and documents as they go in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.ledger.periods import Period
from runtime.ledger.store.base import Audit, Document, Total
from runtime.ledger.store.tally import Cell, Cut, Sums
from runtime.request import Json


def total_of(values: Sequence[Any]) -> Total:
    dimension, of, period, start, cost, unpriced, attempts, tokens = values
    return Total(
        dimension=dimension,
        id=of,
        period=Period(period),
        start_ms=start,
        cost_nanousd=cost,
        unpriced=unpriced,
        attempts=attempts,
        tokens=tokens,
    )


def cell_of(cut: Cut, values: Sequence[Any]) -> Cell:
    dimensions = 1 + len(cut.by)
    return Cell(values[0], tuple(values[1:dimensions]), Sums(*values[dimensions:]))


def document_of(values: Sequence[Any]) -> Document:
    kind, of, parent, sha256, version, body = values
    return Document(kind=kind, id=of, parent=parent, sha256=sha256, version=version, body=json.loads(body))


def document_values(document: Document) -> tuple[str, str, str, str, str]:
    return document.kind, document.id, document.parent, document.sha256, json.dumps(document.body)


def audit_of(values: Sequence[Any]) -> Audit:
    seq, at_ms, who, what, subject, before, after = values
    return Audit(seq=seq, at_ms=at_ms, who=who, what=what, subject=subject, before=_body(before), after=_body(after))


def audit_values(audit: Audit) -> tuple[int, str, str, str, str | None, str | None]:
    return audit.at_ms, audit.who, audit.what, audit.subject, _text(audit.before), _text(audit.after)


def _body(text: str | None) -> Mapping[str, Json] | None:
    if text is None:
        return None
    body: Mapping[str, Json] = json.loads(text)
    return body


def _text(body: Mapping[str, Json] | None) -> str | None:
    return None if body is None else json.dumps(body)
