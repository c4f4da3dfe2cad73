"""A budget's warning as a message to a webhook: what it says, how it is signed, when it is tried again. No I/O here.

POST …        {"alert": "budget.warning", "id": "…", "scope": "key", "of": "key_4be…", "period": "month", …}
X-Raygate-Delivery      the alert's id: the same for each try, so that a receiver can tell
X-Raygate-Signature     t=1790000000,v1=<hex of HMAC-SHA256(secret, "1790000000." + body)>
"""

from __future__ import annotations

import hashlib
import hmac
import random
from typing import Any

import orjson

from runtime.ledger.book import Notice

FIRST_S, LONGEST_S = 2.0, 600.0
NANO = 1_000_000_000


def alert_id(notice: Notice) -> str:
    """One for each of the two shares of a budget, in each of its periods."""
    return f"{notice.limit.name}@{notice.start_ms}:{'spent' if notice.all else 'warning'}"


def body_of(notice: Notice, *, at_s: float) -> bytes:
    """The message, as JSON. It names accounts by their ids, and holds nothing of what was asked."""
    limit = notice.limit
    said: dict[str, Any] = {
        "alert": "budget.spent" if notice.all else "budget.warning",
        "id": alert_id(notice),
        "at": round(at_s, 3),
        "scope": limit.scope.value,
        "of": limit.of,
        "period": limit.period.value,
        "period_start_ms": notice.start_ms,
        "spent_usd": notice.spent_nanousd / NANO,
        "limit_usd": limit.amount / NANO,
        "share": round(notice.spent_nanousd / limit.amount, 4) if limit.amount else 1.0,
        "hard": limit.hard,
    }
    return orjson.dumps(said)


def signature(secret: str, body: bytes, *, at_s: float) -> str:
    """What proves that the message is ours, and how old it is.

    >>> signature("s", b"{}", at_s=1.0)[:22]
    't=1,v1=b253639bcd705ed'
    """
    at = int(at_s)
    return f"t={at},v1={hmac.new(secret.encode(), b'%d.' % at + body, hashlib.sha256).hexdigest()}"


def is_ours(secret: str, body: bytes, header: str, *, now_s: float, within_s: float = 300.0) -> bool:
    """What a receiver does: True for a message that was signed with this secret, not long ago."""
    said = dict(one.partition("=")[::2] for one in header.split(","))
    if not said.get("t", "").isdigit() or abs(now_s - int(said["t"])) > within_s:
        return False
    return hmac.compare_digest(signature(secret, body, at_s=float(said["t"])), header)


def wait_s(tried: int, rng: random.Random) -> float:
    """How long to wait after so many tries: doubled each time up to ten minutes, less up to half of it by chance."""
    return float(min(LONGEST_S, FIRST_S * 2.0 ** (tried - 1)) * rng.uniform(0.5, 1.0))
