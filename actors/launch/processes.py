"""Our processes: found by a mark in their environment, which every descendant inherits.

Not by name, not by parenthood alone: other Rays on this machine are none of our business, and a daemon whose parent
died must not be missed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import psutil

MARK = "RAYGATE_RUN_ID"
SWEEPS = 100


@dataclass(frozen=True, slots=True, order=True)
class Listener:
    """A TCP socket that waits for connections."""

    port: int
    address: str
    pid: int
    process: str


def marked(run_id: str) -> list[psutil.Process]:
    """The living processes of this run. Zombies are gone already; other users' processes cannot be ours."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == run_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.pid != os.getpid()]


def end(run_id: str, *, root: int, grace_s: float) -> int:
    """End a run: a polite signal to its root, then a hard one to whatever is left. Returns how many were left."""
    before = marked(run_id)
    if root in {process.pid for process in before}:
        _ignore_gone(lambda: psutil.Process(root).send_signal(signal.SIGTERM))
    _, alive = psutil.wait_procs(before, timeout=grace_s)
    for _ in range(SWEEPS):
        # New ones may appear while the old ones die: a raylet that lost a worker starts another.
        left = marked(run_id)
        if not left:
            break
        for process in left:
            _ignore_gone(process.kill)
        psutil.wait_procs(left, timeout=0.5)
    return len(alive)


def listeners(processes: Iterable[psutil.Process]) -> list[Listener]:
    """What these processes listen on."""
    found = set()
    for process in processes:
        try:
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    found.add(Listener(connection.laddr.port, connection.laddr.ip, process.pid, _name(process)))
        except psutil.Error:
            continue
    return sorted(found)


def _name(process: psutil.Process) -> str:
    """Ray's workers carry what they run in their title; for the rest the program says enough."""
    first = (process.cmdline() or [process.name()])[0]
    return first if first.startswith("ray::") else process.name()


def _ignore_gone(act: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        act()
