"""`raygate up` and `raygate down`: from nothing to an endpoint that answers, and back to nothing."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil

from actors.backup import finish
from actors.connection import ensure_manager, join, start_ray
from actors.keys import BOOTSTRAP_FILE, bootstrap_key
from actors.launch import head
from actors.launch.processes import listeners
from actors.names import MANAGER, NAMESPACE
from runtime.feed import KeyInfo
from runtime.settings import BadSettings, Problem, ProviderKind, Settings, effective
from runtime.settings.difference import Change, difference
from serve.serving import APPLICATION, over, quiet, read_ahead, serving_at

LOOPBACK_HOSTS = frozenset(("127.0.0.1", "localhost", "::1"))
READY_S = 90.0
EMBEDDED_S = 20.0
CONTROL_S = 60.0
FOLLOW_S = 10.0
"""Edges take new settings over within milliseconds; one that has not by then has lost the manager."""

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Past any HTTP_PROXY of the environment, which could not find this machine's loopback."""

Say = Callable[[str], None]
"""Takes one word on what is being done, for a person who waits."""


class LaunchFailed(RuntimeError):
    """It could not be started. The message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What `up` leaves behind. `key` is set once, when it was made; `adopted` if it ran already.

    `settings` are those that hold now; `applied` says what was different in one that ran already.
    """

    url: str
    key: str | None
    key_file: Path
    adopted: bool
    warnings: tuple[str, ...]
    settings: Settings
    applied: Applied


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of new settings. `behind` are the edges that had not taken them over in time."""

    version: int
    changes: tuple[Change, ...] = ()
    edges: int = 0
    behind: tuple[str, ...] = ()


def up(
    folder: Path,
    env: Mapping[str, str],
    settings: Settings,
    *,
    say: Say,
    sleep: Callable[[float], None],
    keep: bool = False,
) -> Started:
    """Start what does not run yet, hand over the settings, wait until it answers. Raises `LaunchFailed`.

    `keep`: what runs already keeps its own settings, and these are for what is started now.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with head.alone(folder):
        finish(folder)
        run = head.running(folder)
        adopted = run is not None
        if not (keep and adopted):
            keep_closed(run, settings)
        key, fresh = bootstrap_key(folder, env)
        url = run.url if run is not None else ""
        if not url:
            # In somebody else's Ray our gateway may listen already; then its port is taken, and rightly.
            port = _port(settings) if settings.ray.address is None else settings.port
            url = f"http://{_reachable(settings.host)}:{port}"
        reading = read_ahead()
        serving: Future[None] | None = None
        if run is None and settings.ray.address is None:
            say("starting Ray")
            run = start_ray(folder, env, settings, url=url)
        try:
            reading.join()
            say("joining Ray")
            join(folder, run, settings.ray.address)
            detected = effective(settings, env)
            say("starting the manager")
            ran = _manager()
            manager = ran or ensure_manager(folder, env, settings)
            if not ran:
                # It has its settings, and replicas wait for it: nobody else need.
                serving = _gateway(run, url, settings, folder)
            _add_key(manager, key)
            say("handing over the settings")
            if not ran:
                applied, hold, warnings = hand_over(manager, detected.settings), detected.settings, detected.warnings
            else:
                applied, hold, warnings = _agreed(manager, settings, run=run, keep=keep, sleep=sleep)
            say("starting the gateway")
            serving = serving or _gateway(run, url, settings, folder)
            serving.result()
            say("waiting for the first model")
            _await_ready(url, sleep)
            missing = _await_embedded(manager, hold, sleep)
        except BaseException:
            if run is not None and not adopted:
                over(serving)
                _depart()
                head.stop(folder, run, keep_logs=True)
            raise
    return Started(
        url=url,
        key=fresh,
        key_file=folder / BOOTSTRAP_FILE,
        adopted=adopted,
        warnings=(*warnings, *missing),
        settings=hold,
        applied=applied,
    )


def keep_closed(run: head.Run | None, settings: Settings) -> None:
    """Raises `LaunchFailed` where these settings would let anyone in from elsewhere."""
    if settings.auth:
        return
    if settings.host not in LOOPBACK_HOSTS:
        raise LaunchFailed(f"auth: false would let anyone in at {settings.host}; keep auth on, or use host: 127.0.0.1")
    if listens := _elsewhere(run, settings):
        raise LaunchFailed(f"auth: false would let anyone in at {listens}; keep auth on, or take it down first")


def down(folder: Path, *, say: Say) -> int | None:
    """End everything that `up` started under this folder. Returns how many processes had to be killed; None if
    nothing ran."""
    with head.alone(folder):
        run = head.running(folder)
        if run is not None:
            say("draining")
            _drain(folder, run)
        elif (run := head.remains(folder)) is None:
            return None
        say("ending Ray")
        return head.stop(folder, run)


def leave(address: str) -> None:
    """Take Raygate out of somebody else's Ray: its application and its actors, nothing more."""
    from ray import serve as ray_serve

    from actors import supervisor

    join(Path(), None, address)
    quiet()
    ray_serve.delete(APPLICATION)
    # The manager goes first: it would make the others anew.
    for actor in (MANAGER, *sorted(supervisor.existing() - {MANAGER})):
        supervisor.remove(actor)


def _agreed(
    manager: Any, settings: Settings, *, run: head.Run | None, keep: bool, sleep: Callable[[float], None]
) -> tuple[Applied, Settings, tuple[str, ...]]:
    """What became of these settings where others held, those that hold now, and what is to be said of them."""
    if keep:
        version, hold = current(manager)
        return Applied(version=version), hold, ()
    wanted = preview(manager, settings)
    return apply(manager, wanted, run=run, sleep=sleep), wanted.after, wanted.warnings


def _gateway(run: head.Run | None, url: str, settings: Settings, folder: Path) -> Future[None]:
    """Done once our application's replicas are there, at once where they are already."""
    if _answers(url):
        there: Future[None] = Future()
        there.set_result(None)
        return there
    if run is not None:
        # Serve keeps its port for life: a later `up` must ask for the same one.
        head.record(folder, replace(run, url=url))
    return serving_at(settings, int(url.rsplit(":", 1)[1]))


def _manager() -> Any:
    """The manager's handle; None where none runs."""
    import ray

    try:
        return ray.get_actor(MANAGER, namespace=NAMESPACE)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would take the place of `before`, whose version is `version`.

    `after` has what the environment of the Raygate that runs offers besides, not that of whoever asks.
    """

    version: int
    before: Settings
    after: Settings
    warnings: tuple[str, ...]
    unset: tuple[str, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        return difference(self.before, self.after)


def preview(manager: Any, settings: Settings) -> Preview:
    """What would come of these settings. Raises `BadSettings` for what only Raygate itself can see: its hooks."""
    import ray

    said = ray.get(manager.preview.remote(settings.to_document()), timeout=CONTROL_S)
    if wrong := said.get("problems"):
        raise BadSettings([Problem("", path, what) for path, what in wrong])
    return Preview(
        version=said["version"],
        before=Settings.from_document(said["before"]),
        after=Settings.from_document(said["after"]),
        warnings=tuple(said["warnings"]),
        unset=tuple(said["unset"]),
    )


def current(manager: Any) -> tuple[int, Settings]:
    """The settings that hold now, and their version."""
    import ray

    version, document = ray.get(manager.current.remote(), timeout=CONTROL_S)
    return version, Settings.from_document(document)


def hand_over(manager: Any, settings: Settings) -> Applied:
    """Give a manager that has just been started what it is to go by."""
    import ray

    return Applied(version=ray.get(manager.apply_settings.remote(settings.to_document()), timeout=CONTROL_S))


def apply(manager: Any, wanted: Preview, *, run: head.Run | None, sleep: Callable[[float], None]) -> Applied:
    """Swap the settings, and wait until every edge goes by the new ones. All or nothing.

    Raises `LaunchFailed`, having changed nothing, where others hold by now, or a provider's key could not be found
    where it is needed.
    """
    import ray

    if wanted.unset:
        raise LaunchFailed(
            f"{' and '.join(wanted.unset)} is not set where Raygate runs: its processes keep the environment that they "
            "were started with. End it (raygate down) and start it from here; nothing was changed"
        )
    if not (changes := wanted.changes):
        return Applied(version=wanted.version)
    version = ray.get(manager.apply_settings.remote(wanted.after.to_document(), wanted.version), timeout=CONTROL_S)
    if version is None:
        raise LaunchFailed(
            f"somebody else has changed the settings since they were read (they were version {wanted.version}); "
            "nothing was changed: look at the difference, and try again"
        )
    behind: tuple[str, ...] = ()
    following: Mapping[str, int] = {}
    for _ in range(int(FOLLOW_S / 0.05)):
        overview = ray.get(manager.overview.remote(), timeout=CONTROL_S)
        following = {edge: seen for edge, seen in overview["following"].items() if run is None or _lives(edge)}
        behind = tuple(sorted(edge for edge, seen in following.items() if seen < version))
        if not behind:
            break
        sleep(0.05)
    return Applied(version=version, changes=changes, edges=len(following), behind=behind)


def _lives(edge: str) -> bool:
    """Whether the process of an edge on this machine is still there: the manager remembers one for a while.

    Edges are called edge@NODE:PID:LIFE, manager@PID:LIFE and provider:NAME@PID:LIFE.
    """
    found = re.search(r"[@:](\d+):\w+$", edge)
    return found is None or psutil.pid_exists(int(found[1]))


def _add_key(manager: Any, key: KeyInfo) -> None:
    import ray

    ray.get(manager.add_key.remote(key), timeout=CONTROL_S)


def _await_ready(url: str, sleep: Callable[[float], None]) -> None:
    for _ in range(int(READY_S / 0.1)):
        if _answers(url):
            return
        sleep(0.1)
    raise LaunchFailed(
        f"the gateway did not become ready at {url} within {READY_S:.0f} s; the logs in the state folder say more"
    )


def _await_embedded(manager: Any, settings: Settings, sleep: Callable[[float], None]) -> tuple[str, ...]:
    """Wait until the embedded model listens, if there is one; a warning if it does not, for the rest works."""
    import ray

    wanted = {name for name, one in settings.providers.items() if one.enabled and one.kind is ProviderKind.LOCAL}
    for _ in range(int(EMBEDDED_S / 0.2)):
        if wanted <= ray.get(manager.overview.remote(), timeout=60)["endpoints"].keys():
            return ()
        sleep(0.2)
    return (
        "the embedded model has not started; the logs in the state folder say why (local.enabled: false leaves it out)",
    )


def _answers(url: str) -> bool:
    try:
        with _DIRECT.open(f"{url}/health/readiness", timeout=2) as reply:
            return bool(json.load(reply)["status"] == "ready")
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return False


def _elsewhere(run: head.Run | None, settings: Settings) -> str:
    """Where the gateway that runs already can be reached from other machines; "" if nowhere.

    Serve keeps its address for life, whatever the settings have become.
    """
    if run is None:
        return f"the Ray at {settings.ray.address}, whose addresses are not ours" if settings.ray.address else ""
    port = run.url.rpartition(":")[2]
    found = [one.address for one in listeners(head.processes_of(run)) if str(one.port) == port]
    return ", ".join(address for address in found if not ip_address(address).is_loopback)


def _reachable(host: str) -> str:
    """Where a client on this machine finds a server that listens on this address."""
    return "127.0.0.1" if host in ("0.0.0.0", "") else host  # noqa: S104  # compared, not bound


def _port(settings: Settings) -> int:
    """The port to listen on. Raises `LaunchFailed` where somebody else has it."""
    import socket

    if settings.port == 0:
        return head.free_port()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise LaunchFailed(
                f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); "
                "end what uses it, or choose another port (RAYGATE_PORT=8001)"
            ) from None
    return settings.port


def _drain(folder: Path, run: head.Run) -> None:
    """Let requests under way finish, in bounds. A Ray that does not answer is ended all the same."""
    try:
        from ray import serve as ray_serve

        join(folder, run, None)
        quiet()
        ray_serve.shutdown()  # type: ignore[no-untyped-call]  # Ray's
    except (ConnectionError, RuntimeError, TimeoutError):
        pass
    finally:
        _depart()


def _depart() -> None:
    """Stop being a client, before the cluster ends: a client that loses it waits a minute and then exits."""
    import ray

    ray.shutdown()
