"""Joining the Raygate of this machine: for notebooks, replicas and the command line."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.backup import finish
from actors.environment import environment, state_folder
from actors.keys import bootstrap_key
from actors.launch import head
from actors.names import MANAGER, NAMESPACE
from actors.store import Store
from runtime.feed import KeyInfo
from runtime.hooks.build import check, settings_of
from runtime.settings import HookSettings, Settings, effective, load

CONTROL_S = 30.0


def connect(config: Path | str | None = None, *, hooks: Sequence[object] | None = None) -> Any:
    """As `actors.connect`."""
    import ray

    env = environment()
    folder = state_folder(env)
    settings = load(Path(config) if config else None, env)
    if hooks is not None:
        settings = with_hooks(settings, hooks)
    check(settings, env)
    if not ray.is_initialized():
        with head.alone(folder):
            run = head.running(folder)
            if run is None and settings.ray.address is None:
                run = start_ray(folder, env, settings)
        join(folder, run, settings.ray.address)
    from actors.lifeline import Tied

    manager = ensure_manager(folder, env, settings)
    if hooks is not None:
        _put_hooks(manager, hooks)
    return Tied(manager)


def with_hooks(settings: Settings, hooks: Sequence[object]) -> Settings:
    """The settings with these hooks instead of their own. Raises `BadSettings`."""
    given = tuple(HookSettings.model_validate(one) for one in settings_of(hooks))
    return settings.model_copy(update={"hooks": given})


def _put_hooks(manager: Any, hooks: Sequence[object]) -> None:
    """Have one that ran already go by them, too; nothing happens where it does."""
    import ray

    version, document = ray.get(manager.current.remote(), timeout=CONTROL_S)
    held = Settings.from_document(document)
    wanted = with_hooks(held, hooks)
    if wanted != held:
        ray.get(manager.apply_settings.remote(wanted.to_document(), version), timeout=CONTROL_S)


def start_ray(folder: Path, env: Mapping[str, str], settings: Settings, *, url: str = "") -> head.Run:
    """Start a Ray of our own for these settings; `url` is where its gateway will be, if it gets one."""
    if (left := head.remains(folder)) is not None:
        head.stop(folder, left)
    return head.start(
        folder,
        env,
        url=url,
        haproxy=settings.proxy == "haproxy" or (settings.proxy == "auto" and sys.platform == "linux"),
        max_body_bytes=settings.max_body_bytes,
        num_cpus=settings.ray.num_cpus,
        dashboard=settings.ray.dashboard,
        sleep=_pause,
    )


def join(folder: Path, run: head.Run | None, address: str | None) -> None:
    """Make this process a client of Ray: of our own run, or of the cluster at `address`."""
    import ray

    if run is not None:
        _show_token(folder)
    ray.init(
        address=run.client_address if run is not None else address,
        namespace=NAMESPACE,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def ensure_manager(folder: Path, env: Mapping[str, str], settings: Settings | None = None) -> Any:
    """The manager's handle; where there is none, made with these settings (else the file and environment's)."""
    import ray

    from actors import supervisor
    from actors.manager_actor import ManagerActor

    try:
        return ray.get_actor(MANAGER, namespace=NAMESPACE)
    except ValueError:
        apart = supervisor.state_lies_apart()
        if not apart:
            prepare(folder, env, settings or load(_config_file(env), env))
        return supervisor.ensure(MANAGER, ManagerActor, str(folder), apart, here=True)


def prepare_first(folder: Path, env: Mapping[str, str]) -> None:
    """As `prepare`, by the file and the environment of this node, where nothing has ever been stored here."""
    finish(folder)
    if Store(folder).settings()[0] == 0:
        prepare(folder, env, load(_config_file(env), env))


def prepare(folder: Path, env: Mapping[str, str], settings: Settings) -> tuple[KeyInfo, str | None]:
    """Write what a manager reads when it starts. Returns the bootstrap key, with its text if it was made just now."""
    store = Store(folder)
    store.put_settings(effective(settings, env).settings.to_document())
    info, fresh = bootstrap_key(folder, env)
    store.add_key(info)
    return info, fresh


def _config_file(env: Mapping[str, str]) -> Path | None:
    given = env.get("RAYGATE_CONFIG")
    return Path(given) if given else None


def _show_token(folder: Path) -> None:
    """Let Ray's client find our token, also where ray was imported before it could be known."""
    os.environ["RAY_AUTH_MODE"] = "token"  # noqa: TID251  # Ray reads it nowhere else
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(head.token_file(folder))  # noqa: TID251  # see above
    import ray._raylet as raylet  # the C++ half, which has no stubs

    raylet.Config.initialize("")  # type: ignore[attr-defined]  # see above
    raylet.AuthenticationTokenLoader.instance().reset_cache()  # type: ignore[attr-defined]  # see above


def _pause(seconds: float) -> None:
    import time

    time.sleep(seconds)  # noqa: TID251  # waiting for another program's file; there is no event to wait for
