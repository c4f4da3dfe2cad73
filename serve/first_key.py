"""`raygate keys renew`: another first key in the place of the one that somebody has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from actors.connection import join
from actors.keys import BOOTSTRAP_FILE, GIVEN, bootstrap_key
from actors.launch import head
from actors.names import MANAGER, NAMESPACE
from serve.launch import CONTROL_S, LaunchFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """`key` is None where the environment names the first key: then that one holds, and is known."""

    key: str | None
    key_file: Path


def renew(folder: Path, env: Mapping[str, str], address: str | None) -> Renewed:
    """End all first keys but the new one, in every process, within a second. Raises `LaunchFailed`.

    The file is written first: whoever dies in between has a key that `raygate up` makes known, and does this again.
    """
    import ray

    with head.alone(folder):
        run = head.running(folder)
        if run is None and address is None:
            raise LaunchFailed("nothing runs here, and only a Raygate that runs can forget the old key; start it first")
        join(folder, run, address)
        try:
            manager = ray.get_actor(MANAGER, namespace=NAMESPACE)
        except ValueError:
            raise LaunchFailed("there is no manager; `raygate up` starts it") from None
        if not env.get(GIVEN, "").strip():
            (folder / BOOTSTRAP_FILE).unlink(missing_ok=True)
        info, fresh = bootstrap_key(folder, env)
        ray.get(manager.only_key.remote(info), timeout=CONTROL_S)
    return Renewed(key=fresh, key_file=folder / BOOTSTRAP_FILE)
