"""`raygate up` and `raygate down`: from nothing to an endpoint that answers, and back to nothing."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from actors.connection import ensure_manager, join, prepare, start_ray
from actors.keys import BOOTSTRAP_FILE
from actors.launch import head
from actors.launch.processes import listeners
from actors.names import LOCAL_MODEL, MANAGER, NAMESPACE, provider_actor
from runtime.feed import KeyInfo
from runtime.settings import ProviderKind, Settings, effective

APPLICATION = "raygate"
LOOPBACK_HOSTS = frozenset(("127.0.0.1", "localhost", "::1"))
READY_S = 90.0
EMBEDDED_S = 20.0

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Past any HTTP_PROXY of the environment, which could not find this machine's loopback."""

Say = Callable[[str], None]
"""Takes one word on what is being done, for a person who waits."""


class LaunchFailed(RuntimeError):
    """It could not be started. The message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What `up` leaves behind. `key` is set once, when it was made; `adopted` if it ran already."""

    url: str
    key: str | None
    key_file: Path
    adopted: bool
    warnings: tuple[str, ...]


def up(
    folder: Path, env: Mapping[str, str], settings: Settings, *, say: Say, sleep: Callable[[float], None]
) -> Started:
    """Start what does not run yet, hand over the settings, wait until it answers. Raises `LaunchFailed`."""
    if not settings.auth and settings.host not in LOOPBACK_HOSTS:
        raise LaunchFailed(f"auth: false would let anyone in at {settings.host}; keep auth on, or use host: 127.0.0.1")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with head.alone(folder):
        run = head.running(folder)
        adopted = run is not None
        if not settings.auth and (listens := _elsewhere(run, settings)):
            raise LaunchFailed(f"auth: false would let anyone in at {listens}; keep auth on, or take it down first")
        key, fresh = prepare(folder, env, settings)
        url = run.url if run is not None else ""
        if not url:
            # In somebody else's Ray our gateway may listen already; then its port is taken, and rightly.
            port = _port(settings) if settings.ray.address is None else settings.port
            url = f"http://{_reachable(settings.host)}:{port}"
        if run is None and settings.ray.address is None:
            say("starting Ray")
            run = start_ray(folder, env, settings, url=url)
        try:
            say("joining Ray")
            join(folder, run, settings.ray.address)
            detected = effective(settings, env)
            say("starting the manager")
            manager = ensure_manager(folder, env, settings)
            _hand_over(manager, detected.settings, key)
            if not _answers(url):
                say("starting the gateway")
                if run is not None:
                    # Serve keeps its port for life: a later `up` must ask for the same one.
                    head.record(folder, replace(run, url=url))
                _serve(settings, int(url.rsplit(":", 1)[1]))
            say("waiting for the first model")
            _await_ready(url, sleep)
            missing = _await_embedded(manager, detected.settings, sleep)
        except BaseException:
            if run is not None and not adopted:
                _depart()
                head.stop(folder, run, keep_logs=True)
            raise
    return Started(
        url=url,
        key=fresh,
        key_file=folder / BOOTSTRAP_FILE,
        adopted=adopted,
        warnings=(*detected.warnings, *missing),
    )


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
    import ray
    from ray import serve as ray_serve

    from actors import supervisor

    join(Path(), None, address)
    _quiet_serve()
    ray_serve.delete(APPLICATION)
    named = ray.util.list_named_actors(all_namespaces=True)
    for actor in named:
        if actor["namespace"] == NAMESPACE and _is_ours(actor["name"]):
            supervisor.remove(actor["name"])


def _is_ours(name: str) -> bool:
    return name in (MANAGER, LOCAL_MODEL) or name.startswith(provider_actor(""))


def _serve(settings: Settings, port: int) -> None:
    from ray import serve as ray_serve

    from serve.deploy import deployment

    _quiet_serve()
    ray_serve.start(proxy_location="EveryNode", http_options={"host": settings.host, "port": port})
    ray_serve.run(deployment(replicas=settings.replicas), name=APPLICATION, route_prefix="/")


def _hand_over(manager: Any, settings: Settings, key: KeyInfo) -> None:
    import ray

    ray.get([manager.apply_settings.remote(settings.to_document()), manager.add_key.remote(key)], timeout=60)


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
        _quiet_serve()
        ray_serve.shutdown()  # type: ignore[no-untyped-call]  # Ray's
    except (ConnectionError, RuntimeError, TimeoutError):
        pass
    finally:
        _depart()


def _depart() -> None:
    """Stop being a client, before the cluster ends: a client that loses it waits a minute and then exits."""
    import ray

    ray.shutdown()


def _quiet_serve() -> None:
    import logging

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
