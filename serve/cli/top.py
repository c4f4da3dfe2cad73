"""`raygate top`: providers, the last attempts and this hour's spend, live in a terminal, until ^C.

It is told the same as the page (`/ui/live`), twice a second while something moves.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from runtime.dialects.sse import SseEvent, SseParser
from serve.cli import http, place, screen
from serve.cli.errors import BAD_INPUT, FAILED, Ended

ROWS = 200
WINDOW_S = 60.0
"""Rates and times are of the last minute."""


@dataclass(slots=True)
class Seen:
    """What was told so far. Rows are kept newest last."""

    state: Mapping[str, Any] = field(default_factory=dict)
    away: Mapping[str, str] = field(default_factory=dict)
    rows: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=ROWS * 5))

    def take(self, event: SseEvent) -> bool:
        """True if it changed anything."""
        match event.name:
            case "state":
                self.state = orjson.loads(event.data)
            case "away":
                self.away = orjson.loads(event.data)
            case "rows":
                # The first ones may come again.
                known = {row.get("attempt") for row in self.rows}
                self.rows.extend(row for row in orjson.loads(event.data) if row.get("attempt") not in known)
            case _:
                return False
        return True


def top(*, url: str, key: str, once: bool) -> None:
    """Draw until ^C, or `once`. Raises `Ended` where there is nothing to be seen, or no terminal to draw on."""
    if not once and not sys.stdout.isatty():
        raise Ended("a live view needs a terminal; --once prints one picture", BAD_INPUT)
    from rich.live import Live

    target = place.target(url, key)
    seen = Seen()
    with http.client(target) as client, client.stream("GET", "/ui/live") as reply:
        if reply.status_code != 200 or "text/event-stream" not in reply.headers.get("content-type", ""):
            reply.read()
            raise http.refusal(target, reply)
        parser = SseParser()
        if once:
            for data in reply.iter_raw():
                for event in parser.feed(data):
                    if isinstance(event, SseEvent):
                        seen.take(event)
                if seen.state or seen.away:
                    screen.console().print(picture(seen, now_s=time.time(), most=20))  # noqa: TID251
                    return
        with Live(screen=True, auto_refresh=False) as live:
            for data in reply.iter_raw():
                events = [event for event in parser.feed(data) if isinstance(event, SseEvent)]
                if sum(map(seen.take, events)):
                    most = max(3, live.console.height - len(seen.state.get("providers", ())) - 12)
                    live.update(picture(seen, now_s=time.time(), most=most), refresh=True)  # noqa: TID251
    raise Ended(f"{target.url} has ended the stream", FAILED)


def picture(seen: Seen, *, now_s: float, most: int) -> Any:
    """The whole view; the newest rows first, so many of them. `now_s` is seconds since the epoch."""
    from rich.console import Group
    from rich.text import Text

    used = seen.state.get("used", {})
    asked, failed = (sum(one[at] for one in used.values()) for at in (0, 1))
    spent = sum(one[2] or 0 for one in used.values()) / 1e9
    head = (
        f"{seen.state.get('replicas', 0)} replicas · this hour {asked:,} requests, {failed:,} failed, ${spent:.4f} "
        f"· {_clock(now_s)} UTC"
    )
    recent = [row for row in seen.rows if now_s - row["at_ms"] / 1e3 < WINDOW_S]
    parts: list[Any] = [Text(head, style="bold")]
    parts += [Text(f"{what} is away: {screen.harmless(why)}", style="bold red") for what, why in seen.away.items()]
    parts += [Text(""), _providers(seen.state.get("providers", ()), recent), Text(""), _rows(seen.rows, most)]
    return Group(*parts)


def _providers(providers: Sequence[Mapping[str, Any]], recent: Sequence[Mapping[str, Any]]) -> Any:
    columns = ("provider", "breaker", "in flight", "waiting", "per min", "failed", "p50", "p95", "why")
    lines = []
    for one in providers:
        ours = [row for row in recent if row.get("provider") == one["provider"]]
        took = sorted(row.get("latency_ms", 0) / 1e3 for row in ours if row.get("outcome") == "ok")
        lines.append(
            (
                one["provider"],
                one["breaker"] or "closed",
                f"{one['in_flight']:,}",
                f"{one['queued']:,}",
                f"{len(ours):,}",
                f"{sum(row.get('outcome') != 'ok' for row in ours):,}",
                _seconds(took, 0.5),
                _seconds(took, 0.95),
                one["detail"],
            )
        )
    return screen.table(columns, lines, right=columns[2:8])


def _rows(rows: Sequence[Mapping[str, Any]], most: int) -> Any:
    columns = ("at", "provider/model", "key", "tokens", "cost", "took", "outcome")
    lines = [
        (
            _clock(row["at_ms"] / 1e3),
            f"{row.get('provider', '')}/{row.get('model', '')}",
            str(row.get("key", "")),
            f"{row.get('input_tokens', 0):,} + {row.get('output_tokens', 0):,}",
            f"${row['cost_nanousd'] / 1e9:.6f}" if "cost_nanousd" in row else "unknown",
            f"{row.get('latency_ms', 0) / 1e3:.2f} s",
            str(row.get("outcome", "")),
        )
        for row in list(rows)[: -most - 1 : -1]
    ]
    return screen.table(columns, lines, right=("tokens", "cost", "took"))


def _seconds(took: Sequence[float], quantile: float) -> str:
    return f"{took[min(len(took) - 1, int(len(took) * quantile))]:.2f} s" if took else "–"


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")
