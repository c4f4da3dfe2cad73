"""`raygate config check`: what `raygate up` would find in a file, without starting anything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from actors.environment import environment
from runtime.dialects.scripted.parse import BadScript, parse_script
from runtime.settings import BadSettings, Effective, EnvReference, Problem, ProviderSettings, Settings, effective, load
from serve.cli import screen
from serve.cli.errors import BAD_INPUT, Ended

HIDDEN = "**********"


def check(file: Path, *, as_json: bool) -> None:
    """Say what results from the file, or all that is wrong with it. Raises `Ended`."""
    try:
        found = _checked(file)
    except BadSettings as bad:
        if as_json:
            problems = [{"where": one.where, "path": one.path, "what": one.what} for one in bad.problems]
            screen.as_json({"ok": False, "problems": problems})
        raise Ended(str(bad), BAD_INPUT) from None
    if as_json:
        screen.as_json({"ok": True, "warnings": list(found.warnings), "settings": _masked(found.settings)})
        return
    print(f"{file} is right.")
    print()
    columns = ("provider", "kind", "at", "key")
    rows = (_row(name, one) for name, one in found.settings.providers.items())
    screen.console().print(screen.table(columns, rows))
    for warning in found.warnings:
        print(f"note: {warning}")


def _checked(file: Path) -> Effective:
    env = environment()
    found = effective(load(file, env), env)
    problems = []
    for name, one in found.settings.providers.items():
        try:
            parse_script(one.script)
        except BadScript as bad:
            problems.append(Problem(str(file), f"providers.{name}", str(bad)))
    if problems:
        raise BadSettings(problems)
    return found


def _row(name: str, one: ProviderSettings) -> tuple[str, ...]:
    match one.api_key:
        case None:
            key = "–"
        case EnvReference(variable):
            key = f"in {variable}"
        case _:
            key = HIDDEN
    at = "" if one.enabled else "switched off"
    return (name, one.kind.value, at or _without_login(one.url) or "–", key)


def _masked(settings: Settings) -> dict[str, Any]:
    """Plain data in which nothing is secret: also not in options and addresses, where people put tokens, too."""
    document: dict[str, Any] = settings.model_dump(mode="json")
    for one in document["providers"].values():
        one["options"] = dict.fromkeys(one["options"], HIDDEN)
        one["base_url"] = _without_login(one["base_url"])
    return document


def _without_login(url: str) -> str:
    """The address, less a user and a password in it.

    >>> _without_login("https://me:secret@host/v1")
    'https://…@host/v1'
    """
    return re.sub(r"//[^/@]*@", "//…@", url)
