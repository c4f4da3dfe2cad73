"""`raygate cache` for admins, over HTTP: how many answers are remembered, what that saved, and to forget them."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.ledger.accounts import dollars
from serve.cli import screen
from serve.cli.accounts import ask


def stats(*, url: str, key: str, as_json: bool) -> None:
    """How remembering goes. Raises `Ended`."""
    found = ask("GET", "cache", url=url, key=key)
    if as_json:
        screen.as_json(found)
        return
    total = found["total"]
    if not total:
        print("Nothing is remembered: `cache.enabled`, or a route's, is off, or nobody has asked yet.")
        return
    asked = total.get("hits", 0) + total.get("misses", 0)
    share = f"{total.get('hits', 0) / asked:.0%}" if asked else "none"
    columns = ("process", "answers", "MB", "hits", "misses", "put out")
    lines = [(name, *_row(one)) for name, one in sorted(found["processes"].items()) if one]
    screen.console().print(screen.table(columns, lines, right=columns[1:]))
    print(f"\n{share} of {asked:,} were remembered, which saved {dollars(total.get('saved_nanousd', 0))}.")
    if found["shared"] is not None:
        print(f"The shared tier: {', '.join(f'{name} {_count(one)}' for name, one in found['shared'].items())}.")


def clear(*, tag: str, model: str, tenant: str, answer: str, url: str, key: str, as_json: bool) -> None:
    """Forget what fits, everywhere. Raises `Ended`."""
    said = {"tag": tag, "model": model, "tenant": tenant, "key": answer}
    done = ask("DELETE", "cache", url=url, key=key, query={name: value for name, value in said.items() if value})
    if as_json:
        screen.as_json(done)
        return
    shared = "" if done["shared"] is None else f" and {done['shared']:,} of the shared tier"
    print(f"{done['forgotten']:,} answers{shared} are forgotten.")
    if done["followed"] < done["processes"]:
        print(
            f"{done['followed']} of {done['processes']} processes have said so; the others follow as soon as they hear."
        )


def _row(counts: Mapping[str, int]) -> tuple[str, ...]:
    whole = [f"{counts.get(name, 0):,}" for name in ("entries", "hits", "misses", "evicted")]
    return (whole[0], f"{counts.get('bytes', 0) / 1e6:.1f}", *whole[1:])


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
