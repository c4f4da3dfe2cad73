"""The proof on recorded traffic, as tables: `python -m tests.wire.report [--dev FOLDER] [--details]`.

Every chat exchange counts; what is listed apart is named. An exception is a failure, whatever its reason.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.wire import errors, proof, seed
from tests.wire.abroad import CHAT_DIALECTS, abroad
from tests.wire.contracts import REQUESTS
from tests.wire.records import ABSENT, CHAT, CONTRACTS, DEV, Record, load

LEAST = 98.0
"""The share of requests, in percent, that must be carried."""


@dataclass(slots=True)
class Tally:
    """Passed of all, and what failed by name, with the records."""

    all: int = 0
    passed: int = 0
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    details: list[str] = field(default_factory=list)

    def add(self, record: Record, wrong: Sequence[str], name: str = "") -> None:
        self.all += 1
        if wrong:
            self.failures[name or _shape(wrong[0])].append(record.id)
            self.details.append(f"{record.provider} {record.id}: {'; '.join(wrong)[:600]}")
        else:
            self.passed += 1

    def __str__(self) -> str:
        if not self.all:
            return "-"
        return f"{self.passed}/{self.all}" + ("" if self.passed == self.all else f" {self.share:.1f}%")

    @property
    def share(self) -> float:
        return 100 * self.passed / self.all if self.all else 100.0


def _shape(wrong: str) -> str:
    return wrong.split(":", maxsplit=1)[0][:60]


@dataclass(slots=True)
class Provider:
    name: str
    chats: int = 0
    requests: Tally = field(default_factory=Tally)
    replies: Tally = field(default_factory=Tally)
    streams: Tally = field(default_factory=Tally)
    truncations: Tally = field(default_factory=Tally)
    errors: Tally = field(default_factory=Tally)
    abroad: Tally = field(default_factory=Tally)
    refused: Counter[str] = field(default_factory=Counter)
    extras: Counter[str] = field(default_factory=Counter)
    natives: Counter[str] = field(default_factory=Counter)
    dropped_abroad: Counter[str] = field(default_factory=Counter)
    not_throttled: int = 0
    unrecorded: int = 0

    TALLIES = ("requests", "replies", "streams", "truncations", "errors", "abroad")

    def tallies(self) -> Iterable[tuple[str, Tally]]:
        return ((name, getattr(self, name)) for name in self.TALLIES)


@dataclass(slots=True)
class Proof:
    providers: dict[str, Provider]
    apart: Counter[str]


def prove(records: Iterable[Record], rng: Random) -> Proof:
    """Judge every record once."""
    result = Proof({}, Counter())
    for record in records:
        if record.kind != CHAT:
            result.apart[f"{record.provider}: {record.kind}"] += 1
            if record.status >= 400:
                _provider(result, record).errors.add(record, errors.judged(record))
            continue
        provider = _provider(result, record)
        provider.chats += 1
        _request(provider, record)
        if not record.ok:
            provider.errors.add(record, errors.judged(record))
            continue
        if record.stream:
            wrong = _held(proof.streamed, record, rng)
            provider.streams.add(record, wrong)
            provider.truncations.add(record, _held(proof.truncated, record, rng))
        else:
            wrong = _held(proof.replied, record)
            provider.replies.add(record, wrong)
        if "retry-after" in record.headers and not wrong:
            provider.not_throttled += 1
    return result


def _held(judge: Callable[..., list[str]], *args: object) -> list[str]:
    """The verdict; whatever is raised, by us or by the judge, is a failure of this record and not of the report."""
    try:
        return judge(*args)
    except Exception as error:
        return [f"raised {type(error).__name__}: {error}"]


def _provider(result: Proof, record: Record) -> Provider:
    return result.providers.setdefault(record.provider, Provider(record.provider))


def _request(provider: Provider, record: Record) -> None:
    if record.sent is None:
        provider.unrecorded += 1
        return
    try:
        verdict = proof.carried(record)
    except Exception as error:
        verdict = proof.Carried(record, f"raised {type(error).__name__}", str(error))
    provider.requests.add(record, [verdict.detail or verdict.exception] if verdict.exception else [], verdict.exception)
    provider.extras += verdict.extras
    provider.natives += verdict.natives
    if verdict.request is None:
        return
    for other in CHAT_DIALECTS:
        if other != record.dialect:
            there = abroad(verdict.request, other)
            provider.abroad.add(record, there.wrong, f"{other}: {_shape(there.wrong[0])}" if there.wrong else "")
            provider.dropped_abroad.update(proof.places(there.dropped))
            if there.refused:
                provider.refused[f"{other} has no {there.refused}"] += 1


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--dev", type=Path, default=DEV, help="the folder with the recordings")
    arguments.add_argument("--details", action="store_true", help="show every failure")
    chosen = arguments.parse_args()
    if not chosen.dev.is_dir():
        print(ABSENT)
        return 0
    result = prove(load(chosen.dev), Random(seed()))
    show(result, details=chosen.details)
    if CONTRACTS.is_dir():
        show_contracts([record for record in load(chosen.dev) if record.kind == CHAT])
    return 0 if reached(result) else 1


def reached(result: Proof) -> bool:
    """Whether every target is: all answers and errors, nearly all requests, nothing hidden."""
    return all(
        tally.share >= LEAST if name == "requests" else tally.passed == tally.all
        for one in result.providers.values()
        for name, tally in one.tallies()
    ) and not any(proof.hidden(one.extras) for one in result.providers.values())


def show(result: Proof, *, details: bool = False) -> None:
    heads = (
        "provider",
        "chats",
        "requests",
        "replies",
        "streams",
        "broken off",
        "errors",
        "in the five other dialects",
    )
    providers = result.providers.values()
    _table([heads, *((one.name, str(one.chats), *(str(tally) for _, tally in one.tallies())) for one in providers)])
    print("\nlisted apart:", ", ".join(f"{count} {what}" for what, count in sorted(result.apart.items())))
    for one in providers:
        print(f"\n== {one.name}")
        for name, tally in one.tallies():
            for failure, ids in sorted(tally.failures.items(), key=lambda item: -len(item[1])):
                shown = ", ".join(ids[:4]) + (", …" if len(ids) > 4 else "")
                print(f"   {name}: {len(ids)} × {failure} ({shown})")
        _counts("unknown fields carried verbatim", one.extras)
        if proof.hidden(one.extras):
            print(f"   CONTENT AMONG THEM: {', '.join(proof.hidden(one.extras))}")
        _counts("parts and tools that only this API has", one.natives)
        _counts("refused because the other API lacks it", one.refused)
        _counts("named as dropped in another dialect", one.dropped_abroad)
        if one.unrecorded:
            print(f"   exchanges whose request was not recorded: {one.unrecorded}")
        if one.not_throttled:
            print(f"   successes with retry-after, read as success: {one.not_throttled}")
        for line in [line for _, tally in one.tallies() for line in tally.details] if details else ():
            print(f"   ! {line}")


def show_contracts(records: Sequence[Record]) -> None:
    print("\nbodies that break their provider's contract: as recorded, as we send them, by our doing alone")
    for dialect in (*REQUESTS, "cohere"):
        kept = proof.kept_contract(dialect, records)
        most = ", ".join(f"{name} {count}" for name, count in kept.breaches.most_common(4))
        print(
            f"   {dialect}: {kept.theirs}, {kept.ours}, {len(kept.added)} of {kept.bodies}"
            + (f" ({most})" if most else "")
        )


def _counts(title: str, counts: Counter[str]) -> None:
    if counts:
        print(f"   {title}: " + ", ".join(f"{name} {count}" for name, count in counts.most_common()))


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
