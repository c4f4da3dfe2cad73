"""The bytes of a journal, and what is made of them after a crash. No I/O: `runtime.ledger.folder` has the files.

    segment = magic, frame, frame, …                 a file; whatever follows the last whole frame is not read
    frame   = sum (4) | length (4) | record          little endian; CRC-32 over length and record, begun with the
                                                       segment's own number: no piece of another file is believed
    record  = [1, intent's fields …] | [2, settlement's fields …]              JSON

    intent ─► settlement ─► Row                      a settlement without its intent, or a second one, is nothing
    intent ─► the end    ─► Row at its hold, LOST    (`Pairing.lost`)

On their way to the ledger rows are [[intent record, settlement record], …] (`pack`, `unpack`).

A record is a list: what a later version adds comes at its end. A reader leaves out what it does not know, and what an
older writer did not know takes its default. Usage and cost are objects by name, without what has its default.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from runtime.ledger.rows import NO_FLAGS, NO_USAGE, NOBODY, Account, Flag, Intent, Row, Settlement
from runtime.outcome import Cost, FailureKind, Usage
from runtime.values import fields_said, maker

MAGIC = b"raygate1"

MOST_BYTES = 64 * 1024
"""A record that says more is written with its long texts cut; a length above this is no length."""

LONG_TEXT = 1_000

_HEAD = struct.Struct("<II")
_INTENT, _SETTLEMENT = 1, 2
_MOST_INT = 2**63 - 1

Record = Intent | Settlement
new_intent, new_settlement, new_row = maker(Intent), maker(Settlement), maker(Row)
new_usage, new_cost = maker(Usage), maker(Cost)
flags_of = lru_cache(maxsize=2**12)(Flag)
"""An enum looks a value up for a microsecond."""


# Writing.


def intent_frame(intent: Intent, seed: int) -> bytes:
    return framed(intent_record(intent), seed)


def settlement_frame(settlement: Settlement, seed: int) -> bytes:
    return framed(settlement_record(settlement), seed)


def intent_record(intent: Intent) -> bytes:
    return _json(_of_intent(intent))


def settlement_record(settlement: Settlement) -> bytes:
    return _json(_of_settlement(settlement))


class Written(tuple[Row, ...]):
    """Rows that lie in a journal, each with its two records as they stand there."""

    records: Sequence[tuple[bytes, bytes]] = ()


def pack(rows: Iterable[Row]) -> bytes:
    """Rows on their way to the ledger, as their records: a fifth of what it takes to pickle them."""
    if isinstance(rows, Written):
        records = rows.records
    else:
        records = [(intent_record(row.intent), settlement_record(row.settlement)) for row in rows]
    return b"[%b]" % b",".join(b"[%b,%b]" % pair for pair in records)


def _of_intent(intent: Intent) -> list[Any]:
    payer = intent.account
    whose = None if payer is NOBODY else [payer.key, payer.team, payer.org, payer.tags, payer.strict]
    return [
        _INTENT,
        intent.attempt,
        intent.at_ms,
        intent.request_id,
        whose,
        intent.route,
        intent.provider,
        intent.model,
        intent.hold_nanousd,
        intent.lease,
        intent.flags,
    ]


def _of_settlement(settlement: Settlement) -> list[Any]:
    return [
        _SETTLEMENT,
        settlement.attempt,
        settlement.at_ms,
        settlement.outcome,
        None if settlement.usage is NO_USAGE else fields_said(settlement.usage),
        None if settlement.cost is None else fields_said(settlement.cost),
        round(settlement.latency_ms, 1),
        None if settlement.ttft_ms is None else round(settlement.ttft_ms, 1),
        settlement.flags,
        settlement.unsent,
    ]


def framed(record: bytes, seed: int) -> bytes:
    body = len(record).to_bytes(4, "little") + record
    return zlib.crc32(body, seed).to_bytes(4, "little") + body


def _json(said: list[Any]) -> bytes:
    try:
        record = orjson.dumps(said)
        if len(record) <= MOST_BYTES:
            return record
    except TypeError:  # half a surrogate pair, or a number beyond 64 bits, that somebody sent us
        pass
    return orjson.dumps(_plain(said))


def _plain(value: Any) -> Any:
    """The same, as far as JSON can say it, and no longer than need be."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()[:LONG_TEXT]
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return max(-_MOST_INT, min(int(value), _MOST_INT))
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(one) for key, one in list(value.items())[:100]}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value[:100]]
    return value


_USAGE, _COST = (frozenset(one.name for one in dataclasses.fields(cls)) for cls in (Usage, Cost))


# Reading.


@dataclass(frozen=True, slots=True)
class Read:
    """What a segment held. `unread` bytes at its end could not be read; `torn`: they are no more than the beginning of
    one frame, as a crash or a full disk leaves it.
    """

    records: list[Record]
    unread: int = 0
    torn: bool = False


def read(data: bytes, seed: int) -> Read:
    """All whole records up to the first that is not. Never raises."""
    if not data.startswith(MAGIC):
        return Read([], len(data), torn=MAGIC.startswith(data))
    records: list[Record] = []
    at, end = len(MAGIC), len(data)
    while at + _HEAD.size <= end:
        total, length = _HEAD.unpack_from(data, at)
        after = at + _HEAD.size + length
        if not 0 < length <= MOST_BYTES or after > end:
            break
        if zlib.crc32(data[at + 4 : after], seed) != total:
            break
        with suppress(ValueError):  # it is whole, and yet not what we write
            record = _record(orjson.loads(data[at + _HEAD.size : after]))
            if record is not None:
                records.append(record)
        at = after
    unread = end - at
    return Read(records, unread, torn=unread > 0 and _is_beginning(data, at))


def _is_beginning(data: bytes, at: int) -> bool:
    # A file system that lost its power may leave zeros.
    if len(data) - at < _HEAD.size or not any(data[at:]):
        return True
    _, length = _HEAD.unpack_from(data, at)
    return bool(0 < length <= MOST_BYTES and at + _HEAD.size + length > len(data))


def unpack(packed: bytes) -> tuple[Row, ...]:
    """The rows that were packed. Raises `ValueError` where they are no rows."""
    rows = []
    for pair in orjson.loads(packed):
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"not a row: {pair}")
        intent, settlement = _record(pair[0]), _record(pair[1])
        if not isinstance(intent, Intent) or not isinstance(settlement, Settlement):
            raise ValueError(f"not a row: {pair}")  # noqa: TRY004  # of bytes, not of ours
        rows.append(new_row(intent=intent, settlement=settlement))
    return tuple(rows)


def _record(said: Any) -> Record | None:
    """None for a kind that a later version has added."""
    if not isinstance(said, list) or len(said) < 3 or not isinstance(said[1], str) or not isinstance(said[2], int):
        return None
    try:
        if said[0] == _INTENT:
            return _intent(said)
        if said[0] == _SETTLEMENT and len(said) > 3 and isinstance(said[3], str):
            return _settlement(said)
    except (ValueError, TypeError, AttributeError):  # the fields of another
        pass
    return None


def _intent(said: list[Any]) -> Intent:
    _, attempt, at_ms, request_id, whose, route, provider, model, hold, lease, flags = _filled(said, _NO_INTENT)
    return new_intent(
        attempt=attempt,
        at_ms=at_ms,
        request_id=request_id,
        account=NOBODY if whose is None else _account(whose),
        route=route,
        provider=provider,
        model=model,
        hold_nanousd=hold,
        lease=lease,
        flags=flags_of(flags),
    )


_NO_INTENT = (_INTENT, "", 0, "", None, "", "", "", None, "", 0)
_NO_SETTLEMENT = (_SETTLEMENT, "", 0, "", None, None, 0.0, None, 0, False)
_NO_ACCOUNT = ("", "", "", (), False)


def _account(whose: list[Any]) -> Account:
    key, team, org, tags, strict = _filled(whose, _NO_ACCOUNT)
    return _known_account(key, team, org, tuple(tags), strict)


@lru_cache(maxsize=2**10)
def _known_account(key: str, team: str, org: str, tags: tuple[str, ...], strict: bool) -> Account:  # noqa: FBT001  # as it is written
    return Account(key=key, team=team, org=org, tags=tags, strict=strict)


def _settlement(said: list[Any]) -> Settlement:
    _, attempt, at_ms, outcome, usage, cost, latency_ms, ttft_ms, flags, unsent = _filled(said, _NO_SETTLEMENT)
    return new_settlement(
        attempt=attempt,
        at_ms=at_ms,
        outcome=outcome,
        usage=NO_USAGE if usage is None else new_usage(**_known(usage, _USAGE)),
        cost=None if cost is None else new_cost(**_known(cost, _COST)),
        latency_ms=latency_ms or 0.0,
        ttft_ms=ttft_ms,
        flags=flags_of(flags),
        unsent=unsent,
    )


def _filled(said: list[Any], defaults: tuple[Any, ...]) -> list[Any]:
    """As many as this version knows."""
    return said if len(said) == len(defaults) else [*said, *defaults[len(said) :]][: len(defaults)]


def _known(said: dict[str, Any], fields: frozenset[str]) -> dict[str, Any]:
    return said if said.keys() <= fields else {name: value for name, value in said.items() if name in fields}


# What is made of it.


@dataclass(slots=True)
class Pairing:
    """Joins the records of one writer, in their order, into rows. `open` are the intents without a settlement."""

    open: dict[str, Intent] = field(default_factory=dict)

    def feed(self, records: Iterable[Record]) -> list[Row]:
        """The attempts that these records settle, but for those of which nothing was sent."""
        rows = []
        for record in records:
            if isinstance(record, Intent):
                self.open[record.attempt] = record
                continue
            intent = self.open.pop(record.attempt, None)
            if intent is not None and not record.unsent:
                rows.append(new_row(intent=intent, settlement=record))
        return rows

    def lost(self) -> list[Row]:
        """Nothing more comes: whoever is still open was cut off."""
        rows = [lost(intent) for intent in self.open.values()]
        self.open.clear()
        return rows


def lost(intent: Intent) -> Row:
    """The row of an attempt whose end nobody saw: its hold is what it costs. The same whoever makes it, and when."""
    hold = intent.hold_nanousd
    settlement = Settlement(
        attempt=intent.attempt,
        at_ms=intent.at_ms,
        outcome=FailureKind.INTERRUPTED,
        cost=None if hold is None else Cost(total_nanousd=hold),
        flags=Flag.LOST | Flag.ESTIMATED | (Flag.UNPRICED if hold is None else NO_FLAGS),
    )
    return Row(intent=intent, settlement=settlement)


def recover(records: Iterable[Record]) -> list[Row]:
    """One row for each attempt that these records speak of, of a writer that has died."""
    pairing = Pairing()
    settled = pairing.feed(records)
    return settled + pairing.lost()


def seed_of(writer: str, segment: int) -> int:
    """What the sums of a segment begin with."""
    return zlib.crc32(f"{writer}.{segment}".encode())
