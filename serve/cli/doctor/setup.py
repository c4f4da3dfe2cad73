"""What Raygate was told, where it keeps its state, and who has its port."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from actors.keys import BOOTSTRAP_FILE
from actors.launch import head
from actors.launch.processes import listeners
from runtime.settings import BadSettings, Settings, effective, load
from serve.cli import place
from serve.cli.config import checked
from serve.cli.doctor.findings import Finding, Mark
from serve.cli.screen import program


def settings(config: Path | None, env: Mapping[str, str]) -> tuple[Settings | None, list[Finding]]:
    """The settings that `raygate up` would go by; None where they are wrong."""
    file = place.config_file(config, env)
    where = str(file) if file else "the defaults and the environment"
    try:
        read = load(file, env)
        checked(read, str(file or ""))
        found = effective(read, env)
    except BadSettings as bad:
        do = f"set them right; `{program()} config check FILE` looks again"
        return None, [Finding("settings", Mark.WRONG, str(one), do) for one in bad.problems]
    said = [Finding("settings", Mark.GOOD, f"{where}: {len(found.settings.providers)} providers")]
    said += [Finding("settings", Mark.NOTE, one) for one in found.warnings]
    said.append(_doors(found.settings))
    return found.settings, said


def folder(path: Path) -> Iterator[Finding]:
    """Whether the state can be written, and is nobody else's business."""
    existing = next(one for one in (path, *path.parents) if one.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        yield Finding(
            "state", Mark.WRONG, f"{existing} cannot be written to", "set RAYGATE_STATE_DIR to a folder of yours"
        )
        return
    if existing != path:
        yield Finding("state", Mark.GOOD, f"{path} will be made")
        return
    key = path / BOOTSTRAP_FILE
    open_to_others = [
        one for one in (path, key) if one.exists() and stat.S_IMODE(one.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO)
    ]
    if open_to_others:
        names = " ".join(map(str, open_to_others))
        yield Finding("state", Mark.WRONG, f"{names} can be read by others", f"chmod go-rwx {names}")
    else:
        yield Finding("state", Mark.GOOD, f"{path} is yours alone")


def running(path: Path, ours: Settings | None) -> Iterator[Finding]:
    """What runs here; where nothing does, whether the port is free."""
    run = head.running(path)
    if run is not None:
        yield Finding("Raygate", Mark.GOOD, f"runs at {run.url or run.address}; `{program()} status` says how it is")
        return
    if head.remains(path) is not None:
        yield Finding("Raygate", Mark.NOTE, "a start that was killed left processes behind", f"{program()} down")
        return
    yield Finding("Raygate", Mark.GOOD, f"does not run; `{program()} up` starts it")
    if ours is not None and ours.port:
        yield _port(ours.host, ours.port)


def _doors(ours: Settings) -> Finding:
    local = ours.host in ("127.0.0.1", "localhost", "::1")
    if ours.auth:
        return Finding("access", Mark.GOOD, f"listens at {ours.host}; every request needs a key")
    if local:
        return Finding("access", Mark.NOTE, f"listens at {ours.host}; who has an account here needs no key")
    do = "keep auth on, or use host: 127.0.0.1"
    return Finding("access", Mark.WRONG, f"auth: false would let anyone in at {ours.host}", do)


def _port(host: str, port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            who = next((one for one in listeners(psutil.process_iter()) if one.port == port), None)
            by = f"; {who.process} (process {who.pid}) has it" if who else ""
            do = f"end what uses it, or choose another: RAYGATE_PORT={port + 1}"
            return Finding("port", Mark.WRONG, f"{host}:{port} is not to be had ({error.strerror}){by}", do)
    return Finding("port", Mark.GOOD, f"{host}:{port} is free")
