"""`raygate up` and `raygate down`."""

from __future__ import annotations

import json
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

from actors.environment import environment, state_folder
from actors.launch import head
from serve.cli import place, screen
from serve.cli.errors import FAILED, Ended

if TYPE_CHECKING:
    from runtime.settings import Settings
    from serve.launch import Started

QUESTION = {"messages": [{"role": "user", "content": "Say hello."}]}


def up(config: Path | None, *, proxy: str | None, as_json: bool) -> None:
    """Start or adopt, then say where it is. Raises `Ended`, leaving nothing behind."""
    env = environment()
    folder = state_folder(env)
    began_s = time.perf_counter()
    with _interruptible() as guard, screen.waiting("reading the settings") as show:

        def say(step: str) -> None:
            # Ray takes the signals for itself when it is joined.
            guard()
            show(step)

        settings = place.settings_of(config, env)
        if proxy:
            settings = settings.model_copy(update={"proxy": cast("Literal['haproxy', 'python', 'auto']", proxy)})
        started = _start(folder, settings, say, keep=place.config_file(config, env) is None)
    took_s = time.perf_counter() - began_s
    warnings = [*started.warnings, *_unchanged(folder, started, settings, proxy=proxy)]
    if started.applied.behind:
        from serve.cli.config import behind

        warnings.append(behind(started.applied))
    if as_json:
        screen.as_json(
            {
                "url": started.url,
                "key": started.key,
                "key_file": str(started.key_file),
                "adopted": started.adopted,
                "version": started.applied.version,
                "changes": [asdict(one) for one in started.applied.changes],
                "warnings": warnings,
                "seconds": round(took_s, 1),
            }
        )
        return
    _welcome(started, warnings, took_s)


def down(config: Path | None, *, as_json: bool) -> None:
    """End what runs under this state folder, and say what that was. Raises `Ended`."""
    env = environment()
    folder = state_folder(env)
    # What a killed start left behind counts as running here: it has to go as well.
    run = head.running(folder) or head.remains(folder)
    address = place.cluster_address(folder) if run is None and config is None else None
    if run is None and config is not None:
        address = place.settings_of(config, env).ray.address
    if run is None and address is None:
        _report(as_json, {"ended": False, "processes": 0}, f"Nothing runs here (state folder {folder}).")
        return
    with screen.waiting("looking at what runs") as say:
        from serve import launch

        if run is None:
            say(f"leaving the Ray at {address}")
            _leave(str(address))
            said = f"Raygate has left the Ray at {address}, which goes on."
            _report(as_json, {"ended": True, "processes": 0}, said)
            return
        count = len(head.processes_of(run))
        launch.down(folder, say=say)
    said = f"Raygate{f' at {run.url}' if run.url else ''} is down: {count} processes ended."
    _report(as_json, {"ended": True, "processes": count}, said)


def _report(as_json: bool, document: dict[str, Any], said: str) -> None:
    if as_json:
        screen.as_json(document)
    else:
        print(said)


def _start(folder: Path, settings: Settings, say: screen.Say, *, keep: bool) -> Started:
    say("loading Ray")
    from ray.exceptions import RayError

    from actors.launch.head import StartFailed
    from runtime.settings import BadSettings
    from serve import launch

    try:
        sleep = time.sleep  # noqa: TID251  # waits for HTTP
        return launch.up(folder, environment(), settings, say=say, sleep=sleep, keep=keep)
    except BadSettings as bad:
        raise Ended(str(bad)) from None
    except launch.LaunchFailed as failed:
        raise Ended(str(failed)) from None
    except StartFailed as failed:
        raise Ended(str(failed), FAILED) from None
    except (RayError, RuntimeError, ConnectionError, TimeoutError) as error:
        last = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise Ended(f"it could not be started: {last} (Ray's output: {folder / 'ray.out'})", FAILED) from None


def _leave(address: str) -> None:
    from ray.exceptions import RayError

    from serve import launch

    try:
        launch.leave(address)
    except (RayError, RuntimeError, ConnectionError, ValueError) as error:
        raise Ended(f"the Ray at {address} does not answer: {str(error).splitlines()[0]}", FAILED) from None


def _unchanged(folder: Path, started: Started, settings: Settings, *, proxy: str | None) -> list[str]:
    """What was asked for, but what runs keeps from its start."""
    run = head.running(folder)
    if not started.adopted or run is None:
        return []
    # What the difference names is said there.
    changed = {one.path for one in started.applied.changes}
    kept = []
    if "port" not in changed and settings.port not in (0, urlsplit(started.url).port):
        kept.append(f"port {settings.port}")
    if "proxy" not in changed and proxy in ("haproxy", "python") and run.haproxy != (proxy == "haproxy"):
        kept.append(f"proxy {proxy}")
    return [f"{' and '.join(kept)} will count after `{screen.program()} down`"] if kept else []


def _welcome(started: Started, warnings: list[str], took_s: float) -> None:
    raygate, settings = screen.program(), started.settings
    if started.applied.changes:
        from serve.cli.config import draw

        print(f"Raygate was running already; it has new settings, version {started.applied.version} ({took_s:.1f} s).")
        draw(started.applied.changes, indent="  ")
    elif started.adopted:
        print(f"Raygate was running already; its settings are as they were ({took_s:.1f} s).")
    else:
        print(f"Raygate is up ({took_s:.1f} s).")
    print()
    print(f"  url   {started.url}")
    if not settings.auth:
        print("  key   none is needed (auth: false)")
    elif started.key:
        print(f"  key   {started.key}")
        print(f"        shown this once; it lies in {started.key_file}")
    else:
        print(f"  key   in {started.key_file}")
    for warning in warnings:
        print(f"  note  {warning}")
    print()
    print("Try it:")
    print()
    print(f'  {raygate} chat "Tell me about rays."')
    print()
    print(_curl(started, auth=settings.auth))
    print()
    print(f"Look at it with `{raygate} status`, end it with `{raygate} down`.")


def _curl(started: Started, *, auth: bool) -> str:
    key = started.key or f"$(cat {shlex.quote(str(started.key_file))})"
    lines = [f"  curl {started.url}/v1/chat/completions"]
    if auth:
        lines.append(f'    -H "Authorization: Bearer {key}"')
    lines.append("    -H 'Content-Type: application/json'")
    lines.append(f"    -d {shlex.quote(json.dumps(QUESTION, separators=(',', ':')))}")
    return " \\\n".join(lines)


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """The first Ctrl-C (or a polite end) begins the cleaning up, a second must not interrupt it.

    Yields what puts the handlers back into place.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    def guard() -> None:
        for one in numbers:
            signal.signal(one, stop)

    before = {one: signal.getsignal(one) for one in numbers}
    guard()
    try:
        yield guard
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
