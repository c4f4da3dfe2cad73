"""Answers and failures for people: one line, a small piece of HTML for notebooks, plain data for --json.

The HTML stands alone (no script, no address, nothing fetched) and takes its colours from the page around it, so
it reads in light and dark. Everything that came from outside is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from html import escape
from typing import Any

from pydantic import BaseModel

from runtime.models import NANOUSD
from runtime.outcome import Attempt, Completion, Cost, Failure

_BOX = (
    "border:1px solid color-mix(in srgb,currentColor 25%,transparent);border-radius:6px;padding:.6em .8em;margin:.3em 0"
)
_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere"
SMALL = "font-size:.85em;opacity:.7;margin-top:.5em"


def usd(nanousd: int) -> str:
    """Exact dollars, with at least two decimals.

    >>> usd(450_000), usd(2_500_000_000), usd(0), usd(1)
    ('$0.00045', '$2.50', '$0.00', '$0.000000001')
    """
    whole, rest = divmod(abs(nanousd), NANOUSD)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nanousd < 0 else ''}${whole}.{decimals}"


def cost_text(cost: Cost | None) -> str:
    """An unknown cost says so; it never looks like a small one."""
    return "cost unknown" if cost is None else usd(cost.total_nanousd)


def shortened(text: str, most: int = 60) -> str:
    """One line of at most so many characters.

    >>> shortened("a  b"), shortened("word " * 20, 10)
    ('a b', 'word word…')
    """
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most and len(text) <= 4 * most else f"{line[: most - 1].rstrip()}…"


def summary(completion: Completion) -> str:
    """Who answered, tokens, cost and milliseconds, in one line.

    >>> summary(Completion(id="1", model="smollm2-135m", provider="local", latency_s=0.25))
    'local/smollm2-135m · 0 in + 0 out tokens · cost unknown · 250 ms'
    """
    usage = completion.usage
    about = "~" if usage.estimated else ""
    return " · ".join(
        [
            _where(completion.provider, completion.model),
            f"{about}{usage.input_tokens} in + {about}{usage.output_tokens} out tokens",
            cost_text(completion.cost),
            f"{completion.latency_s * 1000:.0f} ms",
        ]
    )


def completion_html(completion: Completion) -> str:
    """The first answer, with what it took to get it."""
    choice = completion.choices[0] if completion.choices else None
    parts = [f'<div style="{_TEXT}">{escape(completion.text)}</div>']
    if choice and choice.refusal:
        parts.append(f'<div style="{_TEXT}"><em>refused:</em> {escape(choice.refusal)}</div>')
    parts += [
        f'<div style="{_TEXT}"><code>{escape(call.name)}({escape(call.arguments)})</code></div>'
        for call in completion.tool_calls
    ]
    if len(completion.choices) > 1:
        parts.append(f'<div style="{SMALL}">and {len(completion.choices) - 1} more in <code>choices</code></div>')
    if choice and choice.finish_reason not in (None, "stop", "tool_calls"):
        parts.append(f'<div style="{SMALL}">ended early: {escape(str(choice.finish_reason))}</div>')
    if completion.dropped:
        parts.append(
            f'<div style="{SMALL}">not carried to this provider: {escape(", ".join(completion.dropped))}</div>'
        )
    parts.append(f'<div style="{SMALL}">{escape(summary(completion))}</div>')
    return boxed([*parts, _attempts(completion.attempts) if len(completion.attempts) > 1 else ""])


def failure_html(failure: Failure) -> str:
    """What failed, why, and what was tried."""
    wait = "" if failure.retry_after_s is None else f" Try again in {failure.retry_after_s:.1f} s."
    where = _where(failure.provider, failure.model)
    return boxed(
        [
            f"<div><strong>{escape(failure.kind)}</strong>{' · ' + escape(where) if where else ''}</div>",
            f'<div style="{_TEXT}">{escape(failure.detail or "no detail was given")}{wait}</div>',
            _attempts(failure.attempts),
        ]
    )


def as_dict(value: Any) -> Any:
    """Plain data, ready for JSON: our values with their scalar properties (`text`, `total_tokens`), enums as
    their text, moments as ISO 8601, exact decimals and secrets as text.

    >>> as_dict(Cost(total_nanousd=5))["total_nanousd"]
    5
    """
    match value:
        case None | bool() | int() | float():
            return value
        case Enum():
            return as_dict(value.value)
        case str():
            return value
        case datetime():
            return value.isoformat()
        case Decimal():
            return str(value)
        case BaseModel():
            # pydantic's own way, in which settings mask their secrets.
            return value.model_dump(mode="json")
        case Mapping():
            return {str(key): as_dict(item) for key, item in value.items()}
        case Set():
            return sorted((as_dict(item) for item in value), key=str)
        case Iterable() if not isinstance(value, bytes):
            return [as_dict(item) for item in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            said = {field.name: as_dict(getattr(value, field.name)) for field in fields(value)}
            return said | _scalars(value)
        case _:
            return str(value)


def _scalars(value: object) -> dict[str, Any]:
    named = [name for name, member in vars(type(value)).items() if isinstance(member, property) and name[0] != "_"]
    read = {name: getattr(value, name) for name in named}
    return {name: as_dict(said) for name, said in read.items() if isinstance(said, str | int | float | datetime | None)}


def _where(provider: str, model: str) -> str:
    return "/".join(part for part in (provider, model) if part)


def _attempts(attempts: tuple[Attempt, ...]) -> str:
    if not attempts:
        return ""
    rows = "".join(
        f"<tr><td>{escape(_where(attempt.provider, attempt.model))}</td><td>{escape(attempt.outcome)}</td>"
        f"<td>{attempt.elapsed_s * 1000:.0f} ms</td><td>{escape(attempt.detail)}</td></tr>"
        for attempt in attempts
    )
    return f'<table style="{SMALL};text-align:left"><tbody>{rows}</tbody></table>'


def boxed(parts: list[str]) -> str:
    """The frame that all of our pieces have."""
    return f'<div class="raygate" style="{_BOX}">{"".join(parts)}</div>'
