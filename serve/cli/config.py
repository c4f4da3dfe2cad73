"""`raygate config`: what is in a settings file, what holds now, and how the one comes to be the other."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.environment import environment, state_folder
from actors.launch import head
from runtime.dialects.scripted.parse import BadScript, parse_script
from runtime.settings import BadSettings, EnvReference, Problem, ProviderSettings, Settings, effective, load
from runtime.settings.difference import HIDDEN, Change, masked, without_login
from serve.cli import place, screen
from serve.cli.errors import BAD_INPUT, FAILED, Ended

if TYPE_CHECKING:
    from serve.launch import Applied


def check(file: Path, *, as_json: bool) -> None:
    """Say what results from the file, or all that is wrong with it. Raises `Ended`."""
    found = effective(_load(file, as_json=as_json), environment())
    if as_json:
        screen.as_json({"ok": True, "warnings": list(found.warnings), "settings": masked(found.settings)})
        return
    print(f"{file} is right.")
    print()
    columns = ("provider", "kind", "at", "key")
    rows = (_row(name, one) for name, one in found.settings.providers.items())
    screen.console().print(screen.table(columns, rows))
    for warning in found.warnings:
        print(f"note: {warning}")


def schema() -> None:
    """What may stand in a settings file."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
    screen.as_json({**document, "title": "Raygate's settings"})


def show(*, as_json: bool) -> None:
    """Print the settings that hold, or that held last. Raises `Ended` where there never were any."""
    folder = state_folder(environment())
    runs = head.running(folder) is not None or place.cluster_address(folder) is not None
    if runs:
        with screen.waiting("asking the manager"), joined(folder) as (manager, _):
            from serve import launch

            version, settings = launch.current(manager)
    elif document := place.stored(folder):
        version, settings = 0, Settings.from_document(document)
    else:
        raise place.not_running(folder)
    if as_json:
        screen.as_json({"running": runs, "version": version or None, "settings": masked(settings)})
        return
    import yaml

    print(f"# version {version}, as it runs" if runs else "# nothing runs here; these were the last")
    print(screen.harmless(yaml.safe_dump(masked(settings, short=True), sort_keys=False, allow_unicode=True)), end="")


def apply(file: Path, *, dry_run: bool, as_json: bool) -> None:
    """Put the file's settings in the place of those that hold. Raises `Ended`, changing nothing, where it cannot."""
    settings = _load(file, as_json=as_json, hooks=False)
    folder = state_folder(environment())
    with screen.waiting("reading what holds now") as say, joined(folder) as (manager, run):
        from serve import launch

        try:
            launch.keep_closed(run, settings)
            wanted = launch.preview(manager, settings)
            changes = wanted.changes
            applied = launch.Applied(version=wanted.version, changes=changes)
            if changes and not dry_run:
                say("handing over the settings")
                sleep = time.sleep  # noqa: TID251  # waits for other processes
                applied = launch.apply(manager, wanted, run=run, sleep=sleep)
        except launch.LaunchFailed as failed:
            raise Ended(str(failed), FAILED) from None
    done = bool(changes) and not dry_run
    if as_json:
        screen.as_json(
            {
                "ok": True,
                "applied": done,
                "version": applied.version,
                "changes": [asdict(one) for one in changes],
                "after_restart": [one.path for one in changes if one.needs_restart],
                "edges": applied.edges,
                "behind": list(applied.behind),
                "warnings": list(wanted.warnings),
            }
        )
    else:
        draw(changes)
        for warning in wanted.warnings:
            print(f"note: {warning}")
        print(_said(applied, done=done))
    if applied.behind:
        raise Ended(behind(applied), FAILED)


def draw(changes: Sequence[Change], *, indent: str = "") -> None:
    """The difference, a line for each key; coloured where a person looks."""
    colours = {"+": "\033[32m", "-": "\033[31m", "~": "\033[33m"} if sys.stdout.isatty() else {}
    end = "\033[0m" if colours else ""
    for one in changes:
        match one.before, one.after:
            case None, after:
                said = after
            case gone, None:
                said = gone
            case before, after:
                said = f"{before} → {after}"
        line = screen.harmless(f"{one.sign} {one.path}: {said}").replace("\n", " ")
        print(f"{indent}{colours.get(one.sign, '')}{line}{end}")
    if fixed := [one.path for one in changes if one.needs_restart]:
        print(
            f"{indent}note: {', '.join(fixed)} will count after `{screen.program()} down` and `{screen.program()} up`"
        )


def behind(applied: Applied) -> str:
    names = ", ".join(applied.behind)
    return f"{len(applied.behind)} of {applied.edges} edges have not taken the settings over yet: {names}"


def _said(applied: Applied, *, done: bool) -> str:
    if not applied.changes:
        return f"Nothing differs from version {applied.version}, which runs; nothing was done."
    if not done:
        return f"This would take the place of version {applied.version}; nothing was done."
    if applied.behind:
        return f"Version {applied.version} is in place."
    return f"Version {applied.version} is in place, and all {applied.edges} edges go by it."


@contextmanager
def joined(folder: Path) -> Iterator[tuple[Any, head.Run | None]]:
    """The manager of the Raygate that runs here, and its own Ray if it has one. Raises `Ended`."""
    run = head.running(folder)
    address = place.cluster_address(folder) if run is None else run.address
    if address is None:
        raise place.not_running(folder)
    import ray
    from ray.exceptions import RayError

    from actors.connection import join
    from actors.names import MANAGER, NAMESPACE

    try:
        join(folder, run, address)
        yield ray.get_actor(MANAGER, namespace=NAMESPACE), run
    except BadSettings as bad:
        raise Ended(str(bad)) from None
    except (RayError, RuntimeError, ConnectionError, ValueError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Ended(f"the Raygate that runs here does not answer: {first}", FAILED) from None
    finally:
        ray.shutdown()


def checked(settings: Settings, where: str, *, hooks: bool = True) -> None:
    """What only becomes apparent when a provider, or a hook, is made of its settings. Raises `BadSettings`.

    Without `hooks` they are left to the Raygate that runs: its environment decides what can be imported.
    """
    problems = []
    for name, one in settings.providers.items():
        try:
            parse_script(one.script)
        except BadScript as bad:
            problems.append(Problem(where, f"providers.{name}", str(bad)))
    if hooks and settings.hooks:
        from runtime.hooks.build import problems_of

        problems += [Problem(where, one.path, one.what) for one in problems_of(settings, environment())]
    if problems:
        raise BadSettings(problems)


def _load(file: Path, *, as_json: bool, hooks: bool = True) -> Settings:
    """The file, and the environment over it. Raises `Ended` with all problems."""
    try:
        settings = load(file, environment())
        checked(settings, str(file), hooks=hooks)
    except BadSettings as bad:
        if as_json:
            problems = [{"where": one.where, "path": one.path, "what": one.what} for one in bad.problems]
            screen.as_json({"ok": False, "problems": problems})
        raise Ended(str(bad), BAD_INPUT) from None
    return settings


def _row(name: str, one: ProviderSettings) -> tuple[str, ...]:
    key = (
        ", ".join(f"in {secret.name}" if isinstance(secret, EnvReference) else HIDDEN for secret in one.secrets) or "–"
    )
    at = "" if one.enabled else "switched off"
    return (name, one.kind.value, at or without_login(one.url) or "–", key)
