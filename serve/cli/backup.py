"""`raygate backup` and `raygate restore`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from actors.environment import environment, state_folder
from serve.cli import screen
from serve.cli.errors import FAILED, Ended

if TYPE_CHECKING:
    from actors.backup import Kept


def backup(to: str, *, as_json: bool) -> None:
    """Raises `Ended`."""
    from actors.backup import CannotBackUp, back_up

    env = environment()
    folder = state_folder(env)
    with screen.waiting("copying what is kept"):
        try:
            kept = back_up(folder, env, to, now=datetime.now(UTC))
        except CannotBackUp as error:
            raise Ended(str(error), FAILED) from None
    _report(kept, f"{kept.where}: {kept.parts} parts, {kept.bytes / 2**20:,.1f} MB.", as_json=as_json)


def restore(source: str, *, replace: bool, if_any: bool, as_json: bool) -> None:
    """Raises `Ended`."""
    from actors.backup import CannotBackUp, bring_back

    env = environment()
    folder: Path = state_folder(env)
    with screen.waiting("reading and checking the backup"):
        try:
            kept = bring_back(folder, env, source, now=datetime.now(UTC), replace=replace, if_any=if_any)
        except CannotBackUp as error:
            raise Ended(str(error), FAILED) from None
    if kept is None:
        _report(None, f"There is no backup in {source}; nothing was changed.", as_json=as_json)
        return
    said = f"{folder} is as it was at {kept.made_at}. Keys that were handed out hold; `up` makes a new first one."
    _report(kept, said, as_json=as_json)


def _report(kept: Kept | None, said: str, *, as_json: bool) -> None:
    if as_json:
        screen.as_json(asdict(kept) if kept is not None else {"where": None})
    else:
        print(said)
