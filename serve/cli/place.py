"""Where the Raygate of this machine is, and how to call one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.environment import environment, state_folder
from actors.keys import BOOTSTRAP_FILE
from actors.launch import head
from serve.cli.errors import BAD_INPUT, Ended
from serve.cli.screen import program

if TYPE_CHECKING:
    from runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to call. `key_from` says where the key was found; `here` is true for the Raygate of this machine."""

    url: str
    key: str = field(repr=False)
    key_from: str
    here: bool


def settings_of(config: Path | None, env: Mapping[str, str]) -> Settings:
    """The settings of this file, else of the one that RAYGATE_CONFIG names. Raises `Ended`."""
    from runtime.settings import BadSettings, load
    from serve.cli.config import checked

    given = config_file(config, env)
    try:
        settings = load(given, env)
        checked(settings, str(given or ""))
    except BadSettings as bad:
        raise Ended(str(bad)) from None
    return settings


def config_file(config: Path | None, env: Mapping[str, str]) -> Path | None:
    """The file that is meant: this one, else that of RAYGATE_CONFIG, else none."""
    return config or (Path(named) if (named := env.get("RAYGATE_CONFIG")) else None)


def stored(folder: Path) -> Mapping[str, Any]:
    """The document of the settings that were applied last; empty where nothing ever ran."""
    from actors.store import Store

    return Store(folder).settings()[1] if (folder / "state.db").exists() else {}


def cluster_address(folder: Path) -> str | None:
    """Of the Ray that somebody else runs and that Raygate was last put into, if it was."""
    address = stored(folder).get("ray", {}).get("address")
    return str(address) if address else None


def not_running(folder: Path, code: int = BAD_INPUT) -> Ended:
    return Ended(f"nothing runs here (state folder {folder}); `{program()} up` starts it", code)


def target(url: str, key: str) -> Target:
    """Whom these options, the environment or the state folder mean. Raises `Ended`."""
    env = environment()
    folder = state_folder(env)
    local = local_url(folder)
    asked = (url or env.get("RAYGATE_URL", "")).rstrip("/").removesuffix("/v1")
    if not asked and not local:
        if head.running(folder):
            raise Ended(f"Ray runs here, but no gateway does; `{program()} up` starts it")
        raise Ended(f"nothing runs here (state folder {folder}); start it with `{program()} up`, or give --url")
    here = not asked or asked == local
    said, said_by = key or env.get("RAYGATE_API_KEY", ""), "--key" if key else "RAYGATE_API_KEY"
    if not said and here:
        # Only here: the key of this machine's Raygate is nobody else's business.
        said, said_by = _bootstrap(folder), str(folder / BOOTSTRAP_FILE)
    if not (said.isascii() and said.isprintable()):
        raise Ended(f"the key of {said_by} holds characters that no key has")
    return Target(url=asked or local, key=said, key_from=said_by if said else "", here=here)


def local_url(folder: Path) -> str:
    """Where the gateway of this state folder answers, as far as is known here; empty if it does not run."""
    run = head.running(folder)
    if run is not None:
        return run.url
    settings = stored(folder)
    if not settings.get("ray", {}).get("address"):
        return ""
    return f"http://{settings.get('host', '127.0.0.1')}:{settings.get('port', 8000)}"


def _bootstrap(folder: Path) -> str:
    try:
        return (folder / BOOTSTRAP_FILE).read_text().strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Ended(f"{folder / BOOTSTRAP_FILE} cannot be read: {error.strerror}; give a key with --key") from None
