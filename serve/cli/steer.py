"""`raygate learn` for admins, over HTTP: what was learned; its log and patterns as files; to pause, go back, forget."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from serve.cli import http, place, screen
from serve.cli.accounts import ask
from serve.cli.errors import Ended


def export(file: Path, *, org: str, url: str, key: str, as_json: bool) -> None:
    """Every decision into a file, which is there once it is whole. Raises `Ended`."""
    if file.suffix.lower() != ".jsonl":
        raise Ended(f"{file} will hold JSON lines; end its name in .jsonl")
    target = place.target(url, key)
    size = http.download(target, "/admin/learning/trajectories", _of(org), file, what="asking for what was learned")
    with file.open("rb") as lines:
        rows = sum(1 for _ in lines)
    if as_json:
        screen.as_json({"file": str(file), "rows": rows, "bytes": size})
    else:
        print(f"{file}: {rows:,} decisions, {size:,} bytes; `{screen.program()} learn evaluate` reads it.")


def share(file: Path, *, who: str, org: str, url: str, key: str, as_json: bool) -> None:
    """What was learned into a file for other Raygates, which is there once it is whole. Raises `Ended`."""
    if file.suffix.lower() != ".zip":
        raise Ended(f"{file} will hold patterns and adapters; end its name in .zip")
    target = place.target(url, key)
    query = _of(org) | ({"who": who} if who else {})
    size = http.download(target, "/admin/learning/patterns", query, file, what="asking for what was learned")
    if as_json:
        screen.as_json({"file": str(file), "bytes": size})
    else:
        print(f"{file}: {size:,} bytes; `{screen.program()} learn import` takes it in elsewhere.")


def take_in(file: Path, *, org: str, url: str, key: str, as_json: bool) -> None:
    """Learn what another Raygate shared. Raises `Ended`."""
    try:
        payload = file.read_bytes()
    except OSError as error:
        raise Ended(f"{file} cannot be read: {error.strerror}") from None
    target = place.target(url, key)
    with screen.waiting("learning it"), http.client(target) as client:
        done = http.body_of(
            target,
            client.post(
                "/admin/learning/patterns",
                content=payload,
                params=_of(org),
                headers={"content-type": "application/zip"},
            ),
        )
    if as_json:
        screen.as_json(done)
        return
    print(f"{done['org']}: {_import(done)}.")
    known = ", ".join(done["known"]) or "none yet; it counts once they are"
    print(f"Of its {len(done['models'])} models these are known here: {known}.")
    if done["paused"]:
        print("Learning is paused: it counts once that is resumed.")
    print(f"`{screen.program()} learn forget --request {done['request_id']}` takes it back.")


def _import(one: Mapping[str, Any]) -> str:
    adapters = f", adapters {' and '.join(one['adapters'])}" if one["adapters"] else ""
    return (
        f"{one['patterns']:,} patterns of {one['outcomes']:,.0f} outcomes{adapters}, "
        f"learned by {one['who']} until {_when(one['learned_at'])}"
    )


def status(*, org: str, url: str, key: str, as_json: bool) -> None:
    """How learning stands. Raises `Ended`."""
    found = ask("GET", "learning", url=url, key=key, query=_of(org))
    if as_json:
        screen.as_json(found)
        return
    if not found["learns"]:
        print(
            f"{found['org']}: {found['prompts']:,} of {found['warm_up']:,} prompts are there; then it begins to learn."
        )
    else:
        models = sorted(found["models"].items(), key=lambda one: -one[1]["quality"])
        lines = [(name, f"{one['quality']:.2f} ± {one['doubt']:.2f}") for name, one in models]
        screen.console().print(screen.table(("model", "quality"), lines, right=("quality",)))
        print(f"\n{found['org']}: {found['prompts']:,} prompts, {found['judged']:,.0f} judged answers.")
    for one in found.get("imports", ()):  # an older one says nothing of them
        held = "" if one["teaches"] else " (gone back behind: it teaches nothing)"
        print(f"Imported {_when(one['imported_at'])}: {_import(one)}{held}.")
    if found["paused"]:
        print(f"It is paused: what comes is kept, and learned once `{screen.program()} learn resume` says so.")


def snapshots(*, org: str, url: str, key: str, as_json: bool) -> None:
    """What one may go back to. Raises `Ended`."""
    found = ask("GET", "learning/snapshots", url=url, key=key, query=_of(org))
    if as_json:
        screen.as_json(found)
        return
    if not found["snapshots"]:
        print("There is no snapshot yet; one is taken every few minutes while something is learned.")
        return
    lines = [(str(one["snapshot"]), _when(one["at"])) for one in found["snapshots"]]
    screen.console().print(screen.table(("snapshot", "until"), lines, right=("snapshot",)))


def steer(
    what: str, *, org: str, url: str, key: str, as_json: bool, snapshot: int | None = None, request: str = ""
) -> None:
    """Pause, resume, reset, go back, forget. Raises `Ended`."""
    if what == "forget":
        path = f"learning/traces/{quote(request, safe='')}" if request else "learning/traces"
        done = ask("DELETE", path, url=url, key=key, query=_of(org))
    else:
        query = _of(org) if snapshot is None else {**_of(org), "snapshot": str(snapshot)}
        done = ask("POST", f"learning/{what}", url=url, key=key, query=query)
    if as_json:
        screen.as_json(done)
        return
    print(_SAID[what].format(org=done["org"], number=done["number"]))


_SAID: Mapping[str, str] = {
    "pause": "{org}: what comes is kept, and nothing learned from it until it is resumed.",
    "resume": "{org}: learning goes on; {number} events had waited.",
    "reset": "{org}: it begins with nothing. A snapshot from before can be gone back to.",
    "rollback": "{org}: decides by what it knew at snapshot {number}; what came after it teaches nothing any more.",
    "forget": "{org}: {number} traces are gone from log, memory and learner, which was taught anew without them.",
}


def _of(org: str) -> dict[str, str]:
    return {"org": org} if org else {}


def _when(at_s: Any) -> str:
    return "–" if at_s is None else f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M} UTC"
