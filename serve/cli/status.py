"""`raygate status`: who answers, who serves, how the ledger is, and what listens on which address."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

from actors.environment import environment, state_folder
from actors.keys import BOOTSTRAP_FILE
from actors.launch import head
from actors.launch.processes import Listener, listeners
from actors.names import MANAGER, NAMESPACE
from serve.cli import ledger, place, screen
from serve.cli.errors import FAILED, Ended

ANSWER_S = 10.0
EVERY = "every interface"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All that is shown. `overview` is the manager's; empty where it does not answer, and `trouble` says why.

    `ledger` is as `ledger.picture` has it, empty where Ray could not be joined.
    """

    run: head.Run | None
    address: str
    overview: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""
    ledger: Mapping[str, Any] = field(default_factory=dict)
    listening: tuple[Listener, ...] = ()


def status(*, as_json: bool) -> None:
    """Show it. Raises `Ended` with code 1 where nothing runs."""
    folder = state_folder(environment())
    run = head.running(folder)
    address = place.cluster_address(folder) if run is None else run.address
    if address is None:
        if as_json:
            screen.as_json({"running": False, "state_folder": str(folder)})
        raise place.not_running(folder, FAILED)
    with screen.waiting("asking the manager"):
        overview, trouble, ledger_says = _asked(folder, run, address)
        found = tuple(listeners(head.processes_of(run))) if run is not None else ()
    picture = Picture(run=run, address=address, overview=overview, trouble=trouble, ledger=ledger_says, listening=found)
    if as_json:
        screen.as_json(_plain(picture, folder))
    else:
        _draw(picture, folder)


def _asked(folder: Path, run: head.Run | None, address: str) -> tuple[Mapping[str, Any], str, Mapping[str, Any]]:
    """What the manager says, or nothing and why; and what the ledger says."""
    import ray

    from actors.connection import join

    try:
        join(folder, run, address)
    except (RuntimeError, ConnectionError, ValueError) as error:
        if run is None:
            raise Ended(f"the Ray at {address} does not answer", FAILED) from None
        return {}, f"Ray does not answer ({type(error).__name__})", {}
    try:
        return *_overview(run, address), ledger.picture()
    finally:
        ray.shutdown()


def _overview(run: head.Run | None, address: str) -> tuple[Mapping[str, Any], str]:
    """What the manager says; or nothing, and why."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    try:
        manager: Any = ray.get_actor(MANAGER, namespace=NAMESPACE)
        said: Mapping[str, Any] = ray.get(manager.overview.remote(), timeout=ANSWER_S)
    except ValueError:
        if run is None:
            raise Ended(f"there is no Raygate in the Ray at {address}", FAILED) from None
        return {}, "there is no manager yet"
    except GetTimeoutError:
        return {}, f"the manager did not answer within {ANSWER_S:.0f} s"
    except RayError as error:
        return {}, f"the manager does not answer ({type(error).__name__})"
    return said, ""


def _plain(picture: Picture, folder: Path) -> dict[str, Any]:
    from runtime.display import as_dict

    overview = picture.overview
    url = place.local_url(folder)
    return {
        "running": True,
        "url": url,
        "ray_address": picture.address,
        "state_folder": str(folder),
        "key_file": str(folder / BOOTSTRAP_FILE),
        "logs": str(folder / "logs"),
        "trouble": picture.trouble,
        "manager": {name: overview[name] for name in ("pid", "incarnation", "version") if name in overview},
        "providers": as_dict(overview.get("providers", [])),
        "measured": [
            {"provider": provider, "model": model, "latency_s": latency_s}
            for (provider, model), latency_s in overview.get("measured", {}).items()
        ],
        "edges": as_dict(overview.get("edges", {})),
        "ledger": dict(picture.ledger),
        "listening": [{**asdict(one), "loopback": _is_loopback(one.address)} for one in picture.listening],
    }


def _draw(picture: Picture, folder: Path) -> None:
    overview = picture.overview
    out = screen.console()
    url = place.local_url(folder)
    if url:
        out.print(f"Raygate is up at {url}", style="bold")
    else:
        out.print(f"Ray runs, the gateway does not; `{screen.program()} up` starts it", style="bold")
    if picture.run is None:
        print(f"  in        the Ray at {picture.address}")
    print(f"  key file  {folder / BOOTSTRAP_FILE}")
    if picture.run is not None:
        print(f"  logs      {folder / 'logs'}")
    if picture.trouble:
        out.print(f"  trouble   {picture.trouble}", style="red")
    else:
        print(f"  manager   pid {overview['pid']}, life {overview['incarnation']}, news {overview['version']}")
    if picture.ledger:
        print(f"  ledger    {ledger.sentence(picture.ledger, today=datetime.now(UTC).date())}")
    if (budgets := ledger.table(picture.ledger)) is not None:
        print()
        out.print(budgets)
    if not picture.trouble:
        print()
        out.print(screen.table(_PROVIDERS, map(_provider, overview["providers"]), right=_PROVIDERS[2:5]))
        print()
        out.print(screen.table(_EDGES, _edges(overview["edges"]), right=_EDGES[1:6]))
    if picture.listening:
        print()
        out.print(screen.table(_LISTENING, _grouped(picture.listening, url), right=("pid",)))
        if not all(_is_loopback(one.address) for one in picture.listening):
            print()
            out.print("Other machines can reach what is not on loopback; the first lines say what.", style="yellow")


_PROVIDERS = ("provider", "breaker", "in flight", "latency", "retry in", "why")
_EDGES = ("edge", "pid", "requests", "in flight", "waiting", "sent away", "shut there")
_LISTENING = ("listens on", "pid", "process", "ports")


def _provider(one: Any) -> tuple[str, ...]:
    limit = "" if one.max_in_flight is None else f"/{one.max_in_flight}"
    return (
        one.provider,
        one.breaker,
        f"{one.in_flight}{limit}",
        "–" if one.latency_s is None else f"{one.latency_s * 1000:,.{0 if one.latency_s >= 0.01 else 1}f} ms",
        f"{one.retry_in_s:.1f} s" if one.retry_in_s > 0 else "–",
        one.detail,
    )


def _edges(edges: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    """Replicas, and the manager's own calls. An edge reports only once it has something to say."""
    for name, report in sorted(edges.items()):
        if report is None:
            # Its name says where it is: edge@NODE:PID:LIFE, provider:NAME@PID:LIFE.
            kind, _, at = name.rpartition("@")
            yield (name, at.split(":")[1 if kind == "edge" else 0], "0", "0", "0", "0", "")
        else:
            shut = ", ".join(f"{provider} {seconds:.0f} s" for provider, seconds in report.shut.items() if seconds > 0)
            requests, waiting, shed = (report.counters.get(name, 0) for name in ("requests", "waiting", "shed"))
            in_flight = sum(report.in_flight.values())
            yield (name, str(report.pid), f"{requests:,}", str(in_flight), str(waiting), f"{shed:,}", shut)


def _grouped(found: Iterable[Listener], url: str) -> list[tuple[str, ...]]:
    """One line per process and address; what is not on loopback first."""
    ports: dict[tuple[bool, str, int, str], list[int]] = defaultdict(list)
    for one in found:
        ports[_is_loopback(one.address), _said(one.address), one.pid, _program(one.process)].append(one.port)
    public = url.rpartition(":")[2]
    return [
        (
            address,
            str(pid),
            f"{process} (the gateway)" if public in map(str, listed) else process,
            " ".join(map(str, sorted(listed))),
        )
        for (_, address, pid, process), listed in sorted(ports.items())
    ]


def _said(address: str) -> str:
    at = ip_address(address.partition("%")[0])
    if isinstance(at, IPv6Address) and at.ipv4_mapped:
        at = at.ipv4_mapped
    return EVERY if at.is_unspecified else str(at)


def _program(title: str) -> str:
    """Ray adds to an actor's title the method that it is at, which would flicker here."""
    return title.partition(".")[0] if title.startswith("ray::") else title


def _is_loopback(address: str) -> bool:
    at = ip_address(address.partition("%")[0])
    if isinstance(at, IPv6Address) and at.ipv4_mapped:
        at = at.ipv4_mapped
    return at.is_loopback
