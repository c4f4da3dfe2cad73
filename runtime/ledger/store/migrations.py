"""The tables of the ledger, as numbered steps that are only ever added. One text for both databases.

    version n  ──► step n + 1, … , step len(STEPS), in one transaction      version len(STEPS)

A database that is newer than we know is refused: what its columns mean cannot be guessed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What the two databases call things."""

    integer: str
    real: str
    serial: str
    table_end: str
    clustered_end: str
    guard: tuple[str, ...]
    """What forbids to change or remove a line of the audit trail."""


SQLITE = Words(
    integer="integer",
    real="real",
    serial="integer primary key",
    table_end=" strict",
    # Looked up by a long primary key alone: no second tree for it.
    clustered_end=" strict, without rowid",
    guard=(
        "create trigger audit_is_not_changed before update on audit "
        "begin select raise(abort, 'the audit trail is append-only'); end",
        "create trigger audit_is_not_removed before delete on audit "
        "begin select raise(abort, 'the audit trail is append-only'); end",
    ),
)

POSTGRES = Words(
    integer="bigint",
    real="double precision",
    serial="bigint generated always as identity primary key",
    table_end="",
    clustered_end="",
    guard=(
        "create function refuse_change() returns trigger language plpgsql as "
        "$$ begin raise exception 'the audit trail is append-only'; end $$",
        "create trigger audit_is_not_changed before update or delete on audit "
        "for each row execute function refuse_change()",
        "create trigger audit_is_not_emptied before truncate on audit execute function refuse_change()",
    ),
)


def _first(words: Words) -> tuple[str, ...]:
    end, clustered, integer = words.table_end, words.clustered_end, words.integer
    # Written out: what a step did stays as it was, whatever is added later.
    sums = ", ".join(
        f"{name} {integer} not null"
        for name in (
            *("attempts", "ok", "cached", "cancelled", "partial", "hedged", "retried", "estimated", "lost"),
            *("reconciled", "overrun", "streamed", "unpriced", "input_tokens", "output_tokens"),
            *("cached_input_tokens", "cache_write_tokens", "cache_write_1h_tokens", "reasoning_tokens"),
            *("audio_input_tokens", "audio_output_tokens", "unpriced_input_tokens", "unpriced_output_tokens"),
            *("cost_nanousd", "input_nanousd", "output_nanousd", "cached_input_nanousd", "cache_write_nanousd"),
            *("reasoning_nanousd", "per_call_nanousd", "corrected_nanousd", "latency_us", "answered_first", "ttft_us"),
        )
    )
    return (
        f"create table mark (name text primary key, number {integer} not null, word text not null){end}",
        "insert into mark values ('epoch', 0, ''), ('folded_ms', 0, '')",
        f"create table attempt (seq {words.serial}, attempt text not null, at_ms {integer} not null, "
        f"settled_ms {integer} not null, request_id text not null, key text not null, team text not null, "
        "org text not null, tags text not null, route text not null, provider text not null, model text not null, "
        f"lease text not null, hold_nanousd {integer}, flags {integer} not null, outcome text not null, "
        f"input_tokens {integer} not null, output_tokens {integer} not null, cached_input_tokens {integer} not null, "
        f"cache_write_tokens {integer} not null, cache_write_1h_tokens {integer} not null, "
        f"reasoning_tokens {integer} not null, audio_input_tokens {integer} not null, "
        f"audio_output_tokens {integer} not null, billed_input_tokens {integer}, billed_output_tokens {integer}, "
        f"server_tool_calls text, cost_nanousd {integer}, input_nanousd {integer}, output_nanousd {integer}, "
        f"cached_input_nanousd {integer}, cache_write_nanousd {integer}, reasoning_nanousd {integer}, "
        f"per_call_nanousd {integer}, "
        f"cost_source text, latency_ms {words.real} not null, ttft_ms {words.real}, was_nanousd {integer}, "
        f"more text){end}",
        "create unique index attempt_once on attempt (attempt)",
        "create index attempt_in_time on attempt (at_ms, seq)",
        f"create table intent (attempt text primary key, at_ms {integer} not null, request_id text not null, "
        "key text not null, team text not null, org text not null, tags text not null, "
        f"strict {integer} not null, route text not null, provider text not null, model text not null, "
        f"hold_nanousd {integer}, lease text not null, flags {integer} not null){end}",
        f"create table hourly (hour_ms {integer} not null, org text not null, team text not null, key text not null, "
        f"route text not null, provider text not null, model text not null, {sums}, "
        f"primary key (hour_ms, org, team, key, route, provider, model)){clustered}",
        f"create table hourly_tag (hour_ms {integer} not null, org text not null, team text not null, "
        f"key text not null, tag text not null, {sums}, primary key (hour_ms, org, team, key, tag)){clustered}",
        f"create table total (dimension text not null, id text not null, period text not null, "
        f"start_ms {integer} not null, cost_nanousd {integer} not null, unpriced {integer} not null, "
        f"attempts {integer} not null, tokens {integer} not null, "
        f"primary key (period, start_ms, dimension, id)){clustered}",
        f"create table document (kind text not null, id text not null, parent text not null, sha256 text not null, "
        f"version {integer} not null, body text not null, primary key (kind, id)){clustered}",
        "create unique index document_hash on document (kind, sha256) where sha256 != ''",
        "create index document_parent on document (kind, parent)",
        f"create table audit (seq {words.serial}, at_ms {integer} not null, who text not null, what text not null, "
        f'subject text not null, "before" text, "after" text){end}',
        *words.guard,
    )


STEPS = (_first,)

NEWEST = len(STEPS)


def steps(words: Words, version: int, upto: int = NEWEST) -> tuple[str, ...]:
    """The statements that lead from this version on."""
    return tuple(statement for step in STEPS[version:upto] for statement in step(words))


def newer(version: int) -> str:
    return (
        f"it was written by a newer Raygate (its version is {version}, this one knows up to {NEWEST}); "
        "install that version again, or give this one another ledger"
    )
